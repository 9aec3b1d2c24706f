"""Read and write records, versions and memories of fits as rows, inside the caller's transaction."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypeVar

from pydantic import ValidationError
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
    "find_memories_with",
    "keep_memory",
    "readable_records",
    "remove_from_memories",
    "to_record",
]

_log = logging.getLogger(__name__)
_KINDS: Final[dict[str, type[Sample] | type[Pair] | type[Edit]]] = {"sample": Sample, "pair": Pair, "edit": Edit}
_IDS_A_QUERY = 500
_Item = TypeVar("_Item")
ANYTHING: Final = "anything"
"""Stands for any memory that may be replaced."""


def admit(session: Session, users: Iterable[str]) -> None:
    """Enter people who are new to the store.

    Raises:
        UserIdError: an id looks like that of somebody else.
    """
    names = list(dict.fromkeys(users))
    known = {
        name
        for some in _batches(names)
        for name in session.scalars(select(PersonRow.user_id).where(PersonRow.user_id.in_(some)))
    }
    people = [PersonRow.of(name) for name in names if name not in known]
    alike: dict[tuple[str, str], str] = {}
    for some in _batches(people):
        folded, look_alike = [each.folded for each in some], [each.look_alike for each in some]
        same = or_(PersonRow.folded.in_(folded), PersonRow.look_alike.in_(look_alike))
        for row in session.scalars(select(PersonRow).where(same)):
            alike |= _keys(row)
    for person in people:
        if found := [alike[key] for key in _keys(person) if key in alike]:
            raise UserIdError(
                f"{person.user_id!r} looks like {found[0]!r}, who is in the store, and is another id.",
                remedy=f"Write {found[0]!r} for the same person, or choose an id that can be told from it.",
            )
        alike |= _keys(person)
    session.add_all(people)
    session.flush()


def _keys(person: PersonRow) -> dict[tuple[str, str], str]:
    return {("folded", person.folded): person.user_id, ("look_alike", person.look_alike): person.user_id}


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    yield from (items[start : start + _IDS_A_QUERY] for start in range(0, len(items), _IDS_A_QUERY))


def to_record(row: RecordRow, place: str = "") -> Record:
    """The record in a row.

    Args:
        row: the row.
        place: of the store, for messages.

    Raises:
        StorageError: the row is damaged, or of a kind that is not known here; its text is not repeated.
    """
    which = f"The record {row.record_id!r} of {row.user_id!r} in the store {place}".rstrip()
    if row.kind not in _KINDS:
        raise StorageError(
            f"{which} is of an unknown kind, {row.kind!r}.",
            remedy="If a newer hyperalign wrote it, upgrade; else put back a copy of the store.",
        )
    try:
        return _KINDS[row.kind].model_validate_json(row.content)
    except ValidationError:
        # Not chained: the message of the cause quotes the text.
        raise StorageError(
            f"{which} is damaged.",
            remedy=f"Put back a copy of the store; 'hyperalign profile rm' removes all of {row.user_id!r}.",
        ) from None


def readable_records(rows: Iterable[RecordRow], place: str) -> list[Record]:
    """The records in those rows that can be read; the others are named in the log, and left as they are."""
    found: list[Record] = []
    for row in rows:
        try:
            found.append(to_record(row, place))
        except StorageError as error:
            _log.warning("%s It is left out.", error.message)
    return found


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
    admit(session, by_user)
    for user, given in by_user.items():
        # Of one person the others' new records say nothing: they need not be written first.
        with session.no_autoflush:
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
    for some in _batches(ids):
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
    admit(session, [profile.user])
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


def find_memories_with(session: Session, user: str) -> list[str]:
    """Whose memory of a fit names somebody else, who may be in its reference population."""
    named = json.dumps(user, ensure_ascii=False)
    find = func.instr if session.get_bind().dialect.name == "sqlite" else func.strpos
    query = select(MemoryRow.user_id).where(MemoryRow.user_id != user, find(MemoryRow.content, named) > 0)
    return list(session.scalars(query))


def remove_from_memories(session: Session, owners: Sequence[str], without: Callable[[str], str | None] | None) -> None:
    """Remove a person from the memories of others.

    Args:
        session: the transaction.
        owners: whose memories name the person.
        without: returns a memory without the person, or None to delete it; if it is None itself, memories that name the
            person are deleted.
    """
    for some in _batches(owners):
        for row in session.scalars(select(MemoryRow).where(MemoryRow.user_id.in_(some))):
            left = without(row.content) if without is not None else None
            if left is None:
                session.delete(row)
            else:
                row.content = left


def delete_rows(session: Session, statement: Delete) -> int:
    """Run a deletion; returns the number of deleted rows."""
    result = session.execute(statement)
    return result.rowcount if isinstance(result, CursorResult) else 0
