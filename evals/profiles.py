"""Profiles made from the records of cases: each made once, kept in the run's folder, and read again after a stop.

This file knows no way to fit anybody: it is handed one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from hyperalign.profile import Profile
from hyperalign.programs.score import Progress
from hyperalign.records import Record, as_sample
from hyperalign.runs import Journal

from .cases import records_id

__all__ = ["NOBODY", "Fitter", "Profiles", "untested"]

NOBODY = Profile(user="nobody")
"""The profile of whom nothing is known."""

Fitter = Callable[[Sequence[Record]], Profile]
"""Makes a profile of one person's records; ``Personalizer.fit`` is one."""


class Profiles:
    """Remembers what a fitter made.

    Args:
        fit: makes a profile.
        path: the file that keeps them, one a line.
        expected: how many there will be, for progress.
        progress: told after each.
    """

    def __init__(self, fit: Fitter, path: Path, *, expected: int = 0, progress: Progress | None = None) -> None:
        self._fit = fit
        self._journal = Journal(path)
        self._made: dict[str, Profile] = {}
        self._expected = expected
        self._progress = progress
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, records: Sequence[Record]) -> Profile:
        """The profile of some records; made where it is not known. Without records it is empty.

        Raises:
            HyperalignError: what the fitter raises.
        """
        if not records:
            return NOBODY
        key = records_id(records)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = self._read(key) or self._make(key, records)
                if self._progress is not None:
                    self._progress("profiles", len(self._made), max(self._expected, len(self._made)))
            return self._made[key]

    def _read(self, key: str) -> Profile | None:
        kept = self._journal.get(key)
        return None if kept is None else Profile.from_json(json.dumps(kept), where="profiles.jsonl")

    def _make(self, key: str, records: Sequence[Record]) -> Profile:
        profile = self._fit(records)
        self._journal.put(key, json.loads(profile.to_json()))
        return profile


@lru_cache(maxsize=256)
def untested(records: tuple[Record, ...]) -> Profile:
    """A profile of raw records alone, none of them tested: what few-shot prompting shows.

    Args:
        records: one person's; of pairs and edits, the side they took is shown.
    """
    if not records:
        return NOBODY
    user = records[0].user
    return Profile(user=user, examples=[as_sample(record) for record in records])
