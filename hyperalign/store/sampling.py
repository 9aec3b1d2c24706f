"""A sample of the people in a store: the same one every time, of each kind of record, in the person's language first.

People take turns in an order of hashes, so that few records are of many people. An index holds that order, so the time
depends on the size of the sample alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, select, union_all
from sqlalchemy.orm import Session

from .people import batches
from .tables import PersonRow, RecordRow, shuffle_key

__all__ = ["sample_others"]

_columns = (RecordRow.number, RecordRow.kind, RecordRow.turn, RecordRow.shuffle)


def sample_others(session: Session, user: str, limit: int) -> list[Row[*tuple[Any, ...]]]:
    """Rows of records of everybody else; of each kind those of the person's language first.

    Args:
        session: a transaction.
        user: the person to leave out, who may be unknown.
        limit: the most records of each kind.
    """
    own = shuffle_key(user)
    language = session.scalar(select(PersonRow.language).where(PersonRow.user_id == user))
    kinds = _distinct(session, RecordRow.kind)
    found: defaultdict[str, list[int]] = defaultdict(list)
    if language:
        for number, kind, *_ in _union(session, [_ranked(kind, language, own, limit) for kind in kinds]):
            found[kind].append(number)
    for kind in kinds:
        if (missing := limit - len(found[kind])) > 0:
            others = [each for each in _distinct(session, RecordRow.language, kind) if each != (language or None)]
            rows = _union(session, [_ranked(kind, each, own, missing) for each in others])
            found[kind] += [row[0] for row in rows[:missing]]
    return _fetch(session, found)


def _ranked(kind: str, language: str, own: int, limit: int) -> Select[int, str, int, int]:
    """Records of a kind in a language, everybody's first before anybody's second."""
    # The hash tells the person as well as their id does, and is in the index.
    same = (RecordRow.kind == kind, RecordRow.language == language, RecordRow.shuffle != own)
    return select(*_columns).where(*same).order_by(RecordRow.turn, RecordRow.shuffle).limit(limit)


def _union(session: Session, queries: Sequence[Select[int, str, int, int]]) -> Sequence[Any]:
    """The rows of several queries, each kind's in the order of turns."""
    if not queries:
        return []
    rows = session.execute(union_all(*(select(query.subquery()) for query in queries)))
    return sorted(rows, key=lambda row: row[2:])


def _distinct(session: Session, column: Any, kind: str | None = None) -> list[str]:
    """The values of an index's column, by one step in the index for each, since there are few and many rows."""
    where = [RecordRow.kind == kind] if kind is not None else []
    first = select(column.label("value")).where(*where).order_by(column).limit(1)
    steps = select(first.subquery().c.value).cte("steps", recursive=True)
    after = select(column).where(*where, column > steps.c.value).order_by(column).limit(1).scalar_subquery()
    steps = steps.union_all(select(after).where(steps.c.value.is_not(None)))
    return list(session.scalars(select(steps.c.value).where(steps.c.value.is_not(None))))


def _fetch(session: Session, found: dict[str, list[int]]) -> list[Row[*tuple[Any, ...]]]:
    """The rows, the first of every kind before the second of any."""
    order = sorted((place, kind, number) for kind, numbers in found.items() for place, number in enumerate(numbers))
    numbers = [number for *_, number in order]
    columns = (RecordRow.number, RecordRow.user_id, RecordRow.record_id, RecordRow.kind, RecordRow.content)
    # Of columns, not objects that follow changes: these take half of the time.
    rows = {
        row.number: row
        for some in batches(numbers)
        for row in session.execute(select(*columns).where(RecordRow.number.in_(some)))
    }
    return [rows[number] for number in numbers]
