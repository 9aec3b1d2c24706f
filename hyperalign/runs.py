"""Folders of runs: inputs in ``run.json``, model calls in ``calls.jsonl``, their cost in ``cost.json``, and results.

A run that was killed is found again by the same inputs, and replays the calls it had made. One command at a time works
for a person.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .budget import Budget, Usage
from .errors import StorageError, hide_userinfo
from .files import append_line, data_folder, make_private_folder, narrow, read_journal, storage_error, write_whole

__all__ = [
    "CostLedger",
    "Journal",
    "RunFolder",
    "journaling",
    "lock_person",
    "prefix_folder",
    "read_cost",
    "remove_runs",
    "track_cost",
]

_LOCKS = 64
_used: ContextVar[set[str] | None] = ContextVar("hyperalign_used_keys", default=None)


def _note_use(key: str) -> None:
    if (used := _used.get()) is not None:
        used.add(key)


class Journal:
    """Model calls by key, appended as they end; a last line that a kill cut off is ignored.

    Args:
        path: a JSONL file; made by the first ``put``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        for entry in read_journal(path):
            if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
                continue
            if isinstance(entry.get("value"), dict):
                self._known[entry["key"]] = entry["value"]
            elif entry.get("value") is None:
                self._known.pop(entry["key"], None)

    @contextmanager
    def unless(self, *errors: type[Exception]) -> Iterator[None]:
        """Forget what was looked up or put inside the ``with`` block if it ends in one of these errors."""
        token = _used.set(set())
        try:
            yield
        except errors:
            for key in sorted(_used.get() or ()):
                self._forget(key)
            raise
        finally:
            _used.reset(token)

    def _forget(self, key: str) -> None:
        with self._lock:
            if self._known.pop(key, None) is not None:
                append_line(self._path, json.dumps({"key": key, "value": None}))

    def get(self, key: str) -> dict[str, Any] | None:
        """The value of a key, or None."""
        _note_use(key)
        with self._lock:
            return self._known.get(key)

    def values(self) -> list[dict[str, Any]]:
        """All values."""
        with self._lock:
            return list(self._known.values())

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Append a value; it is on the disk when this returns.

        Raises:
            StorageError: the disk is full or not writable.
        """
        # ASCII only: an answer cut inside an emoji has no UTF-8, and must be read back unchanged.
        line = json.dumps({"key": key, "value": value})
        _note_use(key)
        with self._lock:
            append_line(self._path, line)
            self._known[key] = value

    def __len__(self) -> int:
        return len(self._known)


def journaling(lm: Any, journal: Journal) -> AbstractContextManager[None]:
    """Remember the answers to a model's calls inside the ``with`` block.

    Args:
        lm: a model from ``connect``, which may have a journal of its own; any other model is left as it is.
        journal: where.
    """
    remember: Callable[[Journal], AbstractContextManager[None]] | None = getattr(lm, "journaling", None)
    return nullcontext() if remember is None else remember(journal)


class CostLedger:
    """What a run has spent over all its sittings: a line when a call begins, and one when it ends.

    A call that a kill cut off counts as a call with unknown tokens: its server may have worked on it.

    Args:
        folder: of the run; ``cost.jsonl`` has the lines, and ``cost.json`` their sum by step.

    Raises:
        StorageError: the folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._lines, self._sums = folder / "cost.jsonl", folder / "cost.json"
        self._lock = threading.Lock()
        self._ids = (f"{os.urandom(4).hex()}-{number}" for number in itertools.count())
        self._open: dict[str, tuple[str, Usage]] = {}
        self._spent: dict[str, Usage] = read_cost(folder) if not self._lines.exists() else {}
        for entry in read_journal(self._lines):
            self._replay(entry)
        for step, usage in self._open.values():
            self._add(step, usage)
        self._open = {}
        make_private_folder(folder)
        self._compact()
        with _storage_errors(self._lines):
            self._file = os.open(self._lines, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def begin(self, step: str, *, is_free: bool) -> str:
        """Note that a call begins; see ``budget.Ledger``."""
        with self._lock:
            call, lost = next(self._ids), Usage(calls=1, unpriced=not is_free)
            self._open[call] = step, lost
            self._write({"call": call, "step": step, "lost": lost.as_json()})
            return call

    def book(self, step: str, usage: Usage, call: str) -> None:
        """Note what was spent."""
        with self._lock:
            self._open.pop(call, None)
            self._add(step, usage)
            self._write({"call": call, "step": step, "usage": usage.as_json()})

    def end(self, call: str) -> None:
        """Note that a call has ended that no model worked on."""
        with self._lock:
            self._open.pop(call, None)
            self._write({"call": call})

    def close(self) -> None:
        """Write ``cost.json``.

        Raises:
            StorageError: the disk is full or not writable.
        """
        with self._lock:
            os.close(self._file)
            self._file = -1
            if not self._open:
                self._compact()
            spent = dict(self._spent)
            for step, usage in self._open.values():
                spent[step] = spent.get(step, Usage()) + usage
            write_whole(self._sums, _cost_text(spent, indent=2) + "\n")

    def _replay(self, entry: Any) -> None:
        try:
            call, step = entry["call"], entry.get("step", "")
            self._open.pop(call, None)
            if "lost" in entry:
                self._open[call] = step, Usage.from_json(entry["lost"])
            elif "usage" in entry:
                self._add(step, Usage.from_json(entry["usage"]))
        except (AttributeError, KeyError, TypeError):
            return  # written by something else

    def _add(self, step: str, usage: Usage) -> None:
        self._spent[step] = self._spent.get(step, Usage()) + usage

    def _compact(self) -> None:
        """Write one line a step in place of all."""
        lines = ({"call": "", "step": step, "usage": usage.as_json()} for step, usage in self._spent.items())
        write_whole(self._lines, "".join(json.dumps(line) + "\n" for line in lines))

    def _write(self, entry: dict[str, Any]) -> None:
        # Without fsync: what the system has, a kill of the process does not take away.
        if self._file >= 0:
            with _storage_errors(self._lines):
                os.write(self._file, json.dumps(entry).encode() + b"\n")


def _cost_text(spent: Mapping[str, Usage], indent: int | None = None) -> str:
    return json.dumps({step: usage.as_json() for step, usage in spent.items()}, indent=indent)


def read_cost(folder: Path) -> dict[str, Usage]:
    """What all sittings of a run have spent, by step; nothing where that can't be read."""
    try:
        content = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
        return {step: Usage.from_json(spent) for step, spent in content.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return {}


@contextmanager
def track_cost(folder: Path, budget: Budget) -> Iterator[None]:
    """Add what is spent inside the ``with`` block to a run's cost, whatever ends it.

    Args:
        folder: of the run, which no other process may use.
        budget: counts the run's calls.

    Raises:
        StorageError: the disk is full or not writable.
    """
    ledger = CostLedger(folder)
    try:
        with budget.recording(ledger):
            yield
    finally:
        ledger.close()


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


@contextmanager
def lock_person(user: str, waits: Callable[[], object] | None = None) -> Iterator[None]:
    """Let one process at a time fit or update a person, so that none pays for what another is about to know.

    The operating system releases the lock when the process ends, also after a kill. Nobody's name can be read from the
    files: a few people share each.

    Args:
        user: the person.
        waits: called once if another process is at work.

    Raises:
        StorageError: the data folder is not writable.
    """
    folder = data_folder() / "locks"
    lock = FileLock(folder / f"{hashlib.sha256(user.encode()).digest()[0] % _LOCKS:02x}.lock", mode=0o600)
    with _storage_errors(folder):
        make_private_folder(folder)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waits is not None:
                waits()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


class RunFolder:
    """The folder of one run, found again by its inputs.

    Args:
        verb: the command, such as ``fit``.
        user: the person whose run it is.
        asked: all inputs that decide the result, as JSON-able data.
        root: the folder of runs; ``runs`` in the data folder if None.
    """

    def __init__(self, verb: str, user: str, asked: dict[str, Any], *, root: Path | None = None) -> None:
        canonical = hide_userinfo(json.dumps(asked, sort_keys=True, ensure_ascii=False, default=str))
        asked = json.loads(canonical)
        fingerprint = hashlib.sha256(canonical.encode()).hexdigest()[:10]
        self.path = (root or data_folder() / "runs") / f"{verb}-{_slug(user)}-{fingerprint}"
        self.resumed = (self.path / "run.json").exists() and not self.finished
        if not (self.path / "run.json").exists():
            write_whole(
                self.path / "run.json", json.dumps({"verb": verb, "user": user, **asked}, indent=2, default=str)
            )
        narrow(self.path)
        self.journal = Journal(self.path / "calls.jsonl")

    @property
    def finished(self) -> bool:
        """Whether ``finish`` was called on this run."""
        return (self.path / "done.json").exists()

    def write(self, name: str, content: str) -> Path:
        """Write a file into the folder, whole or not at all.

        Raises:
            StorageError: the disk is full or not writable.
        """
        write_whole(self.path / name, content)
        return self.path / name

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the run as done, with a summary such as its cost."""
        self.write("done.json", json.dumps(summary, indent=2, default=str))

    def note_saved(self, version: int, *what: str) -> None:
        """Note in a run that is done which version was saved of it, and what else decided the version."""
        self.finish({**self._done(), "version": version, "saved": _digest(what)})

    def saved_since(self, began: float, *what: str) -> int | None:
        """The version that another command has saved of this run meanwhile.

        Args:
            began: when this command began, in seconds as ``time.time`` has them.
            what: as ``note_saved`` was given it.
        """
        done = self._done()
        version = done.get("version")
        if done.get("saved") != _digest(what) or not isinstance(version, int):
            return None
        return version if (self.path / "done.json").stat().st_mtime >= began else None

    def _done(self) -> dict[str, Any]:
        try:
            done: Any = json.loads((self.path / "done.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return done if isinstance(done, dict) else {}


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _slug(user: str) -> str:
    # A file system may not accept every letter that a user id may have, nor tell all of them apart.
    readable = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in user)[:40]
    return f"{readable}-{hashlib.sha256(user.encode()).hexdigest()[:8]}"


def prefix_folder(user: str) -> Path:
    """Where what a model read of a person's texts is kept, so that the next answer need not read them again."""
    return data_folder() / "prefixes" / _slug(user)


def remove_runs(user: str, *, record: str | None = None, root: Path | None = None) -> int:
    """Delete a person's runs, and what a model kept of their texts.

    Args:
        user: the person.
        record: delete only runs that read the record of this id.
        root: the folder of runs; ``runs`` in the data folder if None.

    Returns:
        How many were deleted.

    Raises:
        StorageError: a folder could not be deleted.
    """
    removed = 0
    if root is None:
        # They hold the person's texts, whichever record it is about.
        shutil.rmtree(prefix_folder(user), ignore_errors=True)
    for asked in sorted((root or data_folder() / "runs").glob("*/run.json")):
        try:
            inputs = json.loads(asked.read_text(encoding="utf-8"))
            if inputs.get("user") == user and (record is None or record in inputs.get("records", ())):
                # The file that names the user goes last, so that a removal cut short is found again.
                for part in sorted(asked.parent.iterdir(), key=lambda path: path == asked):
                    part.unlink()
                asked.parent.rmdir()
                removed += 1
        except (ValueError, AttributeError):
            continue  # A torn file says nothing of whose run it is; what stands in its other files is found by itself.
        except OSError as error:
            raise StorageError(f"Could not remove {asked.parent}: {error}.", remedy="Remove it by hand.") from error
    return removed
