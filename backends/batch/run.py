"""A run over many people: its folder, what came of each person, and when failures end it."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hyperalign.budget import Usage
from hyperalign.concurrency import Progress
from hyperalign.errors import HyperalignError, ModelError, StorageError, hide_userinfo
from hyperalign.files import append_line, data_folder, narrow, read_journal, write_whole
from hyperalign.records import Record
from hyperalign.store import Store

__all__ = ["Engine", "PeopleRun", "PersonResult", "add_people", "fit_people"]

MOST_ALIKE = 10
"""So many people in a row who fail in the same way end a run: more of them would fail as well."""

_RECORDS_A_WRITE = 2_000


@dataclass(frozen=True, slots=True)
class PersonResult:
    """What came of one person.

    Attributes:
        user: who.
        state: ``done``, or ``failed``.
        version: of their profile in the store.
        is_new: whether this run fitted them, and not an earlier one with the same inputs.
        records: how many they have.
        kept: statements that are kept.
        dropped: statements that are not.
        predicts: how well the reward predicts what they chose or wrote, in words.
        usage: what their fit has spent over all its sittings.
        seconds: how long they took, waiting included.
        error: what went wrong.
        remedy: what to do about it.
    """

    user: str
    state: Literal["done", "failed"] = "done"
    version: int | None = None
    is_new: bool = True
    records: int = 0
    kept: int = 0
    dropped: int = 0
    predicts: str = ""
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    error: str = ""
    remedy: str = ""

    @classmethod
    def failed(cls, user: str, error: Exception, *, records: int = 0, seconds: float = 0.0) -> PersonResult:
        """Of somebody who could not be fitted."""
        remedy = error.remedy if isinstance(error, HyperalignError) else "Run this person alone, with --debug."
        said = error.message if isinstance(error, HyperalignError) else f"{type(error).__name__}: {error}"
        return cls(user, "failed", records=records, seconds=seconds, error=said, remedy=remedy)

    def to_json(self) -> str:
        """Convert to a line of JSON."""
        return json.dumps({**asdict(self), "usage": self.usage.as_json()}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> PersonResult:
        """Load from ``to_json``."""
        return cls.from_data(json.loads(text))

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> PersonResult:
        """Load from what ``to_json`` wrote; invalid data raises ``KeyError`` or ``TypeError``."""
        return cls(**{**data, "usage": Usage.from_json(data["usage"])})


class PeopleRun:
    """The folder of a run over many people: who is to be fitted in ``queue.jsonl``, what came in ``people.jsonl``.

    Args:
        asked: the files and all that decides the fits, as JSON-able data: the same inputs go on with the same run.
        root: the folder of runs; ``runs`` in the data folder if None.
    """

    def __init__(self, asked: Mapping[str, Any], *, root: Path | None = None) -> None:
        canonical = hide_userinfo(json.dumps(asked, sort_keys=True, ensure_ascii=False, default=str))
        name = f"fit-all-{hashlib.sha256(canonical.encode()).hexdigest()[:10]}"
        self.path = (root or data_folder() / "runs") / name
        if not (self.path / "run.json").exists():
            inputs = {"verb": "fit --all-users", **json.loads(canonical)}
            write_whole(self.path / "run.json", json.dumps(inputs, indent=2))
        narrow(self.path)
        self._results: dict[str, PersonResult] | None = None
        self._lock = threading.Lock()

    @property
    def users(self) -> list[str] | None:
        """Everybody whose records were read into the store; None before that is done."""
        path = self.path / "queue.jsonl"
        return [user for user in read_journal(path) if isinstance(user, str)] if path.exists() else None

    def keep_users(self, users: Iterable[str]) -> None:
        """Note that the records of these people are in the store."""
        write_whole(self.path / "queue.jsonl", "".join(f"{json.dumps(user)}\n" for user in users))

    @property
    def results(self) -> dict[str, PersonResult]:
        """What came of each person so far, over all sittings of the run."""
        if self._results is None:
            self._results = {}
            for data in read_journal(self.path / "people.jsonl"):
                try:
                    found = PersonResult.from_data(data)
                except (AttributeError, KeyError, TypeError):
                    continue  # written by something else
                self._results[found.user] = found
        return self._results

    def add(self, result: PersonResult) -> None:
        """Note what came of a person; it is on the disk when this returns."""
        with self._lock:
            append_line(self.path / "people.jsonl", result.to_json())
            self.results[result.user] = result


Engine = Callable[[Iterator[str], Callable[[PersonResult], None]], None]
"""Fits people, in any order and side by side, and calls back with what came of each; what that raises ends it."""


def fit_people(
    run: PeopleRun,
    users: Iterable[str],
    engine: Engine,
    *,
    progress: Progress | None = None,
    patience: int = MOST_ALIKE,
) -> float:
    """Fit all people of a run who are not done yet; returns the seconds that it took.

    Args:
        run: keeps what came of each.
        users: everybody.
        engine: fits them, such as ``fit_in_threads`` with a fitter.
        progress: told of people who are done or failed.
        patience: the most people in a row who fail in the same way.

    Raises:
        ModelError: that many failed in the same way; nobody else is tried.
        BudgetExceededError: a cap was reached.
    """
    done = {user for user, result in run.results.items() if result.state == "done"}
    everybody = list(dict.fromkeys(users))
    todo = [user for user in everybody if user not in done]
    count, alike, last = len(everybody) - len(todo), 0, ""
    lock = threading.Lock()

    def keep(result: PersonResult) -> None:
        nonlocal count, alike, last
        run.add(result)
        with lock:
            count += 1
            said = result.error.replace(result.user, "")
            alike = alike + 1 if said and said == last else int(bool(said))
            last = said
            if progress is not None:
                progress("people", count, len(everybody))
            if alike >= patience:
                raise ModelError(
                    f"{alike} people in a row failed in the same way: {result.error}",
                    remedy=f"{result.remedy} The same command then goes on with those who are left.".strip(),
                )

    began = time.monotonic()
    engine(iter(todo), keep)
    return time.monotonic() - began


def add_people(store: Store, people: Iterable[tuple[str, Sequence[Record]]]) -> Iterator[PersonResult]:
    """Add people's records to the store, many in one write.

    Args:
        store: where.
        people: each with their records, redacted if they are to be.

    Yields:
        Each person, in order: done, or failed where the store refuses the records.
    """
    waiting: list[tuple[str, Sequence[Record]]] = []
    size = 0
    for user, records in people:
        waiting.append((user, records))
        size += len(records)
        if size >= _RECORDS_A_WRITE:
            yield from _add(store, waiting)
            waiting, size = [], 0
    yield from _add(store, waiting)


def _add(store: Store, people: Sequence[tuple[str, Sequence[Record]]]) -> Iterator[PersonResult]:
    try:
        store.add_records(record for _, records in people for record in records)
    except StorageError:
        raise
    except HyperalignError as error:
        if len(people) == 1:
            yield PersonResult.failed(people[0][0], error, records=len(people[0][1]))
            return
        # One person's fault is no one else's.
        for each in people:
            yield from _add(store, [each])
        return
    for user, records in people:
        yield PersonResult(user, records=len(records))
