"""Open files, folders, archives, standard input and rows in memory, each file as a ``Source`` that formats look at."""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hyperalign.errors import InputError, RecordError

from .source import Rows, Source, decode, plain_values

__all__ = ["MAX_TEXT_BYTES", "Opened", "check_size", "describe", "open_sources", "read_text"]

MAX_TEXT_BYTES = 20_000_000
_MAX_MEMBER_BYTES = 2_000_000_000
_PEEK = 65_536
# One text by its name; a file of another name may hold many people and years.
_ONE_TEXT = {".txt", ".md", ".markdown", ".text", ""}
_OFFICE = {"[Content_Types].xml": "an Office document", "mimetype": "an OpenDocument file or an e-book"}

Given = Path | str | Mapping[str, Any]


@dataclass(frozen=True)
class Opened:
    """A file that was opened, or could not be.

    Attributes:
        name: for messages.
        source: the file; None if it is not read.
        error: why not.
        in_folder: whether it was found in a folder or archive, where one that nobody can read is passed over.
        reason: why it is passed over, in a few words; empty if it is not.
    """

    name: str
    source: Source | None = None
    error: RecordError | None = None
    in_folder: bool = False
    reason: str = ""


def open_sources(given: Any, stdin: BinaryIO | None = None) -> Iterator[Opened]:
    """Every file in what was given, in order; those of a folder by their names.

    Args:
        given: a path, ``-`` for standard input, a table, or a sequence of these and of rows (mappings). A table is a
            pandas ``DataFrame``, an Arrow ``Table``, a Hugging Face ``Dataset`` or any other iterable of mappings.
        stdin: what ``-`` reads; ``sys.stdin.buffer`` if None.

    Raises:
        InputError: something given is neither a path nor rows.
    """
    rows: list[tuple[int, Any]] = []
    for each in _as_items(given):
        table = None if isinstance(each, str | Path | Mapping) else _to_rows(each)
        if isinstance(each, Mapping):
            rows.append((len(rows) + 1, plain_values(each)))
        elif table is not None:
            rows.extend(enumerate(table, start=len(rows) + 1))
        else:
            yield from _open_path(Path(each), stdin or sys.stdin.buffer)
    if rows:
        yield Opened("rows", Rows("rows", b"", numbered=rows, in_memory=True))


def _as_items(given: Any) -> Iterable[Any]:
    if isinstance(given, str | Path | Mapping) or _is_table(given):
        return [given]
    if isinstance(given, Iterable):
        return given
    raise InputError(
        f"{type(given).__name__} is nothing that can be read.",
        remedy="Give paths, a list of dicts, a DataFrame, an Arrow table or a Dataset.",
    )


def _is_table(given: Any) -> bool:
    return any(hasattr(given, name) for name in ("to_pylist", "column_names", "itertuples"))


def _to_rows(table: Any) -> list[dict[str, Any]]:
    """The rows of a table in memory, told by its methods so that no library is loaded for it."""
    if hasattr(table, "to_pylist"):
        return [plain_values(row) for row in table.to_pylist()]
    if hasattr(table, "itertuples"):
        return [plain_values(row) for row in table.to_dict("records")]
    if hasattr(table, "column_names"):
        if isinstance(table.column_names, Mapping):
            raise InputError(
                f"a dataset of {len(table.column_names)} splits ({', '.join(map(str, table.column_names))}).",
                remedy="Give one of them, such as dataset['train'].",
            )
        return [plain_values(row) for row in table]
    raise InputError(
        f"{type(table).__name__} is neither a path nor a row.",
        remedy="Give paths, dicts, a DataFrame, an Arrow table or a Dataset.",
    )


def _open_path(path: Path, stdin: BinaryIO) -> Iterator[Opened]:
    if str(path) == "-":
        yield Opened("-", Source("-", stdin.read()))
    elif _is_folder(path):
        yield from _open_folder(path)
    else:
        yield from _open_file(path, in_folder=False)


def _open_folder(folder: Path) -> Iterator[Opened]:
    found = sorted(child for child in folder.rglob("*") if child.is_file())
    for child in found:
        if any(part.startswith(".") for part in child.relative_to(folder).parts):
            yield Opened(str(child), in_folder=True, reason="hidden files")
        else:
            yield from _open_file(child, in_folder=True)
    if not found:
        yield Opened(
            str(folder),
            error=RecordError("the folder holds no file.", path=folder, remedy="Name the files themselves."),
        )


