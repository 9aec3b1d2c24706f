"""Read and write records, versions and memories of fits as rows, inside the caller's transaction."""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import CursorResult, Delete, Row, bindparam, delete, select, update
from sqlalchemy.orm import Session

from hyperalign.errors import InputError, RecordError, StorageError
from hyperalign.profile import Profile
from hyperalign.records import Edit, Pair, Record, Sample, merge_copies, own_text
from hyperalign.style.parsed import tell_language

from .interface import BundledVersion
from .people import COUNTED, Entry, batches, open_entries, save_entries
from .tables import MemoryRow, MentionRow, PersonRow, RecordRow, VersionRow, insert_rows, shuffle_key

__all__ = [
    "ANYTHING",
    "Addition",
    "add_people",
    "add_versions",
    "amend_versions",
    "append_version",
    "delete_memory",
    "find_memories_with",
    "forget_record",
    "gather",
    "keep_memory",
    "readable_records",
    "remove_from_memories",
    "remove_person",
    "to_record",
]

_log = logging.getLogger(__name__)
_KINDS: Final[dict[str, type[Sample] | type[Pair] | type[Edit]]] = {"sample": Sample, "pair": Pair, "edit": Edit}
_TOLD_FROM, _TOLD_BY = 100, 3  # characters, of so many records: enough to tell a language, in 20 microseconds
_STRING = r'"(?:[^"\\]|\\.)*"'
_USER = re.compile(rf'"user"\s*:\s*({_STRING})')
_ROWS = re.compile(rf'"rows"\s*:\s*(\[\s*{_STRING}(?:\s*,\s*{_STRING})*\s*\])')
ANYTHING: Final = "anything"
"""Stands for any memory that may be replaced."""


def to_record(row: RecordRow | Row[*tuple[Any, ...]], place: str = "") -> Record:
    """The record in a row.

    Args:
        row: the row, or its columns.
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


def readable_records(rows: Iterable[RecordRow | Row[*tuple[Any, ...]]], place: str) -> list[Record]:
    """The records in those rows that can be read; the others are named in the log, and left as they are."""
    found: list[Record] = []
    for row in rows:
        try:
            found.append(to_record(row, place))
        except StorageError as error:
            _log.warning("%s It is left out.", error.message)
    return found


@dataclass(slots=True)
class Addition:
    """What is added of one person.

    Attributes:
        records: of the person.
        profile: becomes a version; None adds none.
    """

    records: list[Record] = field(default_factory=list)
    profile: Profile | None = None


def gather(people: Iterable[tuple[Iterable[Record], Profile | None]]) -> dict[str, Addition]:
    """Records and profiles by person; of two profiles of one person the last counts."""
    found: defaultdict[str, Addition] = defaultdict(Addition)
    for records, profile in people:
        for record in records:
            found[record.user].records.append(record)
        if profile is not None:
            found[profile.user].profile = profile
    return found


def add_people(
    session: Session,
    people: Mapping[str, Addition],
    note: str = "",
    refused: dict[str, InputError] | None = None,
) -> tuple[int, int]:
    """Add records and profiles of several people, each table's rows at once; what is there already is skipped.

    A known record that is given with a newer time gets that time.

    Args:
        session: a transaction that writes.
        people: by id.
        note: of the versions.
        refused: takes the people who are refused, instead of an error for the first.

    Returns:
        How many records and how many versions are new.

    Raises:
        RecordError: an id stands for another record of the same person.
        UserIdError: a new person's id looks like that of somebody else.
    """
    entries = open_entries(session, people, refused)
    records: list[dict[str, Any]] = []
    versions: list[dict[str, Any]] = []
    now = datetime.now(UTC)
    # By id, as most indexes are: each of their pages is changed once a batch.
    for user in sorted(people.keys() & entries.keys()):
        entry, profile = entries[user], people[user].profile
        try:
            records += _new_records(session, entry, people[user].records)
        except RecordError as error:
            if refused is None:
                raise
            refused[user] = error
            del entries[user]
            continue
        if profile is not None and (entry.is_new or not _is_newest(session, profile)):
            entry.versions += 1
            versions.append(_version(profile, entry.versions, note, now))
    save_entries(session, entries.values())
    insert_rows(session, RecordRow, records)
    insert_rows(session, VersionRow, versions)
    return len(records), len(versions)


def _new_records(session: Session, entry: Entry, records: Iterable[Record]) -> list[dict[str, Any]]:
    """The rows of a person's records that are new."""
    given: dict[str, Record] = {}
    for record in records:
        given[record.id] = _merge(given[record.id], record) if record.id in given else record
    present = {} if entry.is_new else _find_records(session, entry.user_id, list(given))
    newest = {name: _merge(to_record(row), given[name]) for name, row in present.items()}
    for name, record in newest.items():
        if record is given[name]:
            present[name].content = record.model_dump_json()
    new = [record for name, record in given.items() if name not in present]
    if new and not entry.language:
        entry.language = _language_of(new)
        if entry.language and not entry.is_new:
            same = update(RecordRow).where(RecordRow.user_id == entry.user_id)
            session.execute(same.values(language=entry.language))
    shuffle, rows = shuffle_key(entry.user_id), []
    for record in new:
        kind = type(record).__name__.lower()
        rows.append(
            {
                "user_id": entry.user_id,
                "record_id": record.id,
                "kind": kind,
                "language": entry.language,
                "turn": entry.count(kind),
                "shuffle": shuffle,
                "content": record.model_dump_json(),
            }
        )
    return rows


