"""Numbers that models gave, remembered in SQLite files by keyed hashes: they hold nobody's words.

The key is random and lies in the data folder, so that no hash in a cache can be tried against guessed texts without it.
"""

from __future__ import annotations

import errno
import hmac
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypedDict, TypeVar

from filelock import FileLock

from hyperalign.budget import Budget, Usage
from hyperalign.errors import StorageError
from hyperalign.files import (
    cache_folder,
    data_folder,
    make_private_file,
    make_private_folder,
    storage_error,
    wipe_sqlite,
    write_whole,
)
from hyperalign.records import Record, other_text, own_text, prompt_of

__all__ = [
    "EMBEDDINGS",
    "EMBEDDINGS_FILE",
    "SCORES",
    "SCORES_FILE",
    "NumberCache",
    "Remembering",
    "digest",
    "forget_texts",
]

_KEY_BYTES = 32

_WAIT = 30.0  # seconds to wait for another process's transaction


SCORES_FILE, EMBEDDINGS_FILE = "scores.sqlite", "embeddings.sqlite"


class _Layout(TypedDict):
    table: str
    keys: dict[str, str]
    values: dict[str, str]


SCORES: _Layout = {
    "table": "scores_2",
    "keys": {"scorer": "TEXT", "context": "BLOB", "text": "BLOB"},
    "values": {"logprob": "REAL", "tokens": "INTEGER"},
}
EMBEDDINGS: _Layout = {
    "table": "embeddings_2",
    "keys": {"encoder": "TEXT", "item": "BLOB"},
    "values": {"embedding": "BLOB"},
}


