"""The people of a store: who is new, what is known of each, pages of them, and whose name is like a mistyped one.

All of it takes time by how many people are asked for, not by how many there are.
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from hyperalign.errors import InputError, NotFoundError, UserIdError
from hyperalign.records import look_alike_keys

from .interface import Person
from .tables import PersonRow, RecordRow, VersionRow, insert_rows

__all__ = [
    "COUNTED",
    "Entry",
    "batches",
    "find_person",
    "list_people",
    "no_profile",
    "nobody",
    "open_entries",
    "restore_people",
    "save_entries",
]
__all__ += ["suggest_names"]

COUNTED: Final = {"sample": "samples", "pair": "pairs", "edit": "edits"}
"""The column of a person that counts their records of a kind."""
IDS_A_QUERY = 500
_ALL_COMPARED = 2_000
_NEIGHBOURS = 150
_MOST_SPELLINGS = 12_000
_LETTERS = f"{string.ascii_lowercase}{string.digits}._@+- "
_LAST = "\U0010ffff"
_Item = TypeVar("_Item")
_records = PersonRow.samples + PersonRow.pairs + PersonRow.edits


@dataclass(slots=True)
class Entry:
    """What a store knows of one person; see ``PersonRow``."""

    user_id: str
    folded: str
    look_alike: str
    language: str = ""
    samples: int = 0
    pairs: int = 0
    edits: int = 0
    versions: int = 0
    is_new: bool = False
    before: tuple[Any, ...] = field(default=())

    @classmethod
    def of(cls, user: str) -> Entry:
        """The entry of somebody who is new."""
        return cls(user, *look_alike_keys(user), is_new=True)

    @property
    def records(self) -> int:
        """The number of records."""
        return self.samples + self.pairs + self.edits

    @property
    def state(self) -> tuple[Any, ...]:
        """What may change."""
        return self.language, self.samples, self.pairs, self.edits, self.versions

    def count(self, kind: str, added: int = 1) -> int:
        """Count records of a kind; returns how many there were before."""
        column = COUNTED[kind]
        had: int = getattr(self, column)
        setattr(self, column, max(0, had + added))
        return had


def batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Parts of a list that a query may name."""
    yield from (items[start : start + IDS_A_QUERY] for start in range(0, len(items), IDS_A_QUERY))


def open_entries(
    session: Session, users: Iterable[str], refused: dict[str, InputError] | None = None
) -> dict[str, Entry]:
    """The entries of some people, new ones for those who are new; nobody else may change them in this transaction.

    Args:
        session: a transaction that writes.
        users: the people.
        refused: takes those who are refused, instead of an error for the first.

    Raises:
        UserIdError: a new id looks like that of somebody else.
    """
    # In one order, so that no two processes wait for each other.
    names = sorted(set(users))
    columns = (PersonRow.user_id, PersonRow.folded, PersonRow.look_alike, PersonRow.language)
    counts = (PersonRow.samples, PersonRow.pairs, PersonRow.edits, PersonRow.versions)
    entries: dict[str, Entry] = {}
    for some in batches(names):
        query = select(*columns, *counts).where(PersonRow.user_id.in_(some)).order_by(PersonRow.user_id)
        entries |= {row[0]: Entry(*row) for row in session.execute(query.with_for_update())}
    for entry in entries.values():
        entry.before = entry.state
    new = [Entry.of(name) for name in names if name not in entries]
    alike: dict[tuple[str, str], str] = {}
    for part in batches(new):
        folded, look_alike = [each.folded for each in part], [each.look_alike for each in part]
        same = or_(PersonRow.folded.in_(folded), PersonRow.look_alike.in_(look_alike))
        for user, *keys in session.execute(select(*columns[:3]).where(same)):
            alike |= _keys(user, *keys)
    if not {each.user_id for each in new}.isdisjoint(alike.values()):
        # Another process made one of them since they were looked for: now they are found.
        return open_entries(session, users, refused)
    for person in new:
        keys_of = _keys(person.user_id, person.folded, person.look_alike)
        if found := [alike[key] for key in keys_of if key in alike]:
            error = UserIdError(
                f"{person.user_id!r} looks like {found[0]!r}, who is in the store, and is another id.",
                remedy=f"Write {found[0]!r} for the same person, or choose an id that can be told from it.",
            )
            if refused is None:
                raise error
            refused[person.user_id] = error
            continue
        alike |= keys_of
        entries[person.user_id] = person
    return entries


def _keys(user: str, folded: str, look_alike: str) -> dict[tuple[str, str], str]:
    return {("folded", folded): user, ("look_alike", look_alike): user}


def save_entries(session: Session, entries: Iterable[Entry]) -> None:
    """Write the entries that are new or have changed."""
    new, changed = [], []
    for entry in entries:
        values = dict(zip(("language", "samples", "pairs", "edits", "versions"), entry.state, strict=True))
        if entry.is_new:
            names = {"folded": entry.folded, "look_alike": entry.look_alike, "backwards": entry.folded[::-1]}
            new.append({"user_id": entry.user_id, **names, **values})
        elif entry.state != entry.before:
            changed.append({"whom": entry.user_id, **values})
        entry.is_new, entry.before = False, entry.state
    insert_rows(session, PersonRow, new)
    if changed:
        whose = update(PersonRow).where(PersonRow.user_id == bindparam("whom"))
        session.connection().execute(whose, changed)


