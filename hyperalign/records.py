"""What a person wrote, chose or corrected.

Three nouns, each a line of JSONL: ``Sample``, ``Pair`` and ``Edit``; a fourth, ``Rating``, is no record by itself
(``ratings`` makes pairs of them). A record without an id gets one from its content, so the same text always has the
same id. This file does not read files (``reading`` does) and knows no model.

Ratings as choices: what a person rated higher, against what they rated lower under the same prompt.

The rule: of the texts that one person rated under one prompt, sorted by their rating, those of the upper half are
paired in order with those of the lower half. So each text stands in one pair at most, as choices must that are counted
as independent; no more pairs of different ratings could be made of them, and none is of two that were rated nearly
alike where the ratings allow it. Equal ratings make no pair. A text that was rated twice counts as rated last.
This file reads no files (``reading`` does) and knows no model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, StringConstraints, model_validator

from .errors import UserIdError

__all__ = [
    "Edit",
    "Pair",
    "Rating",
    "Record",
    "Sample",
    "add_rated_pairs",
    "are_choices",
    "check_user",
    "content_of",
    "drop_repeats",
    "make_pairs",
    "other_text",
    "own_text",
    "prompt_of",
    "quotable_text",
    "split_by_kind",
    "to_sample",
]

Text = Annotated[str, StringConstraints(strip_whitespace=False, min_length=1, pattern=r"\S")]
# An id is shown, sorted and put into databases: no control characters, and no essay.
RecordId = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]

_USER = re.compile(r"[^\W_](?:[\w.@+ -]{0,126}[\w])?")


def check_user(user: str) -> str:
    """Return ``user`` if it can be the id of a person.

    An id starts with a letter or digit, ends with a letter, digit or underscore, and may
    hold letters, digits, ``. _ @ + -`` and spaces between: at most 128 characters, and
    never two dots in a row, so that it can't be taken for a path.

    Raises:
        UserIdError: it can't.
    """
    if not _USER.fullmatch(user) or ".." in user:
        raise UserIdError(
            f"{user!r} is not a user id.",
            remedy="Use letters, digits, '.', '_', '@', '+', '-' and spaces, starting with a letter or digit.",
        )
    return user


class _Base(BaseModel):
    """Fields all records share."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    user: str
    id: RecordId = ""
    time: Annotated[datetime | None, "ISO 8601"] = None

    @model_validator(mode="before")
    @classmethod
    def _read_time(cls, data: Any) -> Any:
        # Strict mode refuses strings for dates outside JSON; ISO strings are what JSONL holds.
        if isinstance(data, dict) and isinstance(data.get("time"), str):
            try:
                return {**data, "time": datetime.fromisoformat(data["time"])}
            except ValueError as error:
                raise ValueError(f"time: {data['time'][:40]!r} is not an ISO 8601 date") from error
        return data

    @model_validator(mode="after")
    def _complete(self) -> _Base:
        check_user(self.user)
        if not self.id:
            object.__setattr__(self, "id", self._content_id())
        return self

    def _content_id(self) -> str:
        content = self.model_dump_json(exclude={"id", "user", "time"})
        return hashlib.sha256(content.encode()).hexdigest()[:12]


class Sample(_Base):
    """Something the person wrote, with the prompt it answers where there was one."""

    text: Text
    prompt: str | None = None


class Pair(_Base):
    """A choice: of two answers to a prompt, the one the person took and the one they left."""

    prompt: str
    chosen: Text
    rejected: Text


class Edit(_Base):
    """A correction: a draft, and what the person made of it."""

    prompt: str
    draft: Text
    edited: Text


class Rating(_Base):
    """A rating of a text, higher for better: two of one prompt that differ make a pair."""

    text: Text
    rating: FiniteFloat
    prompt: str | None = None


Record = Sample | Pair | Edit


def own_text(record: Record) -> str:
    """The text the person stands behind: written, chosen, or edited."""
    match record:
        case Sample():
            return record.text
        case Pair():
            return record.chosen
        case Edit():
            return record.edited


def other_text(record: Record) -> str | None:
    """The text the person turned down: rejected, or the draft; None for a sample."""
    match record:
        case Sample():
            return None
        case Pair():
            return record.rejected
        case Edit():
            return record.draft


def to_sample(record: Record) -> Sample:
    """The record as if the person had written what they stand behind: how examples are shown."""
    if isinstance(record, Sample):
        return record
    return Sample(user=record.user, id=record.id, time=record.time, prompt=record.prompt, text=own_text(record))


def are_choices(records: Iterable[Record]) -> bool:
    """Whether every record holds a text that the person turned down."""
    return all(other_text(record) is not None for record in records)


def split_by_kind(records: Sequence[Record]) -> list[list[Record]]:
    """What somebody wrote, then what they chose, each in its order; without what there is none of."""
    texts = [record for record in records if other_text(record) is None]
    choices = [record for record in records if other_text(record) is not None]
    return [part for part in (texts, choices) if part]


def prompt_of(record: Record) -> str:
    """What the text answers; empty where nothing is known."""
    return record.prompt or ""


def content_of(record: Record) -> tuple[str, str, str | None]:
    """What a record says: the prompt, the text stood behind, and the one turned down; a copy under another id says the
    same."""
    return prompt_of(record), own_text(record), other_text(record)


def drop_repeats(records: Iterable[Record]) -> list[Record]:
    """Records in their order; of those that say the same, the first: said twice it is no more evidence than once."""
    first: dict[tuple[str, str, str | None], Record] = {}
    for record in records:
        first.setdefault(content_of(record), record)
    return list(first.values())


def quotable_text(record: Record) -> str:
    """All of a record that a quote may come from."""
    return "\n".join(part for part in (own_text(record), other_text(record)) if part)


def make_pairs(ratings: Iterable[Rating]) -> list[Pair]:
    """The pairs that ratings make.

    Args:
        ratings: of any people and prompts, in the order they were given.

    Returns:
        Pairs in the order in which their people and prompts came up, the best-rated text first. Ids come from the
        content, so that the same ratings, in any order, always make the same pairs; the time is that of the higher
        rating.
    """
    rated: dict[tuple[str, str], dict[str, Rating]] = {}
    for rating in ratings:
        texts = rated.setdefault((rating.user, rating.prompt or ""), {})
        texts[rating.text] = rating
    return [pair for texts in rated.values() for pair in _paired(list(texts.values()))]


def add_rated_pairs(items: Iterable[Record | Rating]) -> list[Record]:
    """Records as they are, followed by the pairs that the ratings among them make."""
    given = list(items)
    records: list[Record] = [item for item in given if not isinstance(item, Rating)]
    return [*records, *make_pairs(item for item in given if isinstance(item, Rating))]


def _paired(ratings: list[Rating]) -> list[Pair]:
    best_first = sorted(ratings, key=lambda rating: (-rating.rating, rating.text))
    # With an odd number the one in the middle is left out.
    upper, lower = best_first[: len(ratings) // 2], best_first[(len(ratings) + 1) // 2 :]
    return [
        Pair(user=high.user, prompt=high.prompt or "", chosen=high.text, rejected=low.text, time=high.time)
        for high, low in zip(upper, lower, strict=True)
        if high.rating > low.rating
    ]
