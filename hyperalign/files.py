"""Where hyperalign keeps files, and how it writes them: private, whole or not at all, and by one process at a time.

Files have mode 0600 and folders 0700 whatever the umask is, since all of them may hold a person's words.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

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
    "write_whole",
]

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
        if _is_wide(root):
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


def _narrow_one(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
            path.chmod(stat.S_IMODE(mode) & stat.S_IRWXU)
    except OSError:
        return  # It is gone, or somebody else's.


def _is_wide(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
    except OSError:
        return False


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
        make_private_folder(path.parent)
        with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "ab+") as file:
            _narrow_one(path)
            is_torn = file.tell() > 0 and _last_byte(file) != b"\n"
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


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
