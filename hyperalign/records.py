"""Records of what a person wrote (``Sample``), chose (``Pair``) or corrected (``Edit``), and ratings that become pairs.

A record without an id gets one from its content, so the same record always has the same id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FiniteFloat, StringConstraints, ValidationError, model_validator

from .errors import InputError, RecordError, UserIdError
from .text import plain_form
from .user_ids import check_user, look_alike_keys

__all__ = [
    "Edit",
    "Pair",
    "Rating",
    "Record",
    "RecordLike",
    "Sample",
    "add_rated_pairs",
    "are_choices",
    "as_records",
    "check_one_user",
    "check_user",
    "look_alike_keys",
    "make_pairs",
    "merge_copies",
    "order_by_time",
    "other_text",
    "own_text",
    "parse_fields",
    "prompt_of",
    "quotable_text",
    "sort_by_time",
    "split_by_kind",
    "to_sample",
]

Text = Annotated[str, StringConstraints(strip_whitespace=False, min_length=1, pattern=r"\S")]
# An id is displayed, sorted and kept in databases: no control characters, and not too long.
RecordId = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]

_DEFAULT_USER = "me"
_NO_TIME = datetime.min.replace(tzinfo=UTC)


class _Base(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    user: str
    id: RecordId = ""
    time: Annotated[datetime | None, "ISO 8601"] = None

    @model_validator(mode="before")
    @classmethod
    def _read_time(cls, data: Any) -> Any:
        # Strict mode refuses strings for dates outside JSON; ISO strings are what JSONL holds.
        time = data.get("time") if isinstance(data, dict) else None
        if not isinstance(time, str | datetime):
            return data
        try:
            read = datetime.fromisoformat(time) if isinstance(time, str) else time
            # In UTC, so that any two can be compared; so is a time without a zone.
            read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"time: {str(time)[:40]!r} is not an ISO 8601 date") from error
        return {**data, "time": read}

    @model_validator(mode="after")
    def _complete(self) -> _Base:
        object.__setattr__(self, "user", check_user(self.user))
        if not self.id:
            object.__setattr__(self, "id", self._content_id())
        return self

    def _content_id(self) -> str:
        content = self.model_dump_json(exclude={"id", "user", "time"})
        return hashlib.sha256(content.encode()).hexdigest()[:12]


class Sample(_Base):
    """A text that the person wrote, with the prompt it answers if there was one."""

    text: Text
    prompt: str | None = None


class Pair(_Base):
    """A choice between two answers to a prompt."""

    prompt: str
    chosen: Text
    rejected: Text


class Edit(_Base):
    """A correction: a draft, and what the person made of it."""

    prompt: str
    draft: Text
    edited: Text


class Rating(_Base):
    """A rating of a text, higher is better. Ratings are not records: ``make_pairs`` turns them into pairs."""

    text: Text
    rating: FiniteFloat
    prompt: str | None = None


Record = Sample | Pair | Edit
Item = TypeVar("Item", bound=Sample | Pair | Edit | Rating)


def own_text(record: Record) -> str:
    """The text that the person wrote, chose, or made of a draft."""
    match record:
        case Sample():
            return record.text
        case Pair():
            return record.chosen
        case Edit():
            return record.edited


def other_text(record: Record) -> str | None:
    """The text that the person rejected or corrected; None for a sample."""
    match record:
        case Sample():
            return None
        case Pair():
            return record.rejected
        case Edit():
            return record.draft


def to_sample(record: Record) -> Sample:
    """A record's own text as a sample, which is how examples are shown."""
    if isinstance(record, Sample):
        return record
    return Sample(user=record.user, id=record.id, time=record.time, prompt=record.prompt, text=own_text(record))


def are_choices(records: Iterable[Record]) -> bool:
    """Whether every record is a pair or an edit."""
    return all(other_text(record) is not None for record in records)


def split_by_kind(records: Sequence[Record]) -> list[list[Record]]:
    """The samples, then the pairs and edits, each in their order; a kind with no record is left out."""
    texts = [record for record in records if other_text(record) is None]
    choices = [record for record in records if other_text(record) is not None]
    return [part for part in (texts, choices) if part]


def prompt_of(record: Record) -> str:
    """The prompt that a record answers; empty if it has none."""
    return record.prompt or ""


def merge_copies(known: Item, given: Item) -> Item | None:
    """The newer of two records that differ in their time alone; None if they differ in more."""
    if known.model_copy(update={"time": given.time}) != given:
        return None
    return given if (given.time or _NO_TIME) > (known.time or _NO_TIME) else known


def order_by_time(times: Sequence[datetime | None], names: Sequence[str]) -> list[int]:
    """The places of records from the oldest to the newest.

    A record without a time is as old as the one before it, and comes after that one; those before any time are oldest.

    Args:
        times: of the records, as they came.
        names: their ids, which order those of one time.
    """
    keys: list[tuple[datetime, int, str]] = []
    for at, (time, name) in enumerate(zip(times, names, strict=True)):
        keys.append((time, -1, name) if time else (keys[-1][0] if keys else _NO_TIME, at, ""))
    return sorted(range(len(keys)), key=keys.__getitem__)


def sort_by_time(records: Sequence[Record]) -> list[Record]:
    """Records from the oldest to the newest, as ``order_by_time`` does."""
    return [records[at] for at in order_by_time([each.time for each in records], [each.id for each in records])]


def quotable_text(record: Record) -> str:
    """All text of a record that a quote may come from."""
    return "\n".join(part for part in (own_text(record), other_text(record)) if part)


