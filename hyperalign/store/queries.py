"""Records and profile versions as rows, inside somebody else's transaction.

This file does not know which database it is, nor when the transaction ends.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import CursorResult, Delete, func, select
from sqlalchemy.orm import Session

from hyperalign.errors import RecordError, StorageError
from hyperalign.profile import Profile
from hyperalign.records import Edit, Pair, Record, Sample

from .database import MemoryRow, RecordRow, VersionRow
from .interface import BundledVersion

__all__ = [
    "ANYTHING",
    "add_records",
    "add_versions",
    "append_version",
    "deleted",
    "keep_memory",
    "record_of",
    "take_out_of_memories",
]

_KINDS: Final[dict[str, type[Sample] | type[Pair] | type[Edit]]] = {"sample": Sample, "pair": Pair, "edit": Edit}
_IDS_A_QUERY = 500
ANYTHING: Final = "anything"
"""What may be kept before, where it does not matter what."""


def record_of(row: RecordRow) -> Record:
    """The record that a row keeps."""
    return _KINDS[row.kind].model_validate_json(row.content)


def _kind(record: Record) -> str:
    return type(record).__name__.lower()


def add_records(session: Session, records: Iterable[Record]) -> int:
    """Add the records that are not there yet.

    Returns:
        How many are new.

    Raises:
        RecordError: an id stands for another record of the same person.
    """
    by_user: defaultdict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        known = by_user[record.user].setdefault(record.id, record)
        _check_same(known, record)
    new = 0
    for user, given in by_user.items():
        present = _present(session, user, list(given))
        for record in given.values():
            if record.id in present:
                _check_same(present[record.id], record)
                continue
            session.add(
                RecordRow(user_id=user, record_id=record.id, kind=_kind(record), content=record.model_dump_json())
            )
            new += 1
    session.flush()
    return new


def _present(session: Session, user: str, ids: list[str]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for start in range(0, len(ids), _IDS_A_QUERY):
        some = ids[start : start + _IDS_A_QUERY]
        query = select(RecordRow).where(RecordRow.user_id == user, RecordRow.record_id.in_(some))
        found |= {row.record_id: record_of(row) for row in session.scalars(query)}
    return found


def _check_same(known: Record, given: Record) -> None:
    if known != given:
        raise RecordError(
            f"the id {given.id!r} of {given.user!r} already stands for another record.",
            remedy="Give the record an id of its own, or leave ids out; nothing was added.",
        )


def append_version(session: Session, profile: Profile, note: str, time: datetime) -> int:
    """Add a version after a person's newest one; returns its number."""
    newest = session.scalar(select(func.max(VersionRow.number)).where(VersionRow.user_id == profile.user))
    row = VersionRow(
        user_id=profile.user,
        number=(newest or 0) + 1,
        time=time,
        note=note,
        kept=len(profile.hypotheses),
        dropped=len(profile.dropped),
        content=profile.to_json(),
    )
    session.add(row)
    session.flush()
    return row.number


def add_versions(session: Session, versions: Iterable[BundledVersion]) -> int:
    """Append the versions that are not there yet, with their own times and notes; returns how many."""
    new = 0
    for version in versions:
        same = select(VersionRow.number).where(
            VersionRow.user_id == version.profile.user,
            VersionRow.time == version.time,
            VersionRow.content == version.profile.to_json(),
        )
        if session.scalars(same.limit(1)).first() is None:
            append_version(session, version.profile, version.note, version.time)
            new += 1
    return new


def amend_versions(session: Session, user: str, change: Callable[[Profile], Profile | None]) -> tuple[int, ...]:
    """Write a person's versions anew where a change has something to say; returns their numbers."""
    changed = []
    for row in session.scalars(select(VersionRow).where(VersionRow.user_id == user).order_by(VersionRow.number)):
        profile = change(Profile.from_json(row.content, where=f"version {row.number} of {user}"))
        if profile is not None:
            row.kept, row.dropped = len(profile.hypotheses), len(profile.dropped)
            row.content = profile.to_json()
            changed.append(row.number)
    return tuple(changed)


def keep_memory(session: Session, user: str, memory: str, instead_of: str | None) -> None:
    """Keep what is needed to add a person's records, in place of what was read before.

    Raises:
        StorageError: something else is kept by now: another command has fitted, changed or forgotten meanwhile.
    """
    kept = session.scalar(select(MemoryRow.content).where(MemoryRow.user_id == user).with_for_update())
    if instead_of not in {ANYTHING, kept}:
        raise StorageError(
            f"Another command has changed what is known of {user} meanwhile.",
            remedy="Run the same again: records that were not read yet are read first.",
        )
    session.merge(MemoryRow(user_id=user, content=memory))


def take_out_of_memories(session: Session, user: str, without: Callable[[str], str | None] | None) -> None:
    """Take somebody out of what is remembered of everybody else, who may have been held against them.

    Args:
        session: the transaction.
        user: who is taken out.
        without: gives what is remembered without them, or None to drop it; if it is None itself, all is dropped.
    """
    named = json.dumps(user, ensure_ascii=False)
    query = select(MemoryRow).where(MemoryRow.user_id != user, MemoryRow.content.contains(named, autoescape=True))
    for row in session.scalars(query):
        left = without(row.content) if without is not None else None
        if left is None:
            session.delete(row)
        else:
            row.content = left


def deleted(session: Session, statement: Delete) -> int:
    """Run a deletion; returns how many rows it took."""
    result = session.execute(statement)
    return result.rowcount if isinstance(result, CursorResult) else 0