def _open_file(path: Path, *, in_folder: bool) -> Iterator[Opened]:
    try:
        source = Source(str(path), _gunzip(_load(path), path), path)
        is_archive = source.data.startswith(b"PK\x03\x04") and zipfile.is_zipfile(io.BytesIO(source.data))
        members = list(_open_archive(source)) if is_archive else None
    except RecordError as error:
        yield Opened(str(path), error=error, in_folder=in_folder)
        return
    if members is None:
        yield Opened(str(path), source, in_folder=in_folder)
    else:
        yield from members


def _gunzip(data: bytes, path: Path) -> bytes:
    """The one file in a gzip file, as data sets are published; anything else as it is, an archive of several too."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            found = file.read(_MAX_MEMBER_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise RecordError(
            f"the gzip file is damaged ({error}).", path=path, remedy="Download it again, or unpack it with gunzip."
        ) from error
    if len(found) > _MAX_MEMBER_BYTES:
        raise RecordError(
            f"unpacked it is larger than {_MAX_MEMBER_BYTES / 1e9:.0f} GB.",
            path=path,
            remedy="Unpack it and give it in parts.",
        )
    return data if found[257:262] == b"ustar" else found


def _open_archive(source: Source) -> Iterator[Opened]:
    """The files in a ZIP archive, as services send exports."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(source.data))
        inside = [each for each in archive.infolist() if not each.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise RecordError(
            f"the archive is damaged ({error}).", path=source.name, remedy="Download it again, or unpack it."
        ) from error
    names = {each.filename for each in inside}
    for mark, what in _OFFICE.items():
        if mark in names:
            raise RecordError(
                f"this is {what}, not text.",
                path=source.name,
                remedy="Save it as plain text, or a sheet as CSV, and give that.",
            )
    if sum(each.file_size for each in inside) > _MAX_MEMBER_BYTES:
        raise RecordError(
            f"unpacked it is larger than {_MAX_MEMBER_BYTES / 1e9:.0f} GB.",
            path=source.name,
            remedy="Unpack it and give the files that hold texts.",
        )
    for each in sorted(inside, key=lambda member: member.filename):
        name = f"{source.name}/{each.filename}"
        if any(part.startswith((".", "__MACOSX")) for part in Path(each.filename).parts):
            yield Opened(name, in_folder=True, reason="hidden files")
            continue
        try:
            yield Opened(name, Source(name, archive.read(each), None, archive, each.filename), in_folder=True)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
            problem = RecordError(f"could not be unpacked: {error}.", path=name, remedy="Unpack it yourself.")
            yield Opened(name, error=problem, in_folder=True)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long or has a NUL: reading it gives the error
        return False


def _load(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        # The format tells itself from the beginning: only one text of this size is a mistake.
        if size > MAX_TEXT_BYTES and path.suffix.lower() in _ONE_TEXT and not _may_hold_many(path):
            check_size(size, str(path))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise RecordError("no such file.", path=path, remedy="Check the name; quote names with spaces.") from error
    except (OSError, ValueError) as error:
        if isinstance(error, RecordError):
            raise
        why = error.strerror if isinstance(error, OSError) else error
        raise RecordError(
            f"could not be read: {why}.", path=path, remedy="Check the name and that you may read it."
        ) from error


def _may_hold_many(path: Path) -> bool:
    from .registry import tell_format

    with path.open("rb") as file:
        head = Source(str(path), file.read(_PEEK), path)
    found = tell_format(head)
    return found is not None and found.name not in ("text", "markdown")


def check_size(size: int, where: str) -> None:
    """Refuse a single text that is too large to be what one person wrote at one time.

    Args:
        size: in bytes or characters.
        where: the file, for the error.

    Raises:
        RecordError: it is larger than 20 MB.
    """
    if size > MAX_TEXT_BYTES:
        raise RecordError(
            f"{size / 1e6:.0f} MB is too much for one text ({MAX_TEXT_BYTES / 1e6:.0f} MB at most).",
            path=where,
            remedy="Split it into the pieces the person wrote, one file each, or into JSONL.",
        )


def read_text(path: Path) -> str:
    """The text of one file, in whatever encoding.

    Raises:
        RecordError: it is missing, empty, binary, too large, or in no encoding that can be told.
    """
    data = sys.stdin.buffer.read() if str(path) == "-" else _load(path)
    check_size(len(data), str(path))
    return decode(data, str(path))


def describe(given: Any) -> str:
    """What was given, for messages: the paths and how many rows."""
    items = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    named = [str(path) for path in items if isinstance(path, str | Path)]
    rows = len(items) - len(named)
    if not items:
        return "no files"
    return ", ".join([*named, *([f"{rows} rows" if rows > 1 or not named else "1 row"] if rows else [])])
