"""Opens a database for the store: which one, with what settings, with which tables.

This file knows SQLite and PostgreSQL, and nothing of people.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from ..errors import InputError, MissingExtraError, StorageError
from ..files import data_folder, storage_error
from .faults import is_locked
from .tables import SCHEMA_VERSION, Base, MetaRow

__all__ = ["WRITES", "connected", "located", "prepare", "scrub_sqlite", "shown"]

BUSY_MS = 10_000
WRITES = "hyperalign_writes"
_ADVISORY_LOCK = 0x68795061  # any fixed number will do: it keeps two processes from making the tables at once


def located(place: str | Path | None) -> URL:
    """Turn what a user names into a database URL.

    Args:
        place: a database URL, the path of a SQLite file, or None for the one in the data folder.

    Raises:
        InputError: it looks like a URL but is none.
    """
    if place is None:
        return _sqlite(data_folder() / "store.sqlite")
    if isinstance(place, Path) or "://" not in place:
        return _sqlite(Path(place).expanduser())
    try:
        url = make_url(place)
    except (ArgumentError, ValueError):
        # Not chained: the text of the cause may hold the password.
        raise InputError(
            "The address of the store is no database URL.",
            remedy="Give a path, or a URL such as postgresql://user@host/database.",
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url


def shown(url: URL) -> str:
    """The place of a store for messages: a path, or a URL without its password."""
    if url.get_backend_name() == "sqlite" and url.database:
        return url.database
    # The query may hold a password too.
    return url.set(query={}).render_as_string(hide_password=True)


def connected(url: URL) -> Engine:
    """An engine with the settings the store relies on.

    Raises:
        MissingExtraError: the driver for PostgreSQL is not installed.
        InputError: no driver goes by that name.
        StorageError: the folder or the file could not be made.
    """
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database and url.database != ":memory:":
        _make_private(Path(url.database))
    waiting: dict[str, Any] = {} if is_sqlite else {"pool_pre_ping": True}
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        waiting["connect_args"] = {"connect_timeout": 10}
    try:
        # Parameters are people's texts: they must not show up in error messages.
        engine = create_engine(url, hide_parameters=True, **waiting)
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


def prepare(engine: Engine, name: str) -> None:
    """Make the tables where they are missing, and check their version.

    Raises:
        StorageError: the tables are of another version than this program's.
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
    """Wipe deleted text from a SQLite file; False where another process kept it open."""
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        # VACUUM rewrites every page, since a page may hold stale copies of rows that moved;
        # the checkpoint then empties the write-ahead log, which holds the deleted rows too.
        cursor.execute("VACUUM")
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        cursor.close()
    except sqlite3.OperationalError as error:
        if is_locked(error):
            return False
        raise
    finally:
        raw.close()
    return not busy


def _sqlite(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            # Made before SQLite opens it, so that nobody else can read it at any moment.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise storage_error(error, path) from error


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # Transactions are begun by _begin_sqlite: left to itself, Python's sqlite3 begins them so late
    # that two writers fail instead of waiting for each other.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA secure_delete = ON")
    # Switching a new file to WAL does not wait for another process that does the same.
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
    Base.metadata.create_all(connection)
    with Session(connection) as session:
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
