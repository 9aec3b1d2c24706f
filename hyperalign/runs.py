"""A run's folder: everything it was asked, did and found, readable afterwards.

``run.json`` says what was asked, ``calls.jsonl`` holds each model call as it ended, and the
caller adds what it found. A run that was killed is opened again by the same inputs and
replays the calls it had made. This file does not know what a run is about.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from .errors import StorageError
from .files import append_line, data_folder, read_journal, write_whole

__all__ = ["Journal", "RunFolder", "find_evals_with", "remove_runs"]


class Journal:
    """Model calls by key, appended as they end; a torn last line is passed over.

    Args:
        path: a JSONL file; made at the first ``put``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {
            entry["key"]: entry["value"]
            for entry in read_journal(path)
            if isinstance(entry, dict) and {"key", "value"} <= entry.keys()
        }

    def get(self, key: str) -> dict[str, Any] | None:
        """What was put under a key, or None."""
        with self._lock:
            return self._known.get(key)

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Keep a value, on disk before this returns.

        Raises:
            StorageError: the disk is full or not writable.
        """
        # ASCII alone: an answer cut inside an emoji has no UTF-8, and must come back as it was.
        line = json.dumps({"key": key, "value": value})
        with self._lock:
            append_line(self._path, line)
            self._known[key] = value

    def __len__(self) -> int:
        return len(self._known)


class RunFolder:
    """One run, found again by what it was asked.

    Args:
        verb: the command, such as ``infer``.
        user: whose run it is.
        asked: all inputs that decide the result, as JSON-able data.
        root: the folder of runs; ``runs`` in the data folder unless given.
    """

    def __init__(self, verb: str, user: str, asked: dict[str, Any], *, root: Path | None = None) -> None:
        canonical = json.dumps(asked, sort_keys=True, ensure_ascii=False, default=str)
        fingerprint = hashlib.sha256(canonical.encode()).hexdigest()[:10]
        self.path = (root or data_folder() / "runs") / f"{verb}-{_slug(user)}-{fingerprint}"
        self.resumed = (self.path / "run.json").exists() and not self.finished
        if not (self.path / "run.json").exists():
            write_whole(
                self.path / "run.json", json.dumps({"verb": verb, "user": user, **asked}, indent=2, default=str)
            )
        self.journal = Journal(self.path / "calls.jsonl")

    @property
    def finished(self) -> bool:
        """True once ``finish`` was called on this run."""
        return (self.path / "done.json").exists()

    def write(self, name: str, content: str) -> Path:
        """Add a file to the folder, whole or not at all.

        Raises:
            StorageError: the disk is full or not writable.
        """
        target = self.path / name
        write_whole(target, content)
        return target

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the run as done, with what it cost."""
        self.write("done.json", json.dumps(summary, indent=2, default=str))


def _slug(user: str) -> str:
    # Ids are checked, but a file system may still not take every letter of them.
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in user)[:40]


def remove_runs(user: str, *, record: str | None = None, root: Path | None = None) -> int:
    """Delete all runs of a user, or those that read one record.

    Args:
        user: whose.
        record: only runs whose inputs name the record of that id.
        root: the folder of runs; ``runs`` in the data folder unless given.

    Returns:
        How many there were.

    Raises:
        StorageError: a folder could not be deleted.
    """
    removed = 0
    for asked in sorted((root or data_folder() / "runs").glob("*/run.json")):
        try:
            inputs = json.loads(asked.read_text(encoding="utf-8"))
            if inputs.get("user") == user and (record is None or record in inputs.get("records", ())):
                # What names the user goes last: a removal that was cut off is found again.
                for part in sorted(asked.parent.iterdir(), key=lambda path: path == asked):
                    part.unlink()
                asked.parent.rmdir()
                removed += 1
        except (OSError, ValueError, AttributeError) as error:
            raise StorageError(f"Could not remove {asked.parent}: {error}.", remedy="Remove it by hand.") from error
    return removed


def find_evals_with(user: str, *, root: Path | None = None) -> list[Path]:
    """Folders of evals that hold texts of a user; they are of several people, so nobody deletes them unasked.

    Args:
        user: whose.
        root: the folder of runs; ``runs`` in the data folder unless given.
    """
    found: list[Path] = []
    for mark in sorted((root or data_folder() / "runs").glob("*/eval.json")):
        entries = read_journal(mark.parent / "cases.jsonl")
        if any(isinstance(entry, dict) and entry.get("user") == user for entry in entries):
            found.append(mark.parent)
    return found