def _language_of(records: Sequence[Record]) -> str:
    """The language that the beginnings of some records tell; empty if they tell none."""
    beginning = "\n".join(own_text(record)[:_TOLD_FROM] for record in records[:_TOLD_BY])
    try:
        return tell_language(beginning[:_TOLD_FROM]) or ""
    except OSError:  # the classifier is unpacked to a file: a full disk for it must keep no record out
        return ""


def _find_records(session: Session, user: str, ids: list[str]) -> dict[str, RecordRow]:
    found: dict[str, RecordRow] = {}
    for some in batches(ids):
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


def forget_record(session: Session, user: str, record: str) -> bool:
    """Delete a record; those that came after it take its turn. Returns whether it was there."""
    entries = open_entries(session, [user])
    same = (RecordRow.user_id == user) & (RecordRow.record_id == record)
    columns = (RecordRow.number, RecordRow.kind, RecordRow.turn)
    found = session.execute(select(*columns).where(same)).first()
    if found is None:
        return False
    _delete(session, delete(RecordRow).where(RecordRow.number == found.number))
    theirs = session.execute(select(*columns).where(RecordRow.user_id == user)).all()
    later = [{"which": n, "turn": turn - 1} for n, kind, turn in theirs if kind == found.kind and turn > found.turn]
    if later:
        session.connection().execute(update(RecordRow).where(RecordRow.number == bindparam("which")), later)
    if found.kind in COUNTED:
        entries[user].count(found.kind, -1)
    save_entries(session, [entries[user]])
    return True


def append_version(session: Session, profile: Profile, note: str, time: datetime) -> int:
    """Add a version after a person's newest one; returns its number."""
    entry = open_entries(session, [profile.user])[profile.user]
    entry.versions += 1
    save_entries(session, [entry])
    insert_rows(session, VersionRow, [_version(profile, entry.versions, note, time)])
    return entry.versions


def _version(profile: Profile, number: int, note: str, time: datetime) -> dict[str, Any]:
    kept, dropped = len(profile.hypotheses), len(profile.dropped)
    head = {"user_id": profile.user, "number": number, "time": time, "note": note}
    return {**head, "kept": kept, "dropped": dropped, "content": profile.to_json()}


def _is_newest(session: Session, profile: Profile) -> bool:
    """Whether a person's newest version is this profile."""
    theirs = select(VersionRow.content).where(VersionRow.user_id == profile.user)
    return session.scalar(theirs.order_by(VersionRow.number.desc()).limit(1)) == profile.to_json()


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
    _keep_mentions(session, user, memory)


def _keep_mentions(session: Session, user: str, memory: str) -> None:
    """Note whom a person's memory names."""
    session.flush()
    named = {shuffle_key(name) for name in _named_in(memory)} - {shuffle_key(user)}
    own = MentionRow.user_id == user
    noted = set(session.scalars(select(MentionRow.named).where(own)))
    for some in batches(sorted(noted - named)):
        _delete(session, delete(MentionRow).where(own, MentionRow.named.in_(some)))
    insert_rows(session, MentionRow, [{"named": key, "user_id": user} for key in sorted(named - noted)])


def _named_in(memory: str) -> set[str]:
    """The people whom a memory names: as the user of a row, or in a list of rows that are names alone."""
    users = (json.loads(found) for found in _USER.findall(memory))
    rows = (item for found in _ROWS.findall(memory) for item in json.loads(found))
    return {name for name in (*users, *rows) if isinstance(name, str)}


def find_memories_with(session: Session, user: str) -> list[str]:
    """Whose memory of a fit names somebody else, who may be in its reference population."""
    query = select(MentionRow.user_id).where(MentionRow.named == shuffle_key(user), MentionRow.user_id != user)
    return list(session.scalars(query))


def remove_from_memories(session: Session, owners: Sequence[str], without: Callable[[str], str | None] | None) -> None:
    """Remove a person from the memories of others.

    Args:
        session: the transaction.
        owners: whose memories name the person.
        without: returns a memory without the person, or None to delete it; if it is None itself, memories that name the
            person are deleted.
    """
    for some in batches(owners):
        for row in session.scalars(select(MemoryRow).where(MemoryRow.user_id.in_(some))):
            left = without(row.content) if without is not None else None
            if left is None:
                session.delete(row)
            else:
                row.content = left
            _keep_mentions(session, row.user_id, left or "")


def delete_memory(session: Session, user: str) -> None:
    """Delete the memory of a person's fit."""
    _delete(session, delete(MemoryRow).where(MemoryRow.user_id == user))
    _delete(session, delete(MentionRow).where(MentionRow.user_id == user))


def remove_person(session: Session, user: str) -> tuple[int, int]:
    """Delete all rows of a person; returns the numbers of records and versions."""
    delete_memory(session, user)
    _delete(session, delete(PersonRow).where(PersonRow.user_id == user))
    records = _delete(session, delete(RecordRow).where(RecordRow.user_id == user))
    return records, _delete(session, delete(VersionRow).where(VersionRow.user_id == user))


def _delete(session: Session, statement: Delete) -> int:
    """Run a deletion; returns the number of deleted rows."""
    result = session.execute(statement)
    return result.rowcount if isinstance(result, CursorResult) else 0
