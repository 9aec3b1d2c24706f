"""Rows of named fields, such as lines of JSON: which field is which, and whose row it is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic_core import from_json

from hyperalign.errors import RecordError
from hyperalign.records import Rating, Record, parse_fields

from .dialogs import holds_a_dialog, split_choice, to_text
from .interface import Columns, Entry, Fields, Format, PassedOver
from .row_authors import DELETED, RowAuthors, example_columns, find_columns, is_among, plain_name, value_at
from .source import Rows, Source
from .turns import MIN_WORDS, count_words, read_time

__all__ = [
    "CONTENT_FIELDS",
    "FORMATS",
    "JsonRows",
    "RowReader",
    "first_rows",
    "parse_line",
    "place",
    "unwrap",
]

CONTENT_FIELDS = ("text", "prompt", "chosen", "rejected", "draft", "edited", "rating")
_OWN_CONTENT = set(CONTENT_FIELDS) - {"prompt"}
_EDITED = {"draft", "edited"}
_JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_RECORD = (
    'Expected "text" (a sample), "chosen" and "rejected" (a pair), "draft" and "edited" (an edit), '
    'or "text" and "rating" (a rating).'
)
_ALIASES = {
    "text": (
        *("text", "body", "content", "message", "selftext", "full_text", "comment", "post", "tweet", "review_text"),
        *("reviewtext", "message_text", "comment_text", "post_text", "utterance", "review", "msg", "caption", "note"),
    ),
    "prompt": ("prompt", "question", "instruction", "query", "parent_text", "parent_body"),
    "chosen": ("chosen", "response_chosen", "chosen_response", "preferred"),
    "rejected": ("rejected", "response_rejected", "rejected_response", "dispreferred"),
    "draft": ("draft",),
    "edited": ("edited",),
    "rating": ("rating",),
    "id": ("id",),
    "time": ("time", "created_utc", "created_at", "createdat", "date", "timestamp", "datetime", "sent_at", "posted_at"),
}
_SOLD = {"asin", "parent_asin", "product_id", "verified_purchase", "business_id"}
# Where lists of rows stand in objects that services and tools write.
_WRAPPERS = ("rows", "data", "records", "items", "results", "examples", "entries", "posts", "comments", "children")
_LISTS = ("texts", "samples", "records", "posts", "comments", "letters", "documents", "reviews", "tweets", "writings")
_DEEPEST = 4


def place(source: Source, number: int | None) -> dict[str, Any]:
    """Where a row is, as errors take it: file and line, or the row alone of rows in memory."""
    if isinstance(source, Rows) and source.in_memory:
        return {"path": f"row {number}", "line": None}
    return {"path": source.name, "line": number}


def unwrap(value: Any, depth: int = 0) -> Any:
    """The rows in a JSON value: a list, an object that holds one, columns as lists, or rows by their index."""
    if isinstance(value, list):
        rows = [_inner(each) for each in value]
        return rows if rows and None not in rows else value
    if not isinstance(value, Mapping) or depth > _DEEPEST or find_fields(value):
        lists = [each for each in value.values() if isinstance(each, list)] if isinstance(value, Mapping) else []
        return _turn_columns(value) if lists and len(lists) == len(value) else value
    for name in _WRAPPERS:
        inner = value.get(name)
        if isinstance(inner, list | Mapping) and inner:
            return unwrap(inner, depth + 1)
    if value and all(isinstance(each, Mapping) and find_fields(each) for each in value.values()):
        return list(value.values())
    if depth == 0 and value and all(_are_somebodys(each) for each in value.values()):
        return [{"user": name, "texts": each} for name, each in value.items()]
    return value


def _are_somebodys(value: Any) -> bool:
    """Whether a value is a list of texts or records, as objects have them by the name of the person."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, str) or (isinstance(each, Mapping) and bool(find_fields(each))) for each in value)
    )


