"""What a program tells of somebody without a file: records, plain texts, or dicts with the fields of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hyperalign.errors import InputError, RecordError
from hyperalign.reading import parse_fields
from hyperalign.records import Edit, Pair, Rating, Record, Sample, pairs_of

__all__ = ["SOMEBODY", "RecordLike", "as_records", "one_user"]

RecordLike = Record | str | Mapping[str, Any]
"""A record, a text that the person wrote, or the fields of a record."""

SOMEBODY = "me"
"""Whose records are where nothing says a user."""


def as_records(told: Sequence[RecordLike], *, user: str | None = None) -> list[Record]:
    """Records of what is told.

    Ratings become pairs.

    Args:
        told: in the order in which it came about.
        user: whose is what does not say so; that of the others if None, or ``SOMEBODY``.

    Raises:
        RecordError: something is no record; the error says which, counted from 1.
    """
    if isinstance(told, str | Mapping):
        told = [told]
    whose = user or next(filter(None, map(_user, told)), SOMEBODY)
    items = [_item(each, number, whose) for number, each in enumerate(told, start=1)]
    ratings = [item for item in items if isinstance(item, Rating)]
    return [*(item for item in items if not isinstance(item, Rating)), *pairs_of(ratings)]


def one_user(records: Sequence[Record]) -> str:
    """Whose records these are.

    Raises:
        InputError: they are nobody's, or several people's.
    """
    users = sorted({record.user for record in records})
    if len(users) != 1:
        raise InputError(
            f"A profile is of one person, but these records are of {len(users)} ({', '.join(users) or 'nobody'}).",
            remedy="Give the records of one user.",
        )
    return users[0]


def _user(told: RecordLike) -> str | None:
    if isinstance(told, Mapping):
        return told.get("user")
    return None if isinstance(told, str) else getattr(told, "user", None)


def _item(told: Any, number: int, user: str) -> Record | Rating:
    if isinstance(told, Sample | Pair | Edit | Rating):
        return told
    if not isinstance(told, str | Mapping):
        raise RecordError(
            f"a {type(told).__name__} is no record.",
            path=f"row {number}",
            remedy="Give records, texts, or dicts with the fields of a record.",
        )
    return parse_fields({"text": told} if isinstance(told, str) else told, f"row {number}", None, user)
