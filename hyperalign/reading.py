"""Read records from JSONL, text and Markdown files, folders, standard input, and dicts.

A bad line is reported with its file, its number and what was expected. Ratings become pairs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from .errors import RecordError
from .records import Rating, Record, Sample, check_user, make_pairs, merge_copies, parse_fields

__all__ = ["Reading", "parse_line", "read_records", "read_text"]

MAX_FILE_BYTES = 20_000_000
MIN_WORDS = 3
_JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
_TEXT_SUFFIXES = {".txt", ".md", ".markdown", ".text", ""}


@dataclass(frozen=True)
class Reading:
    """Records read, and what was skipped.

    Attributes:
        records: in the order read, without repeats, of which the newest counts; pairs made of ratings come last.
        skipped: one message for each bad line skipped with ``skip_bad``.
        repeated: how many records were copies of an earlier one.
        ratings: how many ratings were read.
        rated_pairs: how many pairs were made of them.
    """

    records: list[Record]
    skipped: list[str]
    repeated: int
    ratings: int = 0
    rated_pairs: int = 0


def read_records(
    paths: Sequence[Path | str | Mapping[str, Any]],
    *,
    user: str | None = None,
    skip_bad: bool = False,
    stdin: BinaryIO | None = None,
) -> Reading:
    """Read all records of one person.

    Args:
        paths: files, folders (read for JSONL, text and Markdown files), ``-`` for standard input, or dicts with the
            fields of a record, as a line of JSONL has them.
        user: the person's id. Text needs it; in JSONL it selects the person's lines, and is added to lines without one.
        skip_bad: skip bad lines and files, and report them in ``skipped``.
        stdin: what ``-`` reads; ``sys.stdin.buffer`` if None.

    Raises:
        RecordError: a file is missing, empty, too large, not UTF-8, or has a bad line; two different records have the
            same id; records of several people are mixed and ``user`` is None; or nothing was read.
        UserIdError: ``user`` is not a valid user id.
    """
    if user is not None:
        user = check_user(user)
    skipped: list[str] = []
    items: dict[tuple[str, str], Record | Rating] = {}
    users: dict[str, str] = {}
    repeated = 0
    for where, line, item in _items(paths, user, skip_bad, skipped, stdin or sys.stdin.buffer):
        if user is not None and item.user != user:
            users.setdefault(item.user, where)
            continue
        known = items.get((item.user, item.id))
        if known is None:
            items[item.user, item.id] = item
            users.setdefault(item.user, where)
        # The same record at another time is a copy: it has the same id if that is made of the content.
        elif (newer := merge_copies(known, item)) is not None:
            items[item.user, item.id] = newer
            repeated += 1
        else:
            problem = RecordError(
                f"the id {item.id!r} stands for two different records.",
                path=where,
                line=line,
                remedy="Give each record an id of its own, or leave ids out.",
            )
            _raise_or_skip(problem, skip_bad, skipped)
    _check_users(users, user, list(items.values()), paths, skipped)
    ratings = [item for item in items.values() if isinstance(item, Rating)]
    pairs = make_pairs(ratings)
    records = {key: item for key, item in items.items() if not isinstance(item, Rating)}
    for pair in pairs:
        records.setdefault((pair.user, pair.id), pair)
    if not records:
        raise RecordError(
            f"{len(ratings)} rating(s) there, and no two that make a pair.",
            path=_describe(paths),
            remedy="A pair is made of two texts under one prompt (or none) that were rated differently.",
        )
    return Reading(list(records.values()), skipped, repeated, len(ratings), len(pairs))


def _items(
    paths: Sequence[Path | str | Mapping[str, Any]],
    user: str | None,
    skip_bad: bool,
    skipped: list[str],
    stdin: BinaryIO,
) -> Iterator[tuple[str, int | None, Record | Rating]]:
    rows = 0
    for path in _expand_folders(paths):
        if isinstance(path, Mapping):
            rows += 1
            try:
                yield f"row {rows}", None, parse_fields(path, f"row {rows}", None, user)
            except RecordError as error:
                _raise_or_skip(error, skip_bad, skipped)
            continue
        where = str(path)
        try:
            text = _decode(_load(path, stdin), where)
            if _is_jsonl(path, text):
                yield from _parse_jsonl(text, where, user, skip_bad, skipped)
            else:
                _check_size(len(text), where)
                yield where, None, _to_sample(text, where, user)
        except RecordError as error:
            _raise_or_skip(error, skip_bad, skipped)


def read_text(path: Path) -> str:
    """The text of one file.

    Raises:
        RecordError: it is missing, empty, too large, or not UTF-8.
    """
    text = _decode(_load(path, sys.stdin.buffer), str(path))
    _check_size(len(text), str(path))
    return text


def _expand_folders(paths: Sequence[Path | str | Mapping[str, Any]]) -> Iterator[Path | Mapping[str, Any]]:
    for raw in paths:
        if isinstance(raw, Mapping):
            yield raw
            continue
        path = Path(raw)
        if str(raw) == "-" or not _is_folder(path):
            yield path
            continue
        found = sorted(
            child
            for child in path.rglob("*")
            if child.is_file()
            and not any(part.startswith(".") for part in child.relative_to(path).parts)
            and child.suffix.lower() in (_JSON_SUFFIXES | _TEXT_SUFFIXES) - {""}
        )
        if not found:
            raise RecordError(
                "the folder holds no .jsonl, .txt or .md file.", path=path, remedy="Name the files themselves."
            )
        yield from found


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long or has a NUL: reading it gives the error
        return False


def _load(path: Path, stdin: BinaryIO) -> bytes:
    if str(path) == "-":
        return stdin.read()
    try:
        # A JSONL file may hold many people; a single text of this size is a mistake.
        if path.suffix.lower() not in _JSON_SUFFIXES:
            _check_size(path.stat().st_size, str(path))
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


def _check_size(size: int, where: str) -> None:
    if size > MAX_FILE_BYTES:
        raise RecordError(
            f"{size / 1e6:.0f} MB is too much for one text ({MAX_FILE_BYTES / 1e6:.0f} MB at most).",
            path=where,
            remedy="Split it into the pieces the person wrote, one file each, or into JSONL.",
        )


def _decode(data: bytes, where: str) -> str:
    if not data.strip():
        raise RecordError("the file is empty.", path=where, remedy="Leave it out.")
    if b"\0" in data:
        raise RecordError(
            "this is a binary file, not text.", path=where, remedy="Save it as plain text (UTF-8) and try again."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RecordError(
            "the text is not UTF-8.",
            path=where,
            line=line,
            remedy=f"Convert it, for example with: iconv -f WINDOWS-1252 -t UTF-8 {Path(where).name}",
        ) from error


def _is_jsonl(path: Path, text: str) -> bool:
    if path.suffix.lower() in _JSON_SUFFIXES:
        return True
    return str(path) == "-" and text.lstrip().startswith("{")


def _parse_jsonl(
    text: str, where: str, user: str | None, skip_bad: bool, skipped: list[str]
) -> Iterator[tuple[str, int, Record | Rating]]:
    # Not splitlines: JSON strings may hold U+2028 and the like unescaped.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield where, number, parse_line(line, where, number, user)
        except RecordError as error:
            _raise_or_skip(error, skip_bad, skipped)


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
    try:
        data = from_json(line)
    except ValueError as error:
        raise RecordError(
            f"this line is not JSON ({re.sub(' at line 1 column', ' at column', str(error))}).",
            path=where,
            line=number,
            remedy='Expected one object a line, as {"user": "ada", "text": "…"}; --skip-bad passes over bad lines.',
        ) from error
    return parse_fields(data, where, number, user)


def _to_sample(text: str, where: str, user: str | None) -> Sample:
    if user is None:
        raise RecordError("a text does not say who wrote it.", path=where, remedy="Add --user NAME.")
    body = _drop_front_matter(text.replace("\r\n", "\n")).strip()
    if len(body.split()) < MIN_WORDS:
        raise RecordError(
            f"{len(body.split())} word(s) say too little about anybody (at least {MIN_WORDS}).",
            path=where,
            remedy="Leave it out, or give a longer piece.",
        )
    return Sample(user=user, text=body)


def _drop_front_matter(text: str) -> str:
    # Markdown tools put settings between two '---' lines at the top, which the person did not write.
    if text.startswith("---\n"):
        head, separator, body = text[4:].partition("\n---\n")
        if separator and all(
            ":" in line or not line.strip() or line.startswith((" ", "-")) for line in head.split("\n")
        ):
            return body
    return text


def _raise_or_skip(error: RecordError, skip_bad: bool, skipped: list[str]) -> None:
    if not skip_bad:
        raise error
    skipped.append(str(error))


def _check_users(
    users: dict[str, str],
    user: str | None,
    items: list[Record | Rating],
    paths: Sequence[Path | str | Mapping[str, Any]],
    skipped: list[str],
) -> None:
    if not items:
        whose, found = f" of {user!r}" if user else "", ", ".join(sorted(users)) or "nothing usable"
        raise RecordError(
            f"no records{whose} there (found: {found}).",
            path=_describe(paths),
            remedy=skipped[0] if skipped else "Check --user and the files.",
        )
    if user is None and len(users) > 1:
        raise RecordError(
            f"records of {len(users)} people are mixed ({', '.join(sorted(users)[:5])}).",
            path=_describe(paths),
            remedy="Choose one with --user NAME.",
        )


def _describe(paths: Sequence[Path | str | Mapping[str, Any]]) -> str:
    named = [str(path) for path in paths if not isinstance(path, Mapping)]
    rows = len(paths) - len(named)
    return ", ".join([*named, *([f"{rows} rows"] if rows else [])])
