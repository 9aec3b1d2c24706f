"""The database of the store: how it is opened and its tables are made, and its errors as sentences."""

from __future__ import annotations

import logging
import sqlite3
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from hyperalign.errors import InputError, MissingExtraError, StorageError
from hyperalign.files import data_folder, make_private_file, storage_error, wipe_sqlite

from .people import restore_people
from .tables import SCHEMA_VERSION, Base, MetaRow, PersonRow

__all__ = [
    "WRITES",
    "is_locked",
    "open_engine",
    "parse_place",
    "prepare_tables",
    "scrub_sqlite",
    "translate_errors",
]

BUSY_MS = 10_000
_CACHE_KIB = 64 << 10  # at most, for each connection: adding to a large index changes pages all over it
WRITES = "hyperalign_writes"
"""Execution option of connections that write."""
_ADVISORY_LOCK = 0x68795061  # any fixed number: it keeps two processes from creating the tables at once

_log = logging.getLogger(__name__)
_ELSEWHERE = "Choose another place with --store or HYPERALIGN_STORE."
_LOCKED = ("is locked by another process.", "Wait until it is done and run the command again.")
_READONLY = ("may not be written.", f"Change its permissions. {_ELSEWHERE}")
_DAMAGED = ("is damaged, or is no database.", f"Put back a copy of it. {_ELSEWHERE}")
_FULL = ("could not grow: the disk is full.", "Free some space and run the command again; nothing half-done was kept.")
_CLOSED = ("could not be opened.", f"Check that the folder exists and is yours. {_ELSEWHERE}")
_UNREACHABLE = ("did not answer.", "Check the address, the name and the password, and that the server runs.")

# The first matching prefix counts: SQLite's extended codes begin with the plain ones.
_SQLITE = {
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_READONLY": _READONLY,
    "SQLITE_PERM": _READONLY,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR": ("could not be read or written.", "Check the disk: it may be full, at its quota, or failing."),
    "SQLITE_CANTOPEN": _CLOSED,
}
_POSTGRES = {
    "53100": _FULL,
    "42501": _READONLY,
    "25006": _READONLY,
    "55P03": _LOCKED,
    "40P01": _LOCKED,
    "08": _UNREACHABLE,
    "28": _UNREACHABLE,
    "3D000": ("does not exist.", "Create the database first, for example with: createdb NAME"),
    "57": _UNREACHABLE,
}


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Raise errors of the database inside the ``with`` block as a ``StorageError``.

    Args:
        name: the store's place without a password, for the message.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        what, remedy = _explain(error)
        raise StorageError(f"The store {name} {what}", remedy=remedy) from error


