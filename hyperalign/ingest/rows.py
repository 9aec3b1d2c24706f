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

from .dialogs import MODEL_NAMES, split_choice, to_text
from .interface import Author, Columns, Entry, Fields, Format, PassedOver
from .source import Rows, Source
from .turns import read_time

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
_JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_RECORD = (
    'Expected "text" (a sample), "chosen" and "rejected" (a pair), "draft" and "edited" (an edit), '
    'or "text" and "rating" (a rating).'
)
_ALIASES = {
    "text": ("text", "body", "content", "message", "selftext", "full_text", "comment", "post", "tweet", "review_text")
    + ("reviewtext", "message_text", "comment_text", "post_text"),
    "prompt": ("prompt", "question", "instruction", "query", "parent_text", "parent_body"),
    "chosen": ("chosen", "response_chosen", "chosen_response", "preferred"),
    "rejected": ("rejected", "response_rejected", "rejected_response", "dispreferred"),
    "draft": ("draft",),
    "edited": ("edited",),
    "rating": ("rating",),
    "id": ("id",),
    "time": ("time", "created_utc", "created_at", "createdat", "date", "timestamp", "datetime", "sent_at", "posted_at"),
}
_WRITERS = ("author", "username", "user_name", "screen_name", "sender", "from", "speaker", "writer", "by")
_RATERS = ("annotator", "annotator_id", "worker", "worker_id", "rater", "rater_id", "participant", "participant_id")
_USERS = ("user", "user_id", "userid")
_ALSO = ("author_id", "authorid", "author_fullname", "author_email", "sender_id", "from_id", "user_id", "userid")
_ALSO += ("username", "user_name", "screen_name", "email", "sender_email")
_NAMES = ("name", "display_name", "displayname", "real_name", "login", "username", "screen_name", "email", "id")
_ROLES = ("role", "from", "sender", "speaker", "author", "user", "sender_type", "author_type")
_MINE = ("is_from_me", "from_me", "is_sender", "is_me", "from_self", "is_self_author")
_NOT_PEOPLE = MODEL_NAMES | {"system", "tool", "function", "developer"}
_DELETED = {"[deleted]", "[removed]", "deleted", "<deleted>"}
_SOLD = {"asin", "parent_asin", "product_id", "verified_purchase", "business_id"}
# Where lists of rows stand in objects that services and tools write.
_WRAPPERS = ("rows", "data", "records", "items", "results", "examples", "entries", "posts", "comments", "children")
_DEEPEST = 4


def place(source: Source, number: int | None) -> dict[str, Any]:
    """Where a row is, as errors take it: file and line, or the row alone of rows in memory."""
    if isinstance(source, Rows) and source.in_memory:
        return {"path": f"row {number}", "line": None}
    return {"path": source.name, "line": number}


def unwrap(value: Any, depth: int = 0) -> Any:
    """The rows in a JSON value: a list, an object that holds one, columns as lists, or rows by their index."""
    if isinstance(value, list):
        inner = [each["data"] if _is_wrapped(each, "data") else each.get("row") for each in value if _is_row(each)]
        return (
            inner if inner and len(inner) == len(value) and all(isinstance(each, Mapping) for each in inner) else value
        )
    if not isinstance(value, Mapping) or depth > _DEEPEST or find_fields(value):
        lists = [each for each in value.values() if isinstance(each, list)] if isinstance(value, Mapping) else []
        return _turn_columns(value) if lists and len(lists) == len(value) else value
    for name in _WRAPPERS:
        inner = value.get(name)
        if isinstance(inner, list | Mapping) and inner:
            return unwrap(inner, depth + 1)
    if len(value) > 0 and all(isinstance(each, Mapping) and find_fields(each) for each in value.values()):
        return list(value.values())
    return value


def _is_wrapped(each: Any, name: str) -> bool:
    return isinstance(each, Mapping) and isinstance(each.get(name), Mapping)


def _is_row(each: Any) -> bool:
    return (_is_wrapped(each, "data") and "kind" in each) or (_is_wrapped(each, "row") and "row_idx" in each)


def _turn_columns(value: Mapping[str, Any]) -> Any:
    """Rows of columns, as ``{"user": [...], "text": [...]}`` has them."""
    columns = list(value.values())
    if len({len(each) for each in columns}) != 1 or any(isinstance(cell, Mapping) for cell in columns[0]):
        return value
    return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]


def find_fields(row: Mapping[str, Any]) -> set[str]:
    """Which content fields a row has, by its column names."""
    names = {_plain_name(name) for name in row}
    return {field for field in CONTENT_FIELDS if names.intersection(_ALIASES[field])} - {"prompt"}


