"""Read and write records, versions and memories of fits as rows, inside the caller's transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import CursorResult, Delete, func, or_, select
from sqlalchemy.orm import Session

from hyperalign.errors import RecordError, StorageError, UserIdError
from hyperalign.profile import Profile
from hyperalign.records import Edit, Pair, Record, Sample, merge_copies

from .database import MemoryRow, PersonRow, RecordRow, VersionRow
from .interface import BundledVersion

__all__ = [
    "ANYTHING",
    "add_records",
    "add_versions",
    "admit",
    "append_version",
    "delete_rows",
    "keep_memory",
    "remove_from_memories",
    "to_record",
]

_KINDS: Final[dict[str, type[Sample] | type[Pair] | type[Edit]]] = {"sample": Sample, "pair": Pair, "edit": Edit}
_IDS_A_QUERY = 500
ANYTHING: Final = "anything"
"""Stands for any memory that may be replaced."""


def admit(session: Session, user: str) -> None:
    """Enter a person who is new to the store.

    Raises:
        UserIdError: the id looks like that of somebody else.
    """
    if session.get(PersonRow, user) is not None:
        return
    person = PersonRow.of(user)
    same = or_(PersonRow.folded == person.folded, PersonRow.look_alike == person.look_alike)
    known = session.scalar(select(PersonRow.user_id).where(same).limit(1))
    if known is not None:
        raise UserIdError(
            f"{user!r} looks like {known!r}, who is in the store, and is another id.",
            remedy=f"Write {known!r} for the same person, or choose an id that can be told from it.",
        )
    session.add(person)
    session.flush()


def to_record(row: RecordRow) -> Record:
    """The record in a row."""
    return _KINDS[row.kind].model_validate_json(row.content)


def add_records(session: Session, records: Iterable[Record]) -> int:
    """Add the records that are new; returns how many. A known one that is given with a newer time gets that time.

    Raises:
        RecordError: an id stands for another record of the same person.
        UserIdError: a new person's id looks like that of somebody else.
    """
    by_user: defaultdict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        known = by_user[record.user].setdefault(record.id, record)
        by_user[record.user][record.id] = _merge(known, record)
    new = 0
    for user, given in by_user.items():
        admit(session, user)
        present = _find_records(session, user, list(given))
        for record in given.values():
            if record.id in present:
                row = present[record.id]
                if (newer := _merge(to_record(row), record)) is record:
                    row.content = newer.model_dump_json()
                continue
            kind = type(record).__name__.lower()
            session.add(RecordRow(user_id=user, record_id=record.id, kind=kind, content=record.model_dump_json()))
            new += 1
    session.flush()
    return new


def _find_records(session: Session, user: str, ids: list[str]) -> dict[str, RecordRow]:
    found: dict[str, RecordRow] = {}
    for start in range(0, len(ids), _IDS_A_QUERY):
        some = ids[start : start + _IDS_A_QUERY]
        query = select(RecordRow).where(RecordRow.user_id == user, RecordRow.record_id.in_(some))
        found |= {row.record_id: row for row in session.scalars(query)}
    return found


def _merge(known: Record, given: Record) -> Record:
    newer = merge_copies(known, given)
    if newer is None:
        raise RecordError(
            f"the id {given.id!r} of {given.user!r} already stands for another record.",
            remedy="Give the record an id of its own, or leave ids out; nothing was added.",
        )
    return newer


def append_version(session: Session, profile: Profile, note: str, time: datetime) -> int:
    """Add a version after a person's newest one; returns its number."""
    admit(session, profile.user)
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
    """Append the versions that are new, with their own times and notes; returns how many."""
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
    """Replace the versions of a person for which ``change`` returns a profile; returns their numbers."""
    changed = []
    for row in session.scalars(select(VersionRow).where(VersionRow.user_id == user).order_by(VersionRow.number)):
        profile = change(Profile.from_json(row.content, where=f"version {row.number} of {user}"))
        if profile is not None:
            row.kept, row.dropped = len(profile.hypotheses), len(profile.dropped)
            row.content = profile.to_json()
            changed.append(row.number)
    return tuple(changed)


def keep_memory(session: Session, user: str, memory: str, instead_of: str | None) -> None:
    """Replace the memory of a person's fit.

    Raises:
        StorageError: the memory is no longer ``instead_of``, because another command changed it meanwhile.
    """
    kept = session.scalar(select(MemoryRow.content).where(MemoryRow.user_id == user).with_for_update())
    if instead_of not in {ANYTHING, kept}:
        raise StorageError(
            f"Another command has changed what is known of {user} meanwhile.",
            remedy="Run the same again: records that were not read yet are read first.",
        )
    session.merge(MemoryRow(user_id=user, content=memory))


def remove_from_memories(session: Session, user: str, without: Callable[[str], str | None] | None) -> None:
    """Remove a person from the memories of everybody else, whose reference population they may be in.

    Args:
        session: the transaction.
        user: the person to remove.
        without: returns a memory without the person, or None to delete it; if it is None itself, memories that name the
            person are deleted.
    """
    named = json.dumps(user, ensure_ascii=False)
    query = select(MemoryRow).where(MemoryRow.user_id != user, MemoryRow.content.contains(named, autoescape=True))
    for row in session.scalars(query):
        left = without(row.content) if without is not None else None
        if left is None:
            session.delete(row)
        else:
            row.content = left


def delete_rows(session: Session, statement: Delete) -> int:
    """Run a deletion; returns the number of deleted rows."""
    result = session.execute(statement)
    return result.rowcount if isinstance(result, CursorResult) else 0
