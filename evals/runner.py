"""The folder of an eval: what was asked, what each case gave, what it cost, and what came out.

``eval.json`` marks it, so that a folder never mixes two runs; ``cost.json`` adds up all sittings of a run that
was stopped and went on. This file does not know what the figures mean.

Runs cases side by side, keeps each as it ends, and goes on after a stop.

``cases.jsonl`` in the run's folder holds one outcome a line, in the order in which they ended. A
case whose line is whole is never run again; one that ended in an error is. An error is an error
and has no score. This file does not know what a case asks or how it is scored.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperalign.budget import Budget, Usage
from hyperalign.concurrency import Progress, run_concurrently
from hyperalign.errors import (
    BudgetExceededError,
    HyperalignError,
    InputError,
    MissingExtraError,
    MissingKeyError,
    StorageError,
    UnknownModelError,
)
from hyperalign.files import append_line, data_folder, read_journal, write_whole

from .cases import Case

__all__ = ["EvalFolder", "Outcome", "Solver", "read_json", "read_outcomes", "run_cases"]


class EvalFolder:
    """One run's folder.

    Args:
        out: where; a folder among the runs of the data folder, named by what is asked, if None.
        asked: all that decides the result, as JSON-able data with a ``task``.
        beside: what is told of the first sitting and decides nothing: another run may differ in it.

    Raises:
        InputError: another run, or something else, lies there.
        StorageError: it can't be written.
    """

    def __init__(self, out: Path | None, asked: Mapping[str, Any], *, beside: Mapping[str, Any] | None = None) -> None:
        text = json.dumps(asked, indent=2, ensure_ascii=False) + "\n"
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = "".join(letter if letter.isalnum() else "-" for letter in str(asked["task"]))[:40]
        self.path = out or data_folder() / "runs" / f"eval-{name}-{fingerprint}"
        mark = self.path / "eval.json"
        if mark.exists():
            before = read_json(mark)
            changed = [key for key, value in json.loads(text).items() if before.get(key) != value]
            if changed:
                raise InputError(
                    f"{self.path}: another run lies there, which differs in {', '.join(changed)}.",
                    remedy="Choose another --out, or ask the same again to go on with it.",
                )
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(f"{self.path}: something else lies there.", remedy="Choose another --out.")
        else:
            told = {**asked, **(beside or {})}
            write_whole(mark, json.dumps(told, indent=2, ensure_ascii=False) + "\n")

    @property
    def cases(self) -> Path:
        """Outcomes, one a line."""
        return self.path / "cases.jsonl"

    @property
    def profiles(self) -> Path:
        """Profiles, one a line."""
        return self.path / "profiles.jsonl"

    @contextmanager
    def sitting(self, budget: Budget) -> Iterator[None]:
        """Add what is spent inside to the run's cost, however it ends."""
        before = budget.by_step
        try:
            yield
        finally:
            total = self.cost()
            for step, spent in budget.by_step.items():
                total[step] = total.get(step, Usage()) + _less(spent, before.get(step, Usage()))
            content = {step: spent.as_json() for step, spent in total.items()}
            write_whole(self.path / "cost.json", json.dumps(content, indent=2) + "\n")

    def cost(self) -> dict[str, Usage]:
        """What all sittings have spent, step by step."""
        path = self.path / "cost.json"
        return {step: Usage.from_json(spent) for step, spent in read_json(path).items()} if path.exists() else {}

    def write(self, name: str, content: str) -> Path:
        """Add a file, whole or not at all.

        Raises:
            StorageError: the disk is full or not writable.
        """
        write_whole(self.path / name, content)
        return self.path / name


def read_json(path: Path) -> Any:
    """The content of one of a run's files.

    Raises:
        InputError: it is not there, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", remedy="Is this the folder of a finished eval?") from error
    except ValueError as error:
        raise InputError(
            f"{path}: this is not JSON ({error}).", remedy="Move the file away and run the eval again."
        ) from error


def _less(left: Usage, right: Usage) -> Usage:
    return Usage(*(getattr(left, name) - getattr(right, name) for name in Usage.__slots__))


# These would stop every other case as well.
_END_THE_RUN = (BudgetExceededError, MissingExtraError, MissingKeyError, StorageError, UnknownModelError)

Solver = Callable[[Case], dict[str, Any]]
"""Scores one case under every strategy, as data that JSON can hold; may raise."""


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
    cases: Sequence[Case], work: Solver, path: Path, *, concurrency: int = 8, progress: Progress | None = None
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


def _one(work: Solver, case: Case) -> Outcome:
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
