"""Tables: CSV and TSV with a header, Parquet and Arrow files. Their rows are read as rows of JSON are."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hyperalign.errors import MissingExtraError, RecordError

from . import assistants, preferences, published, rows
from .interface import Columns, Entry, Format
from .row_authors import names_people
from .rows import find_fields
from .source import Rows, Source, plain_values

__all__ = ["FORMATS", "ArrowTable", "Delimited"]

_ROW_FORMATS: list[Format] = [*preferences.FORMATS, *published.FORMATS, *assistants.FORMATS, *rows.FORMATS]
_DELIMITERS = ",;\t|"
_SUFFIXES = {".csv", ".tsv", ".tab"}
_ARROW_SUFFIXES = {".parquet", ".arrow", ".feather"}
# A text may be longer than what the csv module takes for a cell by itself, 131,072 characters.
_LONGEST_CELL = 2**31 - 1
_LOOKED_AT = 8
_LONGEST_NAME = 40
_MOST_WORDS = 4
_SEPARATOR = re.compile(r"sep=([,;\t|])\s*\n")


def _read_rows(found: Rows, columns: Columns) -> Iterator[Entry]:
    """Read rows by the format among those of rows that is surest of them."""
    surest = max(_ROW_FORMATS, key=lambda each: each.match(found))
    yield from surest.read(found, columns)


class Delimited:
    """A table with a delimiter and a header."""

    def __init__(self, name: str, title: str, delimiter: str | None) -> None:
        self.name = name
        self.title = title
        self._delimiter = delimiter

    def match(self, source: Source) -> int:
        """By its name, or by a header of known columns over rows of as many cells."""
        delimiter = _find_delimiter(source.head)
        if isinstance(source, Rows) or source.head.lstrip()[:1] in ("{", "[") or not source.head.strip():
            return 0
        if source.suffix in _SUFFIXES:
            return 3 if (delimiter == "\t") == (self._delimiter == "\t") else 0
        if delimiter is None or (delimiter == "\t") != (self._delimiter == "\t"):
            return 0
        lines = [line for line in csv.reader(io.StringIO(source.head), delimiter=delimiter) if line][:_LOOKED_AT]
        header = lines[0]
        is_header = len(header) > 1 and all(re.fullmatch(r"[^\W\d][\w .\-/]*", name.strip()) for name in header)
        is_even = len(lines) > 1 and all(len(line) == len(header) for line in lines[1:-1])
        # With a column for the person, rows of other lengths are bad rows and not somebody's prose.
        is_even = is_even or any(map(names_people, header))
        return 2 if is_header and is_even and find_fields(dict.fromkeys(header)) else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """Each row by the names in the header."""
        csv.field_size_limit(_LONGEST_CELL)
        delimiter = _find_delimiter(source.head) or self._delimiter or ","
        # Some programs write \\" for a quote in a cell where most double it.
        escape = "\\" if '\\"' in source.head and '""' not in source.head else None
        reader = csv.reader(
            io.StringIO(source.text, newline=""), delimiter=delimiter, escapechar=escape, doublequote=escape is None
        )
        # Excel writes the delimiter above the header.
        first = next(reader, [])
        header = [name.strip() for name in (next(reader, []) if _SEPARATOR.match(source.head) else first)]
        header = [f"{name}.{at}" if name in header[:at] else name for at, name in enumerate(header)]
        if not columns.names and (problem := _check_header(header, source)) is not None:
            yield problem
            return
        numbered: list[tuple[int, Any]] = []
        problems: list[RecordError] = []
        line = reader.line_num + 1
        lines = source.text.split("\n")
        for cells in reader:
            begin, line = line, reader.line_num + 1
            if line > begin + 1 and not _is_closed(lines[begin - 1 : line - 1], delimiter, escape):
                problems.append(
                    RecordError(
                        f"a double quote in this row is not closed before line {line - 1}, so that it holds others.",
                        path=source.name,
                        line=begin,
                        remedy="Close it, and double the quotes inside of texts; --skip-bad passes over what it holds.",
                    )
                )
                continue
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header) and any(cells[len(header) :]):
                problems.append(
                    RecordError(
                        f"this row has {len(cells)} cells, and the header names {len(header)} columns.",
                        path=source.name,
                        line=begin,
                        remedy=f"Put texts that hold {delimiter!r} in double quotes; --skip-bad passes over bad rows.",
                    )
                )
                continue
            numbered.append((begin, dict(zip(header, cells, strict=False))))
        if not numbered and not problems:
            problems.append(
                RecordError(
                    "the table has a header and no row.",
                    path=source.name,
                    remedy="The first line names the columns, as in: user,text",
                )
            )
        yield from problems
        if numbered:
            yield from _read_rows(Rows(source.name, b"", source.path, numbered=numbered), columns)


def _is_closed(lines: list[str], delimiter: str, escape: str | None) -> bool:
    """Whether the quotes of a row of several lines are closed where a cell ends, and not inside of another row."""
    text = io.StringIO("\n".join(lines) + "\n", newline="")
    try:
        list(csv.reader(text, delimiter=delimiter, escapechar=escape, doublequote=escape is None, strict=True))
    except csv.Error:
        return False
    return True


def _check_header(header: list[str], source: Source) -> RecordError | None:
    """An error if the first line is a row already."""
    is_row = any(len(name) > _LONGEST_NAME or len(name.split()) > _MOST_WORDS for name in header)
    if not is_row or find_fields(dict.fromkeys(header)):
        return None
    return RecordError(
        "the first line is a row, and names no columns.",
        path=source.name,
        line=1,
        remedy="Put a line with the names of the columns above it, as in: user,text",
    )


def _find_delimiter(head: str) -> str | None:
    """What stands between the cells of the first line, outside of quotes; None if nothing does."""
    if (named := _SEPARATOR.match(head)) is not None:
        return named[1]
    first = re.sub(r'"(?:[^"]|"")*"', "", head.lstrip("\n").split("\n", 1)[0])
    counts = Counter({each: first.count(each) for each in _DELIMITERS})
    delimiter, count = counts.most_common(1)[0]
    return delimiter if count else None


class ArrowTable:
    """A Parquet file, or a table in Arrow's own form."""

    name = "parquet"
    title = "Parquet"

    def match(self, source: Source) -> int:
        """By its first bytes."""
        if source.data.startswith((b"PAR1", b"ARROW1")):
            return 3
        return int(source.suffix in _ARROW_SUFFIXES)

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """Each row by the names of the columns."""
        table = _read_table(source)
        numbered = list(enumerate(map(plain_values, table.to_pylist()), start=1))
        if not numbered:
            raise RecordError("the table has no row.", path=source.name, remedy="Leave it out.")
        yield from _read_rows(Rows(source.name, b"", source.path, numbered=numbered), columns)


def _read_table(source: Source) -> Any:
    try:
        import pyarrow as arrow
        from pyarrow import ipc, parquet
    except ImportError as error:
        raise MissingExtraError(f"Reading {source.name}", "tables") from error
    buffer = arrow.BufferReader(source.data)
    try:
        if source.data.startswith(b"PAR1"):
            return parquet.read_table(buffer)
        is_file = source.data.startswith(b"ARROW1")
        return (ipc.open_file(buffer) if is_file else ipc.open_stream(buffer)).read_all()
    except (arrow.ArrowException, OSError) as error:
        raise RecordError(
            f"the table is damaged ({str(error).splitlines()[0][:80]}).",
            path=source.name,
            remedy="Write it again, or export it as CSV.",
        ) from error


FORMATS: list[Format] = [
    ArrowTable(),
    Delimited("csv", "CSV", None),
    Delimited("tsv", "TSV", "\t"),
]
