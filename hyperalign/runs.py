"""Folders of runs: inputs in ``run.json``, model calls in ``calls.jsonl``, and results.

A run that was killed is found again by the same inputs, and replays the calls it had made.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from .errors import StorageError, hide_userinfo
from .files import append_line, data_folder, narrow, read_journal, write_whole

__all__ = ["Journal", "RunFolder", "find_evals_with", "remove_runs"]


class Journal:
    """Model calls by key, appended as they end; a last line that a kill cut off is ignored.

    Args:
        path: a JSONL file; made by the first ``put``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {
            entry["key"]: entry["value"]
            for entry in read_journal(path)
            if isinstance(entry, dict) and isinstance(entry.get("key"), str) and isinstance(entry.get("value"), dict)
        }

    def get(self, key: str) -> dict[str, Any] | None:
        """The value of a key, or None."""
        with self._lock:
            return self._known.get(key)

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Append a value; it is on the disk when this returns.

        Raises:
            StorageError: the disk is full or not writable.
        """
        # ASCII only: an answer cut inside an emoji has no UTF-8, and must be read back unchanged.
        line = json.dumps({"key": key, "value": value})
        with self._lock:
            append_line(self._path, line)
            self._known[key] = value

    def __len__(self) -> int:
        return len(self._known)


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


def _slug(user: str) -> str:
    # A file system may not accept every letter that a user id may have, nor tell all of them apart.
    readable = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in user)[:40]
    return f"{readable}-{hashlib.sha256(user.encode()).hexdigest()[:8]}"


def remove_runs(user: str, *, record: str | None = None, root: Path | None = None) -> int:
    """Delete a person's runs.

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
    for asked in sorted((root or data_folder() / "runs").glob("*/run.json")):
        try:
            inputs = json.loads(asked.read_text(encoding="utf-8"))
            if inputs.get("user") == user and (record is None or record in inputs.get("records", ())):
                # The file that names the user goes last, so that a removal cut short is found again.
                for part in sorted(asked.parent.iterdir(), key=lambda path: path == asked):
                    part.unlink()
                asked.parent.rmdir()
                removed += 1
        except (OSError, ValueError, AttributeError) as error:
            raise StorageError(f"Could not remove {asked.parent}: {error}.", remedy="Remove it by hand.") from error
    return removed


def find_evals_with(user: str, *, root: Path | None = None) -> list[Path]:
    """Folders of evals that hold texts of a person. They hold other people's too, so they are not deleted unasked.

    Args:
        user: the person.
        root: the folder of runs; ``runs`` in the data folder if None.
    """
    found: list[Path] = []
    for mark in sorted((root or data_folder() / "runs").glob("*/eval.json")):
        entries = read_journal(mark.parent / "cases.jsonl")
        if any(isinstance(entry, dict) and entry.get("user") == user for entry in entries):
            found.append(mark.parent)
    return found