def is_locked(error: BaseException) -> bool:
    """Whether SQLite says that another process holds the database."""
    name = getattr(getattr(error, "orig", error), "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _explain(error: SQLAlchemyError | sqlite3.Error) -> tuple[str, str]:
    cause = error.orig if isinstance(error, DBAPIError) else error
    for code, table in ((_code(cause, "sqlite_errorname"), _SQLITE), (_code(cause, "sqlstate"), _POSTGRES)):
        for beginning, explained in table.items():
            if code.startswith(beginning):
                return explained
    # psycopg gives no code if there was no connection.
    if isinstance(error, DBAPIError) and type(cause).__module__.startswith("psycopg") and not _code(cause, "sqlstate"):
        is_missing = "database" in str(cause) and "does not exist" in str(cause)
        return _POSTGRES["3D000"] if is_missing else _UNREACHABLE
    reason = str(cause or error).strip().partition("\n")[0]
    return f"refused: {reason}.", _ELSEWHERE


def _code(cause: BaseException | None, attribute: str) -> str:
    return getattr(cause, attribute, None) or ""


def parse_place(place: str | Path | None) -> URL:
    """The database URL of a place.

    Args:
        place: a database URL, the path of a SQLite file, or None for ``store.sqlite`` in the data folder.

    Raises:
        InputError: it looks like a URL but is not one.
    """
    if place is None:
        return _sqlite(data_folder() / "store.sqlite")
    if isinstance(place, Path) or "://" not in place:
        return _sqlite(Path(place).expanduser())
    try:
        url = make_url(place)
    except (ArgumentError, ValueError):
        # Not chained: the message of the cause may hold the password.
        raise InputError(
            "The address of the store is no database URL.",
            remedy="Give a path, or a URL such as postgresql://user@host/database.",
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url


def open_engine(url: URL) -> Engine:
    """Open a database with the settings that the store relies on.

    Raises:
        MissingExtraError: the driver for PostgreSQL is not installed.
        InputError: there is no such driver.
        StorageError: the folder or the file could not be made.
    """
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database and url.database != ":memory:":
        # Made before SQLite opens it, so that nobody else can read it at any time; its -wal and -shm get its mode.
        make_private_file(Path(url.database))
        _check_log(Path(url.database))
    options: dict[str, Any] = {} if is_sqlite else {"pool_pre_ping": True}
    if url.get_backend_name() == "postgresql":
        options["connect_args"] = {} if "connect_timeout" in url.query else {"connect_timeout": 10}
        if url.get_driver_name() == "psycopg":
            # A plan that is kept, from when the table was small, compares each of its rows with each name of a query.
            options["connect_args"]["prepare_threshold"] = None
    try:
        # Parameters are people's texts, which error messages must not show.
        engine = create_engine(url, hide_parameters=True, **options)
    except (ImportError, NoSuchModuleError) as error:
        if url.get_backend_name() == "postgresql":
            raise MissingExtraError("PostgreSQL", "postgres") from error
        raise InputError(
            f"No driver for {url.drivername!r} is installed.", remedy="Use SQLite (a path) or PostgreSQL (a URL)."
        ) from error
    if is_sqlite:
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _check_log(path: Path) -> None:
    """Refuse a damaged write-ahead log, which SQLite takes for an empty one and writes over; say if one is cut."""
    log, index = Path(f"{path}-wal"), Path(f"{path}-shm")
    for wait in (0.05, 0.05, 0.0):
        try:
            with log.open("rb") as file:
                head = file.read(32)
            pages = index.read_bytes()[16:20] if index.exists() else b"?"  # as sqlite.org/walformat.html, 2.1
        except OSError:
            return  # there is none, or SQLite says why it cannot be read
        # Beside an open log stands its index; an empty log without one was cut, or with one that counts pages in it.
        if _is_log(head) or (not head and not any(pages)):
            return
        time.sleep(wait)  # another process may be beginning it
    if head:
        raise StorageError(
            f"The write-ahead log {log} is damaged; what was saved last is in it.",
            remedy=f"Put back copies of it and of {path.name}, or move it away to go on with what {path.name} holds.",
        )
    _log.warning("The write-ahead log %s is empty: what was saved last may be lost.", log)


def _is_log(head: bytes) -> bool:
    """Whether bytes begin a write-ahead log, by magic number and checksum (sqlite.org/fileformat2.html, 4.1)."""
    if len(head) < 32 or head[:4] not in (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"):
        return False
    first = second = 0
    for even, odd in struct.iter_unpack("<2I" if head[3] == 0x82 else ">2I", head[:24]):
        first += even + second
        second += odd + first
    return struct.pack(">2I", first % 2**32, second % 2**32) == head[24:]


def prepare_tables(engine: Engine, name: str) -> None:
    """Create missing tables, and check their version.

    Raises:
        StorageError: the tables have another version.
    """
    with Session(engine) as session, session.begin():
        there = set(inspect(session.connection()).get_table_names())
    if not set(Base.metadata.tables) <= there:
        with engine.execution_options(**{WRITES: True}).begin() as connection:
            _make_tables(connection)
    with Session(engine) as session, session.begin():
        found = session.scalar(select(MetaRow.value).where(MetaRow.key == "schema_version"))
    _check_version(found, name)


def scrub_sqlite(engine: Engine) -> bool:
    """Wipe deleted text from a SQLite file; returns False if another process kept it open."""
    raw = engine.raw_connection()
    path = engine.url.database
    try:
        return wipe_sqlite(raw.driver_connection, Path(path) if path and path != ":memory:" else None)  # type: ignore[arg-type]  # SQLite's
    except sqlite3.OperationalError as error:
        if is_locked(error):
            return False
        raise
    except OSError as error:
        raise storage_error(error, Path(path or "")) from error
    finally:
        raw.close()


def _sqlite(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # _begin_sqlite begins transactions: Python's sqlite3 begins them so late that one of two writers fails.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA secure_delete = ON")
    # Without effect on a file that has tables.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # Switching to WAL does not wait for another process that does the same.
    Retrying(
        retry=retry_if_exception(is_locked),
        stop=stop_after_delay(BUSY_MS / 1000),
        wait=wait_random(0, 0.05),
        reraise=True,
    )(_use_wal, connection)


def _use_wal(connection: Any) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        connection.execute("PRAGMA journal_mode = WAL")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make_tables(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    has_people = inspect(connection).has_table(PersonRow.__tablename__)
    Base.metadata.create_all(connection)
    with Session(connection) as session:
        if not has_people:
            restore_people(session)
        if session.get(MetaRow, "schema_version") is None:
            session.add(MetaRow(key="schema_version", value=str(SCHEMA_VERSION)))
            session.flush()


def _check_version(found: str | None, name: str) -> None:
    if found == str(SCHEMA_VERSION):
        return
    if found is not None and found.isdecimal() and int(found) > SCHEMA_VERSION:
        raise StorageError(
            f"The store {name} was written by a newer hyperalign (tables of version {found}, here {SCHEMA_VERSION}).",
            remedy="Upgrade with: pip install --upgrade hyperalign",
        )
    raise StorageError(
        f"The store {name} has tables of version {found or 'unknown'}, which this hyperalign no longer reads.",
        remedy="Export its people with the hyperalign that wrote it, and import them into a new store with --store.",
    )