def _plain_name(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", str(name).strip()).lower()


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
    """

    def __init__(self, source: Source, columns: Columns) -> None:
        self._source = source
        self._named = {field: path for field, path in columns.names.items() if path}
        self._left_out = {field for field, path in columns.names.items() if not path}
        self._layouts: dict[tuple[str, ...], dict[str, list[str]]] = {}
        self._authors: dict[tuple[str, frozenset[str]], Author] = {}
        self._is_text = isinstance(source, Rows) and not source.in_memory
        self._chooses = bool(set(self._named) & (set(CONTENT_FIELDS) - {"prompt"}))

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
        author: Author | PassedOver | None = self._whose(row, layout, data, number)
        if isinstance(author, PassedOver):
            return author
        if not _is_choice(data) and string_in(data.get("text"), _DELETED):
            return PassedOver("deleted texts", number)
        if "chosen" in data and "rejected" in data:
            data |= split_choice(data.get("prompt"), data["chosen"], data["rejected"])
            data = {field: data[field] for field in ("prompt", "chosen", "rejected") if field in data}
        elif not data or set(data) == {"prompt"}:
            if any(layout[field] for field in CONTENT_FIELDS if field != "prompt") or not row:
                return PassedOver("rows without a text", number)
            return self._unknown(row, number)
        else:
            data = {field: self._as_text(field, value) for field, value in data.items()}
            if not {"draft", "edited"} & set(data) and _SOLD & {_plain_name(name) for name in row}:
                data.pop("rating", None)  # Of what was bought, not of the text about it.
        for field in ("id", "time"):
            value = self._value(row, layout, field)
            if field == "id" and isinstance(value, int | float) and not isinstance(value, bool):
                value = f"{value:g}" if isinstance(value, float) else str(value)
            if field == "time" and value is not None:
                value = self._time(value, layout)
            if value is not None:
                data[field] = value
        return Fields(author, data, number)

    def check_columns(self, rows: Sequence[tuple[int, Any]]) -> RecordError | None:
        """An error if a column that was named is in no row."""
        kept = [row for _, row in rows if isinstance(row, Mapping)]
        for field, path in self._named.items():
            if kept and not any(_has(row, path) for row in kept):
                return self._unknown(kept[0], None, f"there is no column {path!r} for {field!r}")
        return None

    def _layout(self, row: Mapping[str, Any]) -> dict[str, list[str]]:
        """For each field the columns that may hold it, the likeliest first."""
        keys = tuple(row)
        found = self._layouts.get(keys)
        if found is None:
            plain: dict[str, str] = {}
            for name in keys:
                plain.setdefault(_plain_name(name), name)
            found = {field: [plain[each] for each in names if each in plain] for field, names in _ALIASES.items()}
            for group, names in (("writer", _WRITERS), ("rater", _RATERS), ("user", _USERS), ("also", _ALSO)):
                found[group] = [plain[each] for each in names if each in plain]
            found["role"] = [plain[each] for each in _ROLES if each in plain]
            found["mine"] = [plain[each] for each in _MINE if each in plain]
            for field in self._left_out:
                found[field] = []
            if self._chooses:
                for field in set(CONTENT_FIELDS) - {"prompt"}:
                    found[field] = []
            for field, path in self._named.items():
                found[field] = [path]
            self._layouts[keys] = found
        return found

    def _value(self, row: Mapping[str, Any], layout: Mapping[str, list[str]], field: str) -> Any:
        for path in layout[field]:
            value = _get(row, path) if field in self._named else row.get(path)
            if value is None or (isinstance(value, float) and math.isnan(value)) or (self._is_text and value == ""):
                continue
            return value
        return None

    def _as_text(self, field: str, value: Any) -> Any:
        if field == "rating":
            if self._is_text and isinstance(value, str):
                try:
                    return float(value.replace(",", "."))
                except ValueError:
                    return value
            return value
        return value if isinstance(value, str) else (to_text(value) or value)

    def _time(self, value: Any, layout: Mapping[str, list[str]]) -> Any:
        if isinstance(value, datetime):
            return value
        if isinstance(value, date):
            return value.isoformat()
        if (found := read_time(value)) is not None:
            return found
        # The field of our own format says what is wrong; another's may be in a form of its own.
        if "time" in self._named or (layout["time"] and _plain_name(layout["time"][0]) == "time"):
            return value
        try:
            return parsedate_to_datetime(str(value))
        except ValueError:
            return None

    def _whose(
        self, row: Mapping[str, Any], layout: Mapping[str, list[str]], data: Mapping[str, Any], number: int
    ) -> Author | PassedOver | None:
        for name in layout["role"]:
            role = row.get(name)
            role = role.get("role") if isinstance(role, Mapping) else role
            if isinstance(role, str) and role.strip().lower() in _NOT_PEOPLE and not _is_choice(data):
                return PassedOver("turns of a model or system", number)
        for name in layout["mine"]:
            if row.get(name) in (True, 1, "1", "true", "True", "TRUE"):
                return self._author("me", frozenset(), is_owner=True)
        if "user" in self._named:
            order = layout["user"]
        elif _is_choice(data):
            order = [*layout["user"][:1], *layout["rater"], *layout["user"], *layout["writer"]]
        else:
            order = [*layout["user"][:1], *layout["writer"], *layout["user"], *layout["rater"]]
        for name in order:
            value = _get(row, name) if "user" in self._named else row.get(name)
            if not (shown := _shown_name(value)):
                continue
            if string_in(shown, _DELETED):
                return PassedOver("texts of deleted accounts", number)
            if shown.lower() in ("user", "human") and name in layout["role"]:
                continue  # A role, not a name.
            others = {
                _shown_name(row.get(each)) for each in layout["also"] if each != name and "user" not in self._named
            }
            if isinstance(value, Mapping):
                others |= {_shown_name(value.get(each)) for each in _NAMES}
            return self._author(shown, frozenset(others - {"", shown}))
        return None

    def _author(self, name: str, also: frozenset[str], *, is_owner: bool = False) -> Author:
        return self._authors.setdefault((name, also), Author(name, also, is_owner))

    def _unknown(self, row: Mapping[str, Any], number: int | None, problem: str = "this is no record") -> RecordError:
        names = [str(name) for name in row]
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        has = f"Columns there: {shown}. Say which is which, for example: {_example(row)}" if names else ""
        return RecordError(f"{problem}.", **place(self._source, number), remedy=f"{_RECORD} {has}".strip())


def string_in(value: Any, known: set[str]) -> bool:
    """Whether a value is one of some strings, in whatever case."""
    return isinstance(value, str) and value.strip().lower() in known


def _is_choice(data: Mapping[str, Any]) -> bool:
    return bool({"chosen", "rejected", "rating"} & set(data))


def _shown_name(value: Any) -> str:
    if isinstance(value, Mapping):
        return next((found for key in _NAMES if (found := _shown_name(value.get(key)))), "")
    if isinstance(value, bool) or value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split()) if isinstance(value, str | int | float) else ""


def _has(row: Mapping[str, Any], path: str) -> bool:
    return path in row or _get(row, path) is not None


def _get(row: Any, path: str) -> Any:
    """The value at a path such as ``data.answers.0.text``; a column of that very name comes first."""
    if isinstance(row, Mapping) and path in row:
        return row[path]
    for part in path.split("."):
        if isinstance(row, Mapping):
            row = row.get(part)
        elif isinstance(row, list) and part.lstrip("-").isdigit() and -len(row) <= int(part) < len(row):
            row = row[int(part)]
        else:
            return None
    return row


def _example(row: Mapping[str, Any]) -> str:
    """An example of ``--columns`` for a row: the longest text as text, and something short as whose."""
    flat = {str(name): value for name, value in row.items()}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
    texts = sorted(
        (name for name, value in flat.items() if isinstance(value, str)), key=lambda name: -len(str(flat[name]))
    )
    text = texts[0] if texts else "COLUMN"
    user = next((name for name in flat if name != text and re.search("user|author|name|worker|id$", name, re.I)), "")
    return f'--columns "{f"user={user}," if user else ""}text={text}"'


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
        rows = source.rows()
        value = unwrap(source.json) if source.json is not None else None
        if isinstance(value, list) and value is not source.json:
            rows = enumerate(value, start=1)
        reader = RowReader(source, columns)
        if columns.names:
            kept = list(rows)
            if (problem := reader.check_columns(kept)) is not None:
                yield problem
                return
            rows = iter(kept)
        for number, row in rows:
            yield row if isinstance(row, RecordError) else reader.read(number, row)


FORMATS: list[Format] = [JsonRows()]


def parse_line(line: str, where: str = "-", number: int | None = None, user: str | None = None) -> Record | Rating:
    """Parse one line of JSONL; its fields decide which kind of record or rating it is.

    Args:
        line: a JSON object.
        where: the file, for the error.
        number: the 1-based line, for the error.
        user: the user if the line has none.

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
    entry = RowReader(source, Columns()).read(number or 1, row)
    if isinstance(entry, RecordError):
        raise RecordError("this is no record.", path=where, line=number, remedy=entry.remedy)
    if not isinstance(entry, Fields):
        raise RecordError("this is no record: it has no text of a person.", path=where, line=number, remedy=_RECORD)
    whose = {"user": entry.author.name} if entry.author else {}
    return parse_fields({**entry.data, **whose}, where, number, user)
