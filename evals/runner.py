"""Runs cases side by side, keeps each as it ends, and goes on after a stop.

``cases.jsonl`` in the run's folder holds one outcome a line, in the order in which they ended. A
case whose line is whole is never run again; one that ended in an error is. An error is an error
and has no score. This file does not know what a case asks or how it is scored.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperalign.concurrency import run_concurrently
from hyperalign.errors import (
    BudgetExceededError,
    HyperalignError,
    MissingExtraError,
    MissingKeyError,
    StorageError,
    UnknownModelError,
)
from hyperalign.files import append_line, read_journal

from .cases import Case

__all__ = ["Outcome", "Work", "read_outcomes", "run_cases"]

# These would stop every other case as well.
_END_THE_RUN = (BudgetExceededError, MissingExtraError, MissingKeyError, StorageError, UnknownModelError)

Work = Callable[[Case], dict[str, Any]]
"""Scores one case under every strategy, as data that JSON can hold; may raise."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        case: its id.
        user: whose it is.
        cluster: the unit it counts for.
        found: what the work gave; empty after an error.
        error: what went wrong; empty where nothing did.
        seconds: how long it took.
    """

    case: str
    user: str
    cluster: str
    found: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0


def run_cases(
    cases: Sequence[Case], work: Work, path: Path, *, concurrency: int = 8, progress: Progress | None = None
) -> list[Outcome]:
    """Run all cases that a file of outcomes does not hold yet.

    Args:
        cases: what to run.
        work: called once for each case, in threads.
        path: the file of outcomes; made if missing.
        concurrency: how many cases at a time.
        progress: told after each case.

    Returns:
        One outcome a case, in the order of ``cases``.

    Raises:
        BudgetExceededError: a cap was reached; what is done is in the file.
        StorageError: the file can't be read or written.
        HyperalignError: the model can't be used at all (no key, no such name, a missing part).
    """
    known = {outcome.case: outcome for outcome in read_outcomes(path) if not outcome.error}
    waiting = [case for case in cases if case.id not in known]
    done = len(cases) - len(waiting)

    def keep(outcome: Outcome) -> None:
        nonlocal done
        append_line(path, json.dumps(vars(outcome)))
        known[outcome.case] = outcome
        done += 1
        if progress is not None:
            progress("cases", done, len(cases))

    run_concurrently(lambda case: _one(work, case), waiting, concurrency, keep=keep)
    return [known[case.id] for case in cases]


def _one(work: Work, case: Case) -> Outcome:
    started = time.monotonic()
    found: dict[str, Any] = {}
    error = ""
    try:
        found = work(case)
    except _END_THE_RUN:
        raise
    except HyperalignError as raised:
        error = f"{type(raised).__name__}: {raised.message}"
    return Outcome(case.id, case.user, case.cluster, found, error, round(time.monotonic() - started, 3))


def read_outcomes(path: Path) -> Iterator[Outcome]:
    """The outcomes that a file holds, in the order in which they ended; a case may be there twice after an error."""
    for entry in read_journal(path):
        try:
            yield Outcome(**entry)
        except TypeError:
            continue  # written by something else: its case is run again