def _inner(each: Any) -> Mapping[str, Any] | None:
    """The row in an item that wraps it: of a listing, of a page of rows, or under one name such as ``tweet``."""
    if not isinstance(each, Mapping):
        return None
    for name, mark in (("data", "kind"), ("row", "row_idx")):
        if mark in each and isinstance(each.get(name), Mapping):
            return dict(each[name])
    only = next(iter(each.values())) if len(each) == 1 else None
    return dict(only) if isinstance(only, Mapping) and find_fields(only) else None


def _turn_columns(value: Mapping[str, Any]) -> Any:
    """Rows of columns, as ``{"user": [...], "text": [...]}`` has them."""
    columns = list(value.values())
    if len({len(each) for each in columns}) != 1 or any(isinstance(cell, Mapping) for cell in columns[0]):
        return value
    return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]


def find_fields(row: Mapping[str, Any]) -> set[str]:
    """Which content fields a row has, by its column names."""
    names = {plain_name(name) for name in row}
    return {field for field in CONTENT_FIELDS if names.intersection(_ALIASES[field])} - {"prompt"}


def first_rows(source: Source, count: int = 20) -> list[Any]:
    """The first rows of a file that are JSON, to tell the format by."""
    found: list[Any] = []
    value = unwrap(source.json) if source.json is not None else None
    if isinstance(value, list):
        return value[:count]
    for _, row in source.rows():
        if not isinstance(row, RecordError):
            found.append(row)
        if len(found) >= count or isinstance(row, RecordError):
            break
    return found