class NumberCache:
    """A table of numbers in an SQLite file; safe with threads and with other processes.

    Args:
        path: the file; made if missing, for this user alone.
        what: what it holds, for messages, such as ``scores``.
        table: the table's name.
        keys: its key columns with their types, such as ``{"scorer": "TEXT"}``.
        values: its other columns with their types.

    Raises:
        StorageError: the file can't be made, or is not a database.
    """

    def __init__(self, path: Path, what: str, *, table: str, keys: dict[str, str], values: dict[str, str]) -> None:
        self._path = path
        self._what = what
        self._lock = threading.Lock()
        columns = ", ".join(f"{name} {kind} NOT NULL" for name, kind in {**keys, **values}.items())
        matches = " AND ".join(f"{name} = ?" for name in keys)
        places = ", ".join("?" * (len(keys) + len(values)))
        # The names are the program's own; what comes from texts is bound.
        self._select = f"SELECT {', '.join(values)} FROM {table} WHERE {matches}"  # noqa: S608
        self._remove = f"DELETE FROM {table} WHERE {list(keys)[-1]} = ?"  # noqa: S608
        self._insert = f"INSERT OR IGNORE INTO {table} VALUES ({places})"  # noqa: S608
        # Made before SQLite opens it: its -wal and -shm files get its mode.
        make_private_file(path)
        with self._translated():
            self._database = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            with self._translated():
                self._database.execute("PRAGMA secure_delete=ON")
                self._database.execute("PRAGMA journal_mode=WAL")
                # A cache may lose its last entries in a power cut, but must never be torn.
                self._database.execute("PRAGMA synchronous=NORMAL")
                stem, _, number = table.rpartition("_")
                for earlier in range(1, int(number) if number.isdecimal() else 1):
                    self._database.execute(f"DROP TABLE IF EXISTS {stem}_{earlier}")
                self._database.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} ({columns}, PRIMARY KEY ({', '.join(keys)})) WITHOUT ROWID"
                )
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def find(self, keys: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """The values of those keys that are known.

        Raises:
            StorageError: the file can't be read.
        """
        found = {}
        with self._lock, self._translated():
            for key in keys:
                row = self._database.execute(self._select, key).fetchone()
                if row is not None:
                    found[key] = row
        return found

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Remember rows, keys before values, in one transaction; what is known already stays.

        Raises:
            StorageError: the file can't be written.
        """
        with self._lock, self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(self._insert, rows)
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    def remove(self, last_keys: Iterable[Any]) -> int:
        """Forget all rows whose last key column has one of some values, and wipe them from the file.

        Returns:
            How many rows were deleted.

        Raises:
            StorageError: the file can't be written.
        """
        with self._lock, self._translated():
            self._database.execute("BEGIN IMMEDIATE")
            gone = self._database.executemany(self._remove, [(key,) for key in last_keys]).rowcount
            self._database.execute("COMMIT")
            if gone > 0:
                wipe_sqlite(self._database, self._path)
        return max(gone, 0)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what SQLite says into a sentence with a remedy."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.Error) -> StorageError:
        # The low byte is the kind of error; the rest says more than anybody needs.
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return storage_error(OSError(errno.ENOSPC, "disk full"), self._path)
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
            return storage_error(PermissionError(errno.EACCES, "permission denied"), self._path)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StorageError(
                f"Another program has kept {self._path} locked for {_WAIT:.0f} seconds.",
                remedy="End it or wait for it, then run the same command again.",
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return StorageError(
                f"{self._path} is damaged or not a cache of {self._what}.",
                remedy=f"Remove it: {self._what} are made again when needed.",
            )
        return StorageError(
            f"The cache of {self._what} {self._path} failed: {error}.", remedy="Remove it if this happens again."
        )


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Model = TypeVar("Model", bound=_Named)


class Remembering(Generic[Model]):
    """A model that asks another one only for what it has not seen.

    Args:
        inner: the model that knows; ``close`` closes it too.
        cache: what it gave before.
        budget: where to book calls that were answered from the file alone.

    Attributes:
        hits: texts answered from the file.
        misses: texts the inner model was asked about.
    """

    def __init__(self, inner: Model, cache: NumberCache, budget: Budget | None) -> None:
        self.hits = 0
        self.misses = 0
        self._inner = inner
        self._cache = cache
        self._budget = budget
        self._counting = threading.Lock()

    @property
    def name(self) -> str:
        """The inner model's name: what is remembered is that model's."""
        return self._inner.name

    def close(self) -> None:
        """Close the file and, where it can be closed, the inner model."""
        self._cache.close()
        close = getattr(self._inner, "close", None)
        if callable(close):
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _count(self, asked: int, new: int) -> None:
        """Count texts that were asked for, and those that were new."""
        with self._counting:
            self.hits += asked - new
            self.misses += new
        if asked and not new and self._budget is not None:
            self._budget.add(Usage(replayed=1))


def digest(*texts: str) -> bytes:
    """A hash of texts by which this installation knows them again; their order and borders count.

    Raises:
        StorageError: the installation's key can't be read or made.
    """
    whole = texts[0] if len(texts) == 1 else json.dumps(texts)
    return hmac.digest(_key(data_folder() / "key"), whole.encode("utf-8", "surrogatepass"), "sha256")


@lru_cache(maxsize=1)
def _key(path: Path) -> bytes:
    try:
        make_private_folder(path.parent)
        with FileLock(path.with_name(".key.lock"), mode=0o600):
            if not path.exists() or path.stat().st_size != _KEY_BYTES:
                write_whole(path, secrets.token_bytes(_KEY_BYTES))
            return path.read_bytes()
    except OSError as error:
        raise storage_error(error, path) from error


def forget_texts(records: Iterable[Record]) -> int:
    """Delete what the caches in the cache folder remember of the texts of some records.

    Returns:
        How many numbers and embeddings were deleted.

    Raises:
        StorageError: a cache is locked or damaged.
    """
    texts = {text for record in records for text in (own_text(record), other_text(record)) if text}
    answers = {
        (prompt, text)
        for record in records
        for text in (own_text(record), other_text(record))
        for prompt in ("", prompt_of(record))
        if text
    }
    gone = 0
    for file, what, layout, keys in (
        (SCORES_FILE, "scores", SCORES, [digest(text) for text in texts]),
        (EMBEDDINGS_FILE, "embeddings", EMBEDDINGS, [digest(*answer) for answer in answers]),
    ):
        if (path := cache_folder() / file).exists():
            cache = NumberCache(path, what, **layout)
            try:
                gone += cache.remove(keys)
            finally:
                cache.close()
    return gone
