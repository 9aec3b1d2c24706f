"""The store of people's records and of every version of their profiles, in SQLite or PostgreSQL.

Versions are only added, so that two processes at once lose nothing.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from hyperalign.errors import NotFoundError
from hyperalign.profile import Profile
from hyperalign.records import Record, check_user

from .database import (
    WRITES,
    MemoryRow,
    PersonRow,
    RecordRow,
    VersionRow,
    open_engine,
    parse_place,
    prepare_tables,
    scrub_sqlite,
    translate_errors,
)
from .interface import Amended, Bundle, BundledVersion, Person, Removed, Version, describe_place
from .queries import (
    ANYTHING,
    add_records,
    add_versions,
    amend_versions,
    append_version,
    delete_rows,
    find_memories_with,
    keep_memory,
    readable_records,
    remove_from_memories,
    to_record,
)

__all__ = ["Store"]

Result = TypeVar("Result")

_ATTEMPTS = 50


def _composed(user: str) -> str:
    # As ``check_user`` does, for questions that any text may be asked.
    return unicodedata.normalize("NFC", user)


class Store:
    """People's records and profiles in a database. Close it, or use it in a ``with`` block.

    Args:
        place: the path of a SQLite file, a SQLAlchemy URL, or None for ``store.sqlite`` in the data folder.

    Raises:
        StorageError: the database could not be opened, or has another version.
        MissingExtraError: its driver is not installed.
        InputError: ``place`` is not a valid address.
    """

    def __init__(self, place: str | Path | None = None) -> None:
        url = parse_place(place)
        self.name = describe_place(url)
        with translate_errors(self.name):
            self._engine = open_engine(url)
            try:
                prepare_tables(self._engine, self.name)
            except BaseException:
                self._engine.dispose()
                raise
        self._writer = self._engine.execution_options(**{WRITES: True})

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_records(self, records: Iterable[Record]) -> int:
        """Add records of one or more people; returns how many are new.

        Raises:
            RecordError: an id stands for another record of the same person; nothing was added.
            UserIdError: a new person's id looks like that of somebody else; nothing was added.
            StorageError: the database failed.
        """
        given = list(records)
        return self._write(lambda session: add_records(session, given))

    def records(self, user: str, *, skip_damaged: bool = False) -> list[Record]:
        """A person's records, in the order they were added; none for an unknown person.

        Args:
            user: the person.
            skip_damaged: whether to leave out records that can't be read.

        Raises:
            StorageError: a record is damaged, or of a kind that is not known here.
        """
        query = select(RecordRow).where(RecordRow.user_id == _composed(user)).order_by(RecordRow.number)
        if skip_damaged:
            return self._read(lambda session: readable_records(session.scalars(query), self.name))
        return self._read(lambda session: [to_record(row, self.name) for row in session.scalars(query)])

    def other_records(self, user: str, limit: int) -> list[Record]:
        """Records of everybody else, the same ones every time; people take turns, so that few records are of many.

        Args:
            user: the person to leave out.
            limit: the most records of each kind, so that texts do not crowd out choices.
        """
        own = func.row_number().over(
            partition_by=[RecordRow.user_id, RecordRow.kind],
            order_by=RecordRow.number,
        )
        turns = (
            select(RecordRow.number, RecordRow.kind, RecordRow.user_id, own.label("turn"))
            .where(RecordRow.user_id != _composed(user))
            .subquery()
        )
        place = func.row_number().over(partition_by=turns.c.kind, order_by=[turns.c.turn, turns.c.user_id])
        ranked = select(turns.c.number, place.label("place")).subquery()
        query = (
            select(RecordRow)
            .join(ranked, ranked.c.number == RecordRow.number)
            .where(ranked.c.place <= limit)
            .order_by(ranked.c.place, RecordRow.kind)
        )
        # One person's damage must not end the others' commands.
        return self._read(lambda session: readable_records(session.scalars(query), self.name))

    def users(self) -> list[Person]:
        """Everybody who has a record or a profile, sorted by id."""
        records, versions = self._read(
            lambda session: [
                {row[0]: row[1] for row in session.execute(select(column, func.count()).group_by(column))}
                for column in (RecordRow.user_id, VersionRow.user_id)
            ]
        )
        return [Person(user, records.get(user, 0), versions.get(user, 0)) for user in sorted({*records, *versions})]

    def save(self, profile: Profile, note: str = "") -> int:
        """Append a version of a profile; returns its number.

        Args:
            profile: the profile.
            note: why this version was made, in a few words.
        """
        return self._write(lambda session: append_version(session, profile, note, datetime.now(UTC)))

    def load(self, user: str, version: int | None = None) -> Profile:
        """A person's profile.

        Args:
            user: the person.
            version: the version's number; None for the newest.

        Raises:
            NotFoundError: there is none; the message suggests similar names.
            ProfileError: it no longer loads.
        """
        query = select(VersionRow).where(VersionRow.user_id == check_user(user)).order_by(VersionRow.number.desc())
        if version is not None:
            query = query.where(VersionRow.number == version)
        row = self._read(lambda session: session.scalars(query.limit(1)).first())
        if row is None:
            raise self._no_profile(user, version)
        return Profile.from_json(row.content, where=f"version {row.number} of {user}")

    def remember(self, profile: Profile, memory: str, note: str = "", *, instead_of: str | None = ANYTHING) -> int:
        """Append a version of a profile, and replace the memory of its fit; returns the version's number.

        Args:
            profile: the profile.
            memory: the memory of the fit, as JSON.
            note: why this version was made, in a few words.
            instead_of: the memory as it was read before; any, if left out.

        Raises:
            StorageError: the memory has changed since; nothing was saved.
        """

        def work(session: Session) -> int:
            keep_memory(session, profile.user, memory, instead_of)
            return append_version(session, profile, note, datetime.now(UTC))

        return self._write(work)

    def keep_memory(self, user: str, memory: str, *, instead_of: str | None = ANYTHING) -> None:
        """Replace the memory of a fit where the profile stays as it is; see ``remember``."""
        self._write(lambda session: keep_memory(session, check_user(user), memory, instead_of))

    def memory(self, user: str) -> str | None:
        """The memory of a person's fit; None if there is none, or something was forgotten since."""
        query = select(MemoryRow.content).where(MemoryRow.user_id == check_user(user))
        return self._read(lambda session: session.scalars(query).first())

    def history(self, user: str) -> list[Version]:
        """A person's versions, oldest first.

        Raises:
            NotFoundError: the person has no profile.
        """
        query = (
            select(VersionRow.number, VersionRow.time, VersionRow.note, VersionRow.kept, VersionRow.dropped)
            .where(VersionRow.user_id == check_user(user))
            .order_by(VersionRow.number)
        )
        found = self._read(lambda session: [Version(*row) for row in session.execute(query)])
        if not found:
            raise self._no_profile(user, None)
        return found

    def remove(self, user: str, *, without: Callable[[str], str | None] | None = None) -> Removed:
        """Delete a person's records, all versions, their text in the database's files, and their part in the memories
        of other people's fits.

        Runs are folders beside the store and stay: ``hyperalign profile rm`` removes those, too, as
        ``hyperalign.edits.clean_runs`` and ``hyperalign.runs.remove_runs`` do from Python. A PostgreSQL server may keep
        old text in its files until it is written over, in its write-ahead log and in backups; see ``scrub``.

        Args:
            user: the person to remove.
            without: returns the memory of another person's fit without this person, or None to delete it, so that their
                next update fits anew; if it is None itself, memories that name this person are deleted.

        Raises:
            NotFoundError: the person is not in the store; what an earlier removal left behind is wiped all the same.
        """
        user = check_user(user)

        # Looked for before the transaction that writes: to read all memories takes long, and others wait to write.
        owners = self._read(lambda session: find_memories_with(session, user))

        def work(session: Session) -> tuple[int, int]:
            remove_from_memories(session, owners, without)
            delete_rows(session, delete(MemoryRow).where(MemoryRow.user_id == user))
            delete_rows(session, delete(PersonRow).where(PersonRow.user_id == user))
            records = delete_rows(session, delete(RecordRow).where(RecordRow.user_id == user))
            return records, delete_rows(session, delete(VersionRow).where(VersionRow.user_id == user))

        records, versions = self._write(work)
        clean = self.scrub()
        if not records and not versions:
            raise self._nobody(user)
        return Removed(records, versions, traces_left=not clean)

    def amend(
        self,
        user: str,
        change: Callable[[Profile], Profile | None],
        *,
        record: str | None = None,
        without: Callable[[str], str | None] | None = None,
    ) -> Amended:
        """Change all versions of a person's profile in place, to remove what must be in none of them.

        The memory of their fit is deleted, since it may rest on what is removed.

        Args:
            user: the person.
            change: returns the changed profile, or None to leave it as it is.
            record: the id of a record to delete, too.
            without: returns the memory of another person's fit without that record; see ``remove``.

        Raises:
            NotFoundError: the person is not in the store.
            ProfileError: a version no longer loads; nothing was changed.
        """
        user = check_user(user)

        owners = self._read(lambda session: find_memories_with(session, user)) if record is not None else []

        def work(session: Session) -> tuple[int, tuple[int, ...]]:
            gone = 0
            remove_from_memories(session, owners, without)
            delete_rows(session, delete(MemoryRow).where(MemoryRow.user_id == user))
            if record is not None:
                same = (RecordRow.user_id == user) & (RecordRow.record_id == record)
                gone = delete_rows(session, delete(RecordRow).where(same))
            return gone, amend_versions(session, user, change)

        gone, changed = self._write(work)
        if not gone and not changed and user not in {person.user for person in self.users()}:
            raise self._nobody(user)
        return Amended(changed, traces_left=not self.scrub())

    def scrub(self) -> bool:
        """Wipe deleted text from the database's files; returns False if another process kept the database open.

        PostgreSQL gives the place of deleted text free for other text, while others go on reading and writing. To wipe
        it at once takes ``VACUUM FULL`` by the administrator, which keeps everybody out meanwhile.
        """
        with translate_errors(self.name):
            if self._engine.dialect.name == "sqlite":
                return scrub_sqlite(self._engine)
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for table in (RecordRow, VersionRow, MemoryRow):
                    connection.execute(text(f"VACUUM {table.__tablename__}"))
        return True

    def export(self, user: str) -> Bundle:
        """All that the store has of one person.

        Raises:
            NotFoundError: the person is not in the store.
        """
        user = check_user(user)
        query = select(VersionRow).where(VersionRow.user_id == user).order_by(VersionRow.number)
        rows = self._read(lambda session: session.scalars(query).all())
        versions = [
            BundledVersion(
                number=row.number,
                time=row.time,
                note=row.note,
                profile=Profile.from_json(row.content, where=f"version {row.number} of {user}"),
            )
            for row in rows
        ]
        bundle = Bundle(user=user, records=self.records(user), versions=versions)
        if not (bundle.records or bundle.versions):
            raise self._nobody(user)
        return bundle

    def add_bundle(self, bundle: Bundle) -> tuple[int, int]:
        """Add what ``export`` returned; versions come after those in the store, so that no number changes its meaning.

        Returns:
            How many records and how many versions are new.

        Raises:
            RecordError: an id stands for another record in the store; nothing was added.
        """
        return self._write(
            lambda session: (add_records(session, bundle.records), add_versions(session, bundle.versions))
        )

    def _read(self, work: Callable[[Session], Result]) -> Result:
        with translate_errors(self.name), Session(self._engine, expire_on_commit=False) as session, session.begin():
            return work(session)

    def _write(self, work: Callable[[Session], Result]) -> Result:
        # In PostgreSQL another process may take the number or the id first: then try again.
        again = Retrying(
            retry=retry_if_exception_type(IntegrityError),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random(0, 0.05),
            reraise=True,
        )
        with translate_errors(self.name):
            result: Result = again(self._write_once, work)
            return result

    def _write_once(self, work: Callable[[Session], Result]) -> Result:
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            return work(session)

    def _no_profile(self, user: str, version: int | None) -> NotFoundError:
        known = {person.user: person for person in self.users()}
        if user not in known:
            return self._nobody(user)
        if not known[user].versions:
            return NotFoundError(
                f"There are records of {user!r} here, but no profile yet.",
                remedy=f"Make one with: hyperalign fit --user {user!r}",
            )
        return NotFoundError(
            f"There is no version {version} of {user!r}.",
            remedy=f"See which there are with: hyperalign profile history {user!r}",
        )

    def _nobody(self, user: str) -> NotFoundError:
        close = difflib.get_close_matches(user, [person.user for person in self.users()], n=3, cutoff=0.6)
        guess = f"Did you mean {' or '.join(repr(name) for name in close)}? " if close else ""
        return NotFoundError(
            f"Nobody called {user!r} is in the store.", remedy=f"{guess}See who is with: hyperalign profile list"
        )