def make_pairs(ratings: Iterable[Rating]) -> list[Pair]:
    """Turn ratings into pairs of a higher and a lower rated text.

    For each person and prompt the texts are sorted by rating, and the upper half is paired with the lower half in
    order: each text is in one pair at most, and pairs differ in rating as much as possible. Equal ratings make no pair.
    Of a text rated twice the newest rating counts, or the mean of those without a time.

    Args:
        ratings: of any people and prompts.

    Returns:
        Pairs in the order in which their people and prompts first appear, the best-rated text first. Ids come from the
        content, so that the same ratings in any order give the same pairs; the time is that of the newer rating.
    """
    rated: dict[tuple[str, str], dict[str, list[Rating]]] = {}
    for rating in ratings:
        texts = rated.setdefault((rating.user, plain_form(rating.prompt or "")), {})
        texts.setdefault(plain_form(rating.text), []).append(rating)
    return [pair for texts in rated.values() for pair in _pair_halves([_settle(each) for each in texts.values()])]


def _settle(ratings: Sequence[Rating]) -> Rating:
    """One rating of a text that was rated several times."""
    newest = max(rating.time or _NO_TIME for rating in ratings)
    last = sorted((each for each in ratings if (each.time or _NO_TIME) == newest), key=lambda each: each.text)
    return last[0].model_copy(update={"rating": fmean({each.rating for each in last})})


def add_rated_pairs(items: Iterable[Record | Rating]) -> list[Record]:
    """Records in their order, followed by the pairs made of the ratings among them."""
    given = list(items)
    records: list[Record] = [item for item in given if not isinstance(item, Rating)]
    return [*records, *make_pairs(item for item in given if isinstance(item, Rating))]


def _pair_halves(ratings: list[Rating]) -> list[Pair]:
    prompt = min(rating.prompt or "" for rating in ratings)
    best_first = sorted(ratings, key=lambda rating: (-rating.rating, rating.text))
    # With an odd number the middle one is left out.
    upper, lower = best_first[: len(ratings) // 2], best_first[(len(ratings) + 1) // 2 :]
    return [
        Pair(
            user=high.user,
            prompt=prompt,
            chosen=high.text,
            rejected=low.text,
            time=max(filter(None, (high.time, low.time)), default=None),
        )
        for high, low in zip(upper, lower, strict=True)
        if high.rating > low.rating
    ]


def parse_fields(data: Any, where: str, number: int | None = None, user: str | None = None) -> Record | Rating:
    """Make a record or rating of its fields.

    Args:
        data: the fields, as a line of JSONL has them.
        where: the file, for the error.
        number: the 1-based line or row, for the error.
        user: the user if the fields have none.

    Raises:
        RecordError: they are not those of a record, or one is wrong.
    """
    data = dict(data) if isinstance(data, Mapping) else data
    kind = _find_kind(data)
    if kind is None:
        raise RecordError(
            "this is no record.",
            path=where,
            line=number,
            remedy='Expected "text" (a sample), "chosen" and "rejected" (a pair), "draft" and "edited" (an edit), '
            'or "text" and "rating" (a rating).',
        )
    if user is not None and "user" not in data:
        data = {**data, "user": user}
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, UserIdError):
            raise RecordError(cause.message, path=where, line=number, remedy=cause.remedy) from error
        raise RecordError(
            f"{field + ': ' if field else ''}{cause or first['msg']}.",
            path=where,
            line=number,
            remedy="--user NAME says whose a record is." if field == "user" else "Mend the line, or pass --skip-bad.",
        ) from error


def _find_kind(data: Any) -> type[Sample] | type[Pair] | type[Edit] | type[Rating] | None:
    if not isinstance(data, dict):
        return None
    if "chosen" in data or "rejected" in data:
        return Pair
    if "draft" in data or "edited" in data:
        return Edit
    if "rating" in data:
        return Rating
    return Sample if "text" in data else None


RecordLike = Record | str | Mapping[str, Any]
"""A record, a text that the person wrote, or a dict with the fields of a record."""


def as_records(items: Sequence[RecordLike], *, user: str | None = None) -> list[Record]:
    """Convert texts and dicts to records, and ratings to pairs.

    Args:
        items: one person's; those without a time the oldest first.
        user: the user of items that name none; by default that of the other items, or ``"me"``.

    Raises:
        RecordError: an item is not a record; the error names its row, counted from 1.
    """
    if isinstance(items, str | Mapping):
        items = [items]
    users = (each.get("user") if isinstance(each, Mapping) else getattr(each, "user", None) for each in items)
    default = user or next(filter(None, users), _DEFAULT_USER)
    return add_rated_pairs(_parse(item, number, default) for number, item in enumerate(items, start=1))


def check_one_user(records: Sequence[Record]) -> str:
    """The one user of some records.

    Raises:
        InputError: there is no record, or there are several users.
    """
    users = sorted({record.user for record in records})
    if len(users) != 1:
        raise InputError(
            f"A profile is of one person, but these records are of {len(users)} ({', '.join(users) or 'nobody'}).",
            remedy="Give the records of one user.",
        )
    return users[0]


def _parse(item: Any, number: int, user: str) -> Record | Rating:
    if isinstance(item, Sample | Pair | Edit | Rating):
        return item
    if not isinstance(item, str | Mapping):
        raise RecordError(
            f"a {type(item).__name__} is no record.",
            path=f"row {number}",
            remedy="Give records, texts, or dicts with the fields of a record.",
        )
    return parse_fields({"text": item} if isinstance(item, str) else item, f"row {number}", None, user)
