"""What a database refuses, as a sentence with a remedy.

This file knows the error codes of SQLite and PostgreSQL, and nothing of what is kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ..errors import StorageError

__all__ = ["is_locked", "translated"]

_ELSEWHERE = "Choose another place with --store or HYPERALIGN_STORE."
_LOCKED = ("is locked by another process.", "Wait until it is done and run the command again.")
_READONLY = ("may not be written.", f"Change its permissions. {_ELSEWHERE}")
_DAMAGED = ("is damaged, or is no database.", f"Put back a copy of it. {_ELSEWHERE}")
_FULL = ("could not grow: the disk is full.", "Free some space and run the command again; nothing half-done was kept.")
_CLOSED = ("could not be opened.", f"Check that the folder exists and is yours. {_ELSEWHERE}")
_UNREACHABLE = ("did not answer.", "Check the address, the name and the password, and that the server runs.")

# The first matching beginning counts: SQLite's extended codes begin with the plain ones.
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
def translated(name: str) -> Iterator[None]:
    """Raise what a database refuses inside as a ``StorageError``.

    Args:
        name: the store's place, without a password, for the message.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        what, remedy = _explained(error)
        raise StorageError(f"The store {name} {what}", remedy=remedy) from error


def is_locked(error: BaseException) -> bool:
    """True where SQLite said that another process is at work."""
    name = getattr(getattr(error, "orig", error), "sqlite_errorname", None) or ""
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _explained(error: SQLAlchemyError | sqlite3.Error) -> tuple[str, str]:
    cause = error.orig if isinstance(error, DBAPIError) else error
    for code, table in ((_code(cause, "sqlite_errorname"), _SQLITE), (_code(cause, "sqlstate"), _POSTGRES)):
        for beginning, explained in table.items():
            if code.startswith(beginning):
                return explained
    # psycopg gives no code where there was no connection to carry one.
    if isinstance(error, DBAPIError) and type(cause).__module__.startswith("psycopg") and not _code(cause, "sqlstate"):
        return _missing_database(str(cause)) or _UNREACHABLE
    reason = str(cause or error).strip().partition("\n")[0]
    return f"refused: {reason}.", _ELSEWHERE


def _missing_database(reason: str) -> tuple[str, str] | None:
    return _POSTGRES["3D000"] if "database" in reason and "does not exist" in reason else None


def _code(cause: BaseException | None, attribute: str) -> str:
    return getattr(cause, attribute, None) or ""
