"""What a program tells of somebody without a file: records, plain texts, or dicts with the fields of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import RecordError
from .ratings import pairs_of
from .reading import parse_fields
from .records import Edit, Pair, Rating, Record, Sample

__all__ = ["SOMEBODY", "Told", "as_records"]

Told = Record | str | Mapping[str, Any]
"""A record, a text that the person wrote, or the fields of a record."""

SOMEBODY = "me"
"""Whose records are where none of them says a user."""


def as_records(told: Sequence[Told]) -> list[Record]:
    """Records of what is told.

    What does not say a user is of the one that others say, or of ``SOMEBODY``; ratings become pairs.

    Args:
        told: in the order in which it came about.

    Raises:
        RecordError: something is no record; the error says which, counted from 1.
    """
    if isinstance(told, str | Mapping):
        told = [told]
    users = [user for each in told if (user := _user(each)) is not None]
    user = users[0] if users else SOMEBODY
    items = [_item(each, number, user) for number, each in enumerate(told, start=1)]
    ratings = [item for item in items if isinstance(item, Rating)]
    return [*(item for item in items if not isinstance(item, Rating)), *pairs_of(ratings)]


def _user(told: Told) -> str | None:
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
