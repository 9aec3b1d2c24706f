"""The store of people's records and of every version of their profiles, in SQLite or PostgreSQL.

Versions are only added, so that two processes at once lose nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from hyperalign.errors import InputError
from hyperalign.profile import Profile
from hyperalign.records import Record, check_user

from .database import WRITES, open_engine, parse_place, prepare_tables, scrub_sqlite, translate_errors
from .interface import Amended, Bundle, BundledVersion, Person, Removed, Version, describe_place
from .people import find_person, list_people, no_profile, nobody
from .queries import (
    ANYTHING,
    add_people,
    add_versions,
    amend_versions,
    append_version,
    delete_memory,
    find_memories_with,
    forget_record,
    gather,
    keep_memory,
    readable_records,
    remove_from_memories,
    remove_person,
    to_record,
)
from .sampling import sample_others
from .tables import MemoryRow, MentionRow, PersonRow, RecordRow, VersionRow

__all__ = ["Store"]

Result = TypeVar("Result")

_ATTEMPTS = 50


def _composed(user: str) -> str:
    # As ``check_user`` does, for questions that any text may be asked, also one that no database would take.
    return unicodedata.normalize("NFC", user).encode(errors="replace").decode()


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
        # Opens the same store again, and may hold a password: ``name`` is for messages.
        self.address = url.render_as_string(hide_password=False)
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
        given = gather([(records, None)])
        return self._write(lambda session: add_people(session, given))[0]

    def add_people(
        self,
        people: Iterable[tuple[Sequence[Record], Profile | None]],
        *,
        note: str = "",
        refused: Callable[[str, InputError], None] | None = None,
        batch_size: int = 10_000,
    ) -> tuple[int, int]:
        """Add many people, each with records and perhaps a profile. What is there already is skipped.

        Each batch is a transaction: after an error, those before it are in the store, and the same call can be made
        again.

        Args:
            people: of each the records, and the profile if there is one; both name the person.
            note: of the versions, in a few words.
            refused: called with each person who can't be added and the reason; None raises for the first.
            batch_size: of people; others wait to write meanwhile.

        Returns:
            How many records and how many versions are new.

        Raises:
            RecordError: an id stands for another record of the same person.
            UserIdError: a new person's id looks like that of somebody else.
            StorageError: the database failed.
        """
        records = versions = 0
        given = iter(people)
        while batch := list(islice(given, batch_size)):
            errors: dict[str, InputError] | None = None if refused is None else {}
            new = self._write(partial(add_people, people=gather(batch), note=note, refused=errors))
            records, versions = records + new[0], versions + new[1]
            for user, error in (errors or {}).items():
                refused(user, error)  # type: ignore[misc]  # there are none without it
        return records, versions

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
        # One person's damage must not end the others' commands.
        return self._read(lambda session: readable_records(sample_others(session, _composed(user), limit), self.name))

    def users(self, *, after: str | None = None, limit: int | None = None, search: str | None = None) -> list[Person]:
        """Everybody who has a record or a profile, sorted by id; or a page of them.

        Args:
            after: the last person of the page before.
            limit: the most people; None for all.
            search: the beginning of their ids; case and width do not count, and those sort without them.
        """
        after, search = (each and _composed(each) for each in (after, search))
        return self._read(lambda session: list_people(session, after, limit, search))

    def person(self, user: str) -> Person | None:
        """A person with records or a profile; None for anybody else."""
        return self._read(lambda session: find_person(session, _composed(user)))

    def has_profile(self, user: str) -> bool:
        """Whether a person has a profile."""
        found = self.person(user)
        return found is not None and found.versions > 0

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
            raise self._read(lambda session: no_profile(session, user, version))
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
            raise self._read(lambda session: no_profile(session, user, None))
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
            return remove_person(session, user)

        records, versions = self._write(work)
        clean = self.scrub()
        if not records and not versions:
            raise self._read(lambda session: nobody(session, user))
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

        def work(session: Session) -> tuple[bool, tuple[int, ...]]:
            remove_from_memories(session, owners, without)
            delete_memory(session, user)
            gone = record is not None and forget_record(session, user, record)
            return gone, amend_versions(session, user, change)

        gone, changed = self._write(work)
        if not gone and not changed and self.person(user) is None:
            raise self._read(lambda session: nobody(session, user))
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
                for table in (RecordRow, VersionRow, MemoryRow, MentionRow, PersonRow):
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
            raise self._read(lambda session: nobody(session, user))
        return bundle

    def add_bundle(self, bundle: Bundle) -> tuple[int, int]:
        """Add what ``export`` returned; versions come after those in the store, so that no number changes its meaning.

        Returns:
            How many records and how many versions are new.

        Raises:
            RecordError: an id stands for another record in the store; nothing was added.
        """
        given = gather([(bundle.records, None)])
        return self._write(lambda session: (add_people(session, given)[0], add_versions(session, bundle.versions)))

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