class RowReader:
    """Reads the rows of one file, all with the same columns or not.

    Args:
        source: the file.
        columns: which column holds which field.
        rates: whether rows of the file have ratings: then a text without one is unrated, and not the person's own.
    """

    def __init__(self, source: Source, columns: Columns, *, rates: bool = False) -> None:
        self._source = source
        self._named = {field: path for field, path in columns.names.items() if path}
        self._left_out = {field for field, path in columns.names.items() if not path}
        self._layouts: dict[tuple[str, ...], dict[str, list[str]]] = {}
        self._authors = RowAuthors(columns.names.get("user"))
        self._is_text = isinstance(source, Rows) and not source.in_memory
        self._rates = rates

    def read(self, number: int, row: Any) -> Entry:
        """What one row is.

        Args:
            number: its line or place, from 1.
            row: its fields.
        """
        if not isinstance(row, Mapping):
            return RecordError("this is no record.", **place(self._source, number), remedy=_RECORD)
        layout = self._layout(row)
        data = {field: value for field in CONTENT_FIELDS if (value := self._value(row, layout, field)) is not None}
        author = self._authors.find(row, number, is_choice=bool({"chosen", "rejected", "rating"} & set(data)))
        if isinstance(author, PassedOver):
            return author
        problem: Entry | None = None
        if "chosen" in data and "rejected" in data:
            data = split_choice(data.get("prompt"), data["chosen"], data["rejected"])
        elif not set(data) - {"prompt", "rating"}:
            has_columns = not row or any(layout[field] for field in _OWN_CONTENT - {"rating"})
            problem = PassedOver("rows without a text", number) if has_columns else self._unknown(row, number)
        elif is_among(data.get("text"), DELETED):
            problem = PassedOver("deleted texts", number)
        elif holds_a_dialog(str(data.get("text", ""))):
            problem = RecordError(
                "this text is a dialog with a model, and holds the model's words, too.",
                **place(self._source, number),
                remedy='Give it as a list of "messages" with roles, of which the turns of the user are read.',
            )
        elif str(data.get("text", "")).startswith("RT @"):
            problem = PassedOver("reposts", number)
        else:
            data = {field: self._as_text(field, value) for field, value in data.items()}
            problem = None if _EDITED & set(data) else self._check_rating(row, layout, data, number)
        if problem is not None:
            return problem
        return Fields(author, data | self._id_and_time(row, layout), number)

    def may_say_whose(self, row: Any) -> bool:
        """Whether a row has a column for the person."""
        return isinstance(row, Mapping) and self._authors.has_column(row)

    def check_columns(self, rows: Sequence[tuple[int, Any]]) -> RecordError | None:
        """An error if a column that was named is in no row."""
        kept = [row for _, row in rows if isinstance(row, Mapping)]
        for field, path in self._named.items():
            if kept and not any(path in row or value_at(row, path) is not None for row in kept):
                return self._unknown(kept[0], None, f"there is no column {path!r} for {field!r}")
        return None

    def _layout(self, row: Mapping[str, Any]) -> dict[str, list[str]]:
        """For each field the columns that may hold it, the likeliest first."""
        names = tuple(row)
        found = self._layouts.get(names)
        if found is None:
            found = {field: find_columns(names, known) for field, known in _ALIASES.items()}
            # Who names a column of content means no other; a prompt may be found beside it.
            chooses = set(self._named) & _OWN_CONTENT
            found |= {field: [] for field in (*(_OWN_CONTENT if chooses else ()), *self._left_out)}
            found |= {field: [path] for field, path in self._named.items()}
            self._layouts[names] = found
        return found

    def _value(self, row: Mapping[str, Any], layout: Mapping[str, list[str]], field: str) -> Any:
        for path in layout[field]:
            value = value_at(row, path) if field in self._named else row.get(path)
            is_missing = value is None or (isinstance(value, float) and math.isnan(value))
            if not is_missing and not (self._is_text and value == ""):
                return value
        return None

    def _as_text(self, field: str, value: Any) -> Any:
        if field != "rating":
            return value if isinstance(value, str) else (to_text(value) or value)
        if self._is_text and isinstance(value, str):
            try:
                return float(value.replace(",", "."))
            except ValueError:
                return value
        return value

    def _check_rating(
        self, row: Mapping[str, Any], layout: Mapping[str, list[str]], data: dict[str, Any], number: int
    ) -> RecordError | None:
        """Drop a rating that is not of the text; an error if a text is to be rated and is not."""
        if _SOLD & {plain_name(name) for name in row}:
            data.pop("rating", None)
        elif self._rates and layout["rating"] and "rating" not in data and not (layout["chosen"] or layout["draft"]):
            return RecordError(
                "rating: there is none, and other rows have one.",
                **place(self._source, number),
                remedy="Leave the row out, or pass --skip-bad; the text that was to be rated may be somebody else's.",
            )
        return None

    def _id_and_time(self, row: Mapping[str, Any], layout: Mapping[str, list[str]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        name, time = (self._value(row, layout, field) for field in ("id", "time"))
        if isinstance(name, int | float) and not isinstance(name, bool):
            name = str(int(name)) if float(name).is_integer() else str(name)
        if name is not None:
            found["id"] = name
        if time is not None and (time := self._time(time, layout)) is not None:
            found["time"] = time
        return found

    def _time(self, value: Any, layout: Mapping[str, list[str]]) -> Any:
        if isinstance(value, datetime):
            return value
        if isinstance(value, date):
            return value.isoformat()
        if (found := read_time(value)) is not None:
            return found
        # The field of our own format says what is wrong; another's may be in a form of its own.
        if "time" in self._named or (layout["time"] and plain_name(layout["time"][0]) == "time"):
            return value
        try:
            return parsedate_to_datetime(str(value))
        except ValueError:
            return None

    def _unknown(self, row: Mapping[str, Any], number: int | None, problem: str = "this is no record") -> RecordError:
        names = [str(name) for name in row]
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        has = (
            f"Columns there: {shown}. Say which is which, for example: {example_columns(row, _ALIASES['prompt'])}"
            if names
            else ""
        )
        if self._is_text and any(count_words(name) >= MIN_WORDS for name in names):
            has += ". If the first row names no columns, put one above it that does, as in: user,text"
        return RecordError(f"{problem}.", **place(self._source, number), remedy=f"{_RECORD} {has}".strip())


class JsonRows:
    """JSON by lines, one JSON array, or an object that holds one."""

    name = "rows"
    title = "JSON rows"

    def match(self, source: Source) -> int:
        """By content if a row has a known field, by its name alone else."""
        if isinstance(source, Rows):
            return 2 if source.in_memory else 1
        begins = source.head.lstrip()[:1]
        if begins not in ("{", "[") and source.suffix not in _JSON_SUFFIXES:
            return 0
        found = [row for row in first_rows(source) if isinstance(row, Mapping)]
        if any(find_fields(row) for row in found):
            return 2
        return 1 if found or source.suffix in _JSON_SUFFIXES else 0

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """Each row as a record, with its author."""
        value = unwrap(source.json) if source.json is not None else None
        is_inside = isinstance(value, list) and value is not source.json
        given = enumerate(value, start=1) if is_inside and isinstance(value, list) else source.rows()
        each_row = list(given)
        # A list of strings is one of texts, if they are longer than names and tags.
        strings = [row for _, row in each_row if isinstance(row, str)]
        if len(strings) == len(each_row) and any(count_words(text) >= MIN_WORDS for text in strings):
            each_row = [(number, {"text": row}) for number, row in each_row]
        rows = [(number, each) for number, row in each_row for each in _spread(row)]
        reader = RowReader(source, columns, rates=any(_has_rating(row) for _, row in rows))
        if (problem := reader.check_columns(rows)) is not None:
            yield problem
            return
        found = [row if isinstance(row, RecordError) else reader.read(number, row) for number, row in rows]
        says_whose = any(isinstance(entry, Fields) and entry.author for entry in found)
        for (number, row), entry in zip(rows, found, strict=True):
            # Beside rows with a name, an empty cell for it says that nobody knows.
            is_nobodys = says_whose and isinstance(entry, Fields) and entry.author is None and reader.may_say_whose(row)
            yield PassedOver("rows that do not say whose they are", number) if is_nobodys else entry


def _spread(row: Any) -> list[Any]:
    """The rows in a row that holds a list of somebody's texts or records; else the row itself."""
    if not isinstance(row, Mapping) or find_fields(row):
        return [row]
    for name in find_columns(tuple(row), _LISTS):
        each = row[name]
        if isinstance(each, list) and each and all(isinstance(one, str | Mapping) for one in each):
            rest = {key: value for key, value in row.items() if key != name}
            return [{**rest, **({"text": one} if isinstance(one, str) else one)} for one in each]
    return [row]


def _has_rating(row: Any) -> bool:
    value = row.get("rating") if isinstance(row, Mapping) else None
    return value is not None and not (isinstance(value, float) and math.isnan(value))


FORMATS: list[Format] = [JsonRows()]


def parse_line(
    line: str,
    where: str = "-",
    number: int | None = None,
    user: str | None = None,
    columns: Columns | None = None,
) -> Record | Rating:
    """Parse one line of JSONL; its fields decide which kind of record or rating it is.

    Args:
        line: a JSON object.
        where: the file, for the error.
        number: the 1-based line, for the error.
        user: the user if the line has none.
        columns: which column holds which field.

    Raises:
        RecordError: it is not JSON, not a record, or a field is wrong.
    """
    source = Source(where, line.encode("utf-8", "surrogatepass"))
    try:
        row = from_json(line)
    except ValueError as error:
        raise RecordError(
            f"this line is not JSON ({re.sub(' at line 1 column', ' at column', str(error))}).",
            path=where,
            line=number,
            remedy='Expected one object a line, as {"user": "ada", "text": "…"}; --skip-bad passes over bad lines.',
        ) from error
    entry = RowReader(source, columns or Columns(), rates=True).read(number or 1, row)
    if isinstance(entry, RecordError):
        raise RecordError(entry.message.split(": ", 1)[1], path=where, line=number, remedy=entry.remedy)
    if not isinstance(entry, Fields):
        raise RecordError("this is no record: it has no text of a person.", path=where, line=number, remedy=_RECORD)
    whose = {"user": entry.author.name} if entry.author else {}
    return parse_fields({**entry.data, **whose}, where, number, user)
