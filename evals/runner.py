"""Runs cases concurrently in a folder that keeps every outcome and the cost, so that a stopped run can continue.

``eval.json`` identifies the run, ``cases.jsonl`` has one outcome a line, ``calls.jsonl`` the answers of models, and
``cost.json`` adds up all sittings.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from hyperalign.concurrency import Progress, is_stopping, run_concurrently
from hyperalign.errors import (
    BudgetExceededError,
    HyperalignError,
    InputError,
    MissingExtraError,
    MissingKeyError,
    StorageError,
    UnknownModelError,
    hide_userinfo,
)
from hyperalign.files import append_line, data_folder, narrow, storage_error, write_whole
from hyperalign.runs import Journal

from .cases import Case

__all__ = ["FATAL", "EvalFolder", "Outcome", "Outcomes", "Solver", "read_json", "read_outcomes", "run_cases"]


class EvalFolder:
    """The folder of a run.

    Args:
        out: the folder; one in the data folder, named by a hash of ``config``, if None.
        config: everything that decides the result, as JSON data with a ``task``.
        notes: recorded with it, but free to differ when the run continues.

    Attributes:
        path: the folder.
        journal: the answers of models.

    Raises:
        InputError: the folder holds another run, or something else.
        StorageError: it cannot be written.
    """

    def __init__(self, out: Path | None, config: Mapping[str, Any], *, notes: Mapping[str, Any] | None = None) -> None:
        text = hide_userinfo(json.dumps(config, indent=2, ensure_ascii=False)) + "\n"
        config = json.loads(text)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:10]
        name = "".join(letter if letter.isalnum() else "-" for letter in str(config["task"]))[:40]
        self.path = out or data_folder() / "runs" / f"eval-{name}-{fingerprint}"
        mark = self.path / "eval.json"
        if mark.exists():
            before = read_json(mark)
            changed = [key for key, value in json.loads(text).items() if before.get(key) != value]
            if changed:
                raise InputError(
                    f"{self.path}: this folder holds another run, which differs in {', '.join(changed)}.",
                    remedy="Choose another --out, or repeat the other run's command to continue it.",
                )
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(
                f"{self.path}: this folder is not empty and holds no eval.", remedy="Choose another --out."
            )
        else:
            content = {**config, **(notes or {})}
            write_whole(mark, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        narrow(self.path)
        self.journal = Journal(self.path / "calls.jsonl")

    @property
    def cases(self) -> Path:
        """The file of outcomes, one a line."""
        return self.path / "cases.jsonl"

    @property
    def profiles(self) -> Path:
        """The file of profiles, one a line."""
        return self.path / "profiles.jsonl"


def read_json(path: Path) -> Any:
    """The content of a JSON file of a run.

    Raises:
        InputError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", remedy="Give the folder of a finished eval.") from error
    except ValueError as error:
        raise InputError(
            f"{path}: this is not JSON ({error}).", remedy="Move the file away and run the eval again."
        ) from error


FATAL = (BudgetExceededError, MissingExtraError, MissingKeyError, StorageError, UnknownModelError)
"""Errors that would stop every other case as well."""

Solver = Callable[[Case], dict[str, Any]]
"""Scores one case under every condition; returns JSON data."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one case.

    Attributes:
        case: its id.
        user: its user.
        cluster: the unit it counts for.
        result: what the solver returned; empty after an error.
        error: the error; empty without one.
        seconds: how long it took.
    """

    case: str
    user: str
    cluster: str
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0

    def without_texts(self) -> Outcome:
        """The outcome with what is added up over cases alone; names are one object in all outcomes."""
        scores = {
            sys.intern(condition): {sys.intern(metric): value for metric, value in found.items()}
            for condition, found in self.result.get("scores", {}).items()
        }
        added = {name: self.result[name] for name in ("replies",) if name in self.result}
        return replace(self, cluster=sys.intern(self.cluster), result={"scores": scores, **added})


class Outcomes(Sequence[Outcome]):
    """Outcomes in a file, each read when it is asked for: what was said in many cases would fill the memory.

    Args:
        path: the file, which must stay.
        starts: where the line of each begins, in bytes.
    """

    def __init__(self, path: Path, starts: Sequence[int]) -> None:
        self._path = path
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, at: int) -> Outcome: ...

    @overload
    def __getitem__(self, at: slice) -> Outcomes: ...

    def __getitem__(self, at: int | slice) -> Outcome | Outcomes:
        some = Outcomes(self._path, self._starts[at] if isinstance(at, slice) else [self._starts[at]])
        return some if isinstance(at, slice) else next(iter(some))

    def __iter__(self) -> Iterator[Outcome]:
        try:
            with self._path.open("rb") as file:
                for start in self._starts:
                    file.seek(start)
                    yield Outcome(**json.loads(file.readline()))
        except OSError as error:
            raise storage_error(error, self._path) from error


def run_cases(
    cases: Sequence[Case], solver: Solver, path: Path, *, concurrency: int = 8, progress: Progress | None = None
) -> Outcomes:
    """Run all cases that have no outcome without an error yet.

    Args:
        cases: what to run.
        solver: called once for each case, in threads.
        path: of the file of outcomes.
        concurrency: how many cases run at a time.
        progress: called after each case.

    Returns:
        One outcome a case, in the order of ``cases``, read from the file. A case that failed has an error and no score.

    Raises:
        BudgetExceededError: a cap was reached; finished cases are in the file.
        StorageError: the file cannot be read or written.
        HyperalignError: the model cannot be used at all (no key, no such name, a missing extra).
    """
    known = {outcome.case for _, outcome in _scan(path) if not outcome.error}
    waiting = [case for case in cases if case.id not in known]
    done = len(cases) - len(waiting)

    def keep(outcome: Outcome) -> None:
        nonlocal done
        append_line(path, json.dumps(vars(outcome)))
        done += 1
        if progress is not None:
            progress("cases", done, len(cases))

    run_concurrently(lambda case: _one(solver, case), waiting, concurrency, keep=keep)
    starts: dict[str, int] = {}
    for start, outcome in _scan(path):
        if not outcome.error or outcome.case not in known:
            starts[outcome.case] = start
    return Outcomes(path, [starts[case.id] for case in cases])


def _one(solver: Solver, case: Case) -> Outcome:
    started = time.monotonic()
    result: dict[str, Any] = {}
    error = ""
    try:
        result = solver(case)
    except FATAL:
        raise
    except HyperalignError as raised:
        if is_stopping():
            # It failed because the run is being stopped, which says nothing of the case.
            raise CancelledError from raised
        error = f"{type(raised).__name__}: {raised.message}"
    return Outcome(case.id, case.user, case.cluster, result, error, round(time.monotonic() - started, 3))


def read_outcomes(path: Path) -> Iterator[Outcome]:
    """The outcomes in a file, in the order in which they ended; a case that failed may be there again.

    Raises:
        StorageError: it cannot be read.
    """
    return (outcome for _, outcome in _scan(path))


def _scan(path: Path) -> Iterator[tuple[int, Outcome]]:
    """Where the line of each outcome in a file begins, and the outcome; one is in memory at a time."""
    try:
        with path.open("rb") as file:
            start = 0
            for line in file:
                with suppress(TypeError, ValueError):  # torn, or written by something else: its case is run again
                    yield start, Outcome(**json.loads(line.decode(errors="replace")))
                start += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(error, path) from error
