"""Where hyperalign keeps files, how it writes them (private, whole or not at all, by one process at a time), and how it
wipes what was deleted from a database.

Files have mode 0600 and folders 0700 whatever the umask is, since all of them may hold a person's words.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from .errors import StorageError, scrub_file

__all__ = [
    "append_line",
    "cache_folder",
    "config_file",
    "data_folder",
    "lock_folder",
    "make_private_file",
    "make_private_folder",
    "narrow",
    "narrow_own_folders",
    "read_journal",
    "storage_error",
    "wipe_sqlite",
    "write_whole",
]

_INCREMENTAL = 2  # SQLite's name for a file that shrinks in steps
_PAGES_A_STEP = 256
_SHRINK_STEPS = 1_000
_TRIES = 50
_PAGES_A_READ = 1_024
_HEAD = 100  # bytes before the content of a SQLite file's first page
_LOCK_BYTE = 1 << 30
_TREE_PAGES = frozenset({2, 5, 10, 13})
_LEAF = 10  # the kinds of inner pages are lower
_opened: dict[tuple[int, int], int] = {}
_opened_lock = threading.Lock()

_ELSEWHERE = "Choose another folder with HYPERALIGN_DATA, HYPERALIGN_CACHE or the command's own option."


def data_folder() -> Path:
    """The folder of the store and the runs: ``HYPERALIGN_DATA``, or the platform's user data folder."""
    return Path(os.environ.get("HYPERALIGN_DATA") or platformdirs.user_data_path("hyperalign"))


def cache_folder() -> Path:
    """The folder of model files and score caches: ``HYPERALIGN_CACHE``, or the platform's user cache folder."""
    return Path(os.environ.get("HYPERALIGN_CACHE") or platformdirs.user_cache_path("hyperalign"))


def config_file() -> Path:
    """The file of settings: ``HYPERALIGN_CONFIG``, or ``config.toml`` in the platform's user config folder."""
    return Path(os.environ.get("HYPERALIGN_CONFIG") or platformdirs.user_config_path("hyperalign") / "config.toml")


def storage_error(error: OSError, path: Path) -> StorageError:
    """The error to raise for an ``OSError``, chained with ``from error``.

    Args:
        error: the operating system's error.
        path: the file that was read or written.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"No space left on the disk while writing {path}.",
            remedy="Free some space and run the same command again; it goes on where it stopped.",
        )
    if isinstance(error, PermissionError):
        return StorageError(f"No permission to write {path}.", remedy=_ELSEWHERE)
    return StorageError(f"Could not write {path}: {error.strerror or error}.", remedy=_ELSEWHERE)


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents with mode 0700.

    A folder that exists is narrowed to its owner if it is the data folder, the cache folder, or lies in one of them;
    any other keeps its mode. Where the data folder or the cache folder was wider, all that it holds is narrowed, too.

    Args:
        folder: the folder.

    Raises:
        OSError: it can't be made.
    """
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
        missing.chmod(0o700)
    inside = folder.absolute()
    for root in narrow_own_folders():
        if inside.is_relative_to(root):
            for parent in (inside, *inside.parents):
                if parent == root:
                    break
                _narrow_one(parent)


def narrow_own_folders() -> list[Path]:
    """Narrow the data folder and the cache folder with all that they hold, where they exist and are wider.

    Returns:
        Those of the two that are hyperalign's alone.
    """
    own = [root for root in (data_folder().absolute(), cache_folder().absolute()) if _is_only_ours(root)]
    for root in own:
        if _narrow_one(root):
            narrow(root)
    return own


def make_private_file(path: Path) -> None:
    """Make a file with mode 0600 where there is none, for a library that opens it by its name; narrow one that exists.

    What SQLite puts beside a database (``-wal``, ``-shm`` and ``-journal``) is narrowed with it.

    Raises:
        StorageError: the disk is full or not writable.
    """
    try:
        make_private_folder(path.parent)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        for suffix in ("", "-wal", "-shm", "-journal"):
            _narrow_one(path.with_name(path.name + suffix))
    except OSError as error:
        raise storage_error(error, path) from error