def restore_people(session: Session) -> None:
    """Enter everybody who has records or versions into a table that is new."""
    entries: dict[str, Entry] = {}
    records = select(RecordRow.user_id, RecordRow.kind, func.max(RecordRow.language), func.count())
    for user, kind, language, count in session.execute(records.group_by(RecordRow.user_id, RecordRow.kind)):
        entry = entries.setdefault(user, Entry.of(user))
        entry.language = language
        if kind in COUNTED:
            entry.count(kind, count)
    versions = select(VersionRow.user_id, func.count()).group_by(VersionRow.user_id)
    for user, count in session.execute(versions):
        entries.setdefault(user, Entry.of(user)).versions = count
    save_entries(session, entries.values())


def find_person(session: Session, user: str) -> Person | None:
    """A person with records or a profile; None if there is none of that id."""
    row = session.execute(_people().where(PersonRow.user_id == user)).first()
    return Person(*row) if row else None


def list_people(session: Session, after: str | None, limit: int | None, search: str | None) -> list[Person]:
    """People in the order of their ids, or in that of their folded ids if some are searched.

    Args:
        session: a transaction.
        after: the last person of the page before.
        limit: the most people; None for all.
        search: the beginning of their ids; case and width do not count.
    """
    query = _people()
    if search is None:
        order: Any = PersonRow.user_id
        last = after
    else:
        order, begin = PersonRow.folded, look_alike_keys(search)[0]
        query = query.where(_starts(order, begin))
        last = look_alike_keys(after)[0] if after is not None else None
    if last is not None:
        query = query.where(order > last)
    return [Person(*row) for row in session.execute(query.order_by(order).limit(limit))]


def _people() -> Select[str, int, int]:
    return select(PersonRow.user_id, _records, PersonRow.versions).where(_records + PersonRow.versions > 0)


def _starts(column: Any, begin: str) -> ColumnElement[bool]:
    found: ColumnElement[bool] = column.between(begin, begin + _LAST)
    return found


def no_profile(session: Session, user: str, version: int | None) -> NotFoundError:
    """The error that says why a person's profile, or a version of it, is not there."""
    if (known := find_person(session, user)) is None:
        return nobody(session, user)
    if not known.versions:
        return NotFoundError(
            f"There are records of {user!r} here, but no profile yet.",
            remedy=f"Make one with: hyperalign fit --user {user!r}",
        )
    return NotFoundError(
        f"There is no version {version} of {user!r}.",
        remedy=f"See which there are with: hyperalign profile history {user!r}",
    )


def nobody(session: Session, user: str) -> NotFoundError:
    """The error that says that a person is not there, and whose names are like theirs."""
    close = suggest_names(session, user)
    guess = f"Did you mean {' or '.join(repr(name) for name in close)}? " if close else ""
    return NotFoundError(
        f"Nobody called {user!r} is in the store.", remedy=f"{guess}See who is with: hyperalign profile list"
    )


def suggest_names(session: Session, user: str, most: int = 3) -> list[str]:
    """People whose ids are like a mistyped one, the most like first.

    In a store of many, these are compared: ids one letter away (inserted, left out, wrong, or swapped), and those next
    to it in the order of names and in that of their ends.

    Args:
        session: a transaction.
        user: the id that is not there.
        most: the most to suggest.
    """
    wanted = look_alike_keys(user)[0]
    every = select(PersonRow.folded, PersonRow.user_id).where(_records + PersonRow.versions > 0)
    found = _by_folded(session, [every.limit(_ALL_COMPARED + 1)])
    if len(found) > _ALL_COMPARED:
        queries = [every.where(PersonRow.folded.in_(some)) for some in batches(_misspellings(wanted))]
        for column, key in ((PersonRow.folded, wanted), (PersonRow.backwards, wanted[::-1])):
            queries.append(every.where(column >= key).order_by(column).limit(_NEIGHBOURS))
            queries.append(every.where(column < key).order_by(column.desc()).limit(_NEIGHBOURS))
        found = _by_folded(session, queries)
    close = difflib.get_close_matches(wanted, found, n=most, cutoff=0.6)
    return [found[name] for name in close]


def _by_folded(session: Session, queries: Iterable[Select[str, str]]) -> dict[str, str]:
    return {row.folded: row.user_id for query in queries for row in session.execute(query)}


def _misspellings(name: str) -> list[str]:
    """What is one letter away from a name: of the letters of ids, those of the name, and those near them in Unicode."""
    near = {
        chr(code) for letter in name if letter > "\x7f" for code in range(ord(letter) & ~0x7F, (ord(letter) | 0x7F) + 1)
    }
    letters = sorted({*_LETTERS, *name, *(each for each in near if each.isalpha())})
    cuts = [(name[:at], name[at:]) for at in range(len(name) + 1)]
    spelled = [a + b[1:] for a, b in cuts if b]
    spelled += [a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1]
    for a, b in cuts:
        spelled += [a + letter + b[1:] for letter in letters if b]
        spelled += [a + letter + b for letter in letters]
        if len(spelled) > _MOST_SPELLINGS:
            break
    return list(dict.fromkeys(spelled))