def narrow(path: Path) -> None:
    """Take everybody else's permissions from a file, or from a folder and all that it holds.

    For what a library wrote with the umask. Links are not followed, and what belongs to somebody else stays as it is.
    """
    _narrow_one(path)
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                _narrow_one(Path(folder, name))


def _narrow_one(path: Path) -> bool:
    """Narrow one file or folder; returns whether it was wider."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or not mode & (stat.S_IRWXG | stat.S_IRWXO):
            return False
        path.chmod(stat.S_IMODE(mode) & stat.S_IRWXU)
    except OSError:
        return False  # It is gone, or somebody else's.
    return True


def _is_only_ours(root: Path) -> bool:
    """Whether a folder can be for hyperalign alone: a home folder, what holds it and temporary folders can't."""
    home = Path.home()
    return root not in (home, *home.parents) and not (root.exists() and root.stat().st_mode & stat.S_ISVTX)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file with mode 0600 so that readers see the old content or the new, never a part.

    Args:
        path: the file; missing parent folders are made with mode 0700.
        content: text, which is written as UTF-8 and without secrets, or bytes, which are written as they are.

    Raises:
        StorageError: the disk is full or not writable; the old file is unchanged.
    """
    data = scrub_file(content).encode("utf-8") if isinstance(content, str) else content
    temporary: str | None = None
    try:
        make_private_folder(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


_looked_after: set[Path] = set()


def append_line(path: Path, line: str) -> None:
    """Append one line to a journal; it is on the disk when this returns.

    A killed process leaves at most one torn last line, which ``read_journal`` skips; the next line starts anew.

    Args:
        path: the journal; made with mode 0600 if missing.
        line: the text, without its line end; secrets in it are left out.

    Raises:
        StorageError: the disk is full or not writable.
    """
    try:
        if (folder := path.parent.absolute()) not in _looked_after or not folder.exists():
            make_private_folder(folder)  # once: it takes as long as to write the line
            _looked_after.add(folder)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "ab+") as file:
            _narrow_one(path)
            is_torn = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
            file.write(b"\n" * is_torn + scrub_file(line).encode("utf-8") + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise storage_error(error, path) from error


def read_journal(path: Path) -> Iterator[Any]:
    """The values in a journal of JSON lines, without torn ones.

    Args:
        path: the journal; a missing one is empty.

    Raises:
        StorageError: it can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, path) from error
    # Not splitlines: JSON strings may hold U+2028 and the like unescaped.
    for line in text.split("\n"):
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder: two that resume the same run would pay for its calls twice.

    The operating system releases the lock when the process ends, also after a kill.

    Args:
        folder: the folder; made if missing.

    Raises:
        StorageError: another process holds the lock, or the folder is not writable.
    """
    lock = FileLock(folder / ".lock", timeout=0, mode=0o600)
    try:
        make_private_folder(folder)
        lock.acquire()
    except Timeout as error:
        raise StorageError(
            f"Another process is at work in {folder}.",
            remedy="Wait until it is done, or stop it; the same command then goes on where it was.",
        ) from error
    except OSError as error:
        raise storage_error(error, folder) from error
    try:
        yield
    finally:
        lock.release()


def wipe_sqlite(connection: sqlite3.Connection, path: Path | None) -> bool:
    """Wipe what was deleted from a SQLite file in WAL mode, whose connections delete securely.

    Deleted rows and free pages are zeros already (``secure_delete``). What is left are copies of rows that SQLite moved
    elsewhere, in the unused middle of pages. VACUUM would rewrite the file and keep writers out; here these bytes alone
    are overwritten, in seconds for a gigabyte.

    Args:
        connection: in autocommit mode.
        path: the file; None for a database in memory.

    Returns:
        False if another process kept the file open or wrote meanwhile.

    Raises:
        sqlite3.Error: the database failed.
        OSError: the file can't be read or written.
    """
    for _ in range(_SHRINK_STEPS):
        # In steps, each a transaction of its own, so that other writers get their turn.
        free, mode = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "auto_vacuum"))
        if not free or mode != _INCREMENTAL:
            break
        connection.execute(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})").fetchall()
    if not _empty_log(connection) or path is None:
        return path is None
    if (file := _keep_open(path)) is None:
        connection.execute("VACUUM")
        return _empty_log(connection)
    # Found before the file is locked, so that others wait only while these pages are written.
    pages = list(_find_unused(file))
    return any(_zero_unused(connection, file, path, pages) for _ in range(_TRIES)) and _empty_log(connection)


def _empty_log(connection: sqlite3.Connection) -> bool:
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def _zero_unused(connection: sqlite3.Connection, file: int, path: Path, pages: Sequence[int]) -> bool:
    """Overwrite the unused bytes of some pages, which no reader looks at; returns False if others wrote meanwhile."""
    if not _empty_log(connection):
        return False
    connection.execute("BEGIN IMMEDIATE")
    try:
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            return False
        size = _page_size(os.pread(file, _HEAD, 0))
        for number in pages:
            page = os.pread(file, size, (number - 1) * size)
            low, high = _unused(page, 0, size, number)
            os.pwrite(file, bytes(high - low), (number - 1) * size + low)
        os.fsync(file)
        # A new version of the file, so that no process writes back what it has read of it before.
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version % 1_000_000 + 1}")
        connection.execute("COMMIT")
        return True
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _keep_open(path: Path) -> int | None:
    """A descriptor of a database's file; None where its pages can't be read by themselves.

    It is never closed: to close any descriptor of a file would end the locks that SQLite holds on it in this process.
    """
    if not hasattr(os, "pread"):
        return None
    state = path.stat()
    with _opened_lock:
        if (file := _opened.get((state.st_dev, state.st_ino))) is None:
            file = _opened[state.st_dev, state.st_ino] = os.open(path, os.O_RDWR)
    head = os.pread(file, _HEAD, 0)
    # Bytes that an extension reserves on each page, such as checksums, would be wrong afterwards; and the first byte of
    # a page tells its kind only while page numbers have three bytes.
    return None if head[20] or state.st_size // _page_size(head) >= 1 << 24 else file


def _page_size(head: bytes) -> int:
    return {1: 1 << 16}.get(size := int.from_bytes(head[16:18], "big"), size)


def _find_unused(file: int) -> Iterator[int]:
    """The b-tree pages of a database on which unused bytes are not zero."""
    head = os.pread(file, _HEAD, 0)
    size = _page_size(head)
    pages_a_map = size // 5 + 1 if int.from_bytes(head[52:56], "big") else 0
    zeros, number = bytes(size), 0
    while block := os.pread(file, size * _PAGES_A_READ, number * size):
        for start in range(0, len(block) - size + 1, size):
            number += 1
            if not _is_map(number, pages_a_map, _LOCK_BYTE // size + 1):
                low, high = _unused(block, start, size, number)
                if block[low:high] != zeros[: high - low]:
                    yield number


def _unused(block: bytes, start: int, size: int, number: int) -> tuple[int, int]:
    """Where the unused middle of a page is, between its cell pointers and its cells; of no length on other pages.

    Source: https://www.sqlite.org/fileformat2.html, section 1.6.
    """
    at = start + (_HEAD if number == 1 else 0)
    if block[at] not in _TREE_PAGES:
        return start, start
    cells = int.from_bytes(block[at + 3 : at + 5], "big")
    low = at + (12 if block[at] < _LEAF else 8) + 2 * cells
    high = start + (int.from_bytes(block[at + 5 : at + 7], "big") or 1 << 16)
    return (low, high) if low < high <= start + size else (start, start)


def _is_map(number: int, pages_a_map: int, locked: int) -> bool:
    """Whether a page holds locks, or the pointer map that a file with incremental vacuum has."""
    if number == locked or not pages_a_map or number < 2:
        return number == locked
    first = (number - 2) // pages_a_map * pages_a_map + 2
    return number == (first + 1 if first == locked else first)
