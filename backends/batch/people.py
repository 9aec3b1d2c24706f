"""Fits many people in one run: each is read from the store, fitted beside others, and saved in the store exactly once.

A person is done when a version of their profile says so by the key of its fit. A run that was killed goes on from
there; of people who were being fitted, it replays the calls that had been paid.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hyperalign.budget import Budget, Usage
from hyperalign.concurrency import DEFAULT_CONCURRENCY, Progress, is_stopping, processor_threads, run_concurrently
from hyperalign.errors import (
    BudgetExceededError,
    NotFoundError,
    StorageError,
    remember_secret,
)
from hyperalign.population import StorePopulation
from hyperalign.profile import Profile
from hyperalign.programs.fit_result import Fit
from hyperalign.programs.optimize.artifact import apply, read_artifact
from hyperalign.programs.personalizer import Personalizer
from hyperalign.programs.reward.edits import keep_stated
from hyperalign.records import Record
from hyperalign.runs import RunFolder, lock_person, read_cost, track_cost
from hyperalign.space import Space
from hyperalign.store import Store
from hyperalign.store.interface import Version

from ..models.connect import connect
from ..models.encoders import NO_ENCODER, open_encoder, open_population
from ..models.scorers import open_scorer
from .run import Engine, PersonResult

__all__ = ["FitSettings", "PeopleFitter", "fit_in_threads", "people_at_once"]

_CALLS_A_PERSON = 4


@dataclass(frozen=True)
class FitSettings:
    """What decides the fits of a run, as plain values that another process can be given.

    Attributes:
        store: its place; None for the one in the data folder.
        model: arguments of ``connect``; may hold secret headers.
        identity: those of them that decide the model's answers, without secrets.
        scorer: the model that gives log-probabilities for the tests; None to test by choice.
        encoder: the model that embeds texts for the reward; ``none`` to measure them alone.
        statements: whether to find and test statements; without them, no model is called.
        space: the dimensions that are tried; the shipped ones if None.
        programs: folders of optimized prompts.
        seed: recorded in the profiles.
        others: the reference population, from which nobody's own records are taken.
        population: its name.
    """

    store: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict, repr=False)
    identity: Mapping[str, Any] = field(default_factory=dict)
    scorer: str | None = None
    encoder: str = NO_ENCODER
    statements: bool = True
    space: Space | None = None
    programs: tuple[Path, ...] = ()
    seed: int = 0
    others: tuple[Record, ...] = field(default=(), repr=False)
    population: str = ""

    @property
    def concurrency(self) -> int:
        """How many calls are under way at once, at most."""
        return int(self.model.get("concurrency") or DEFAULT_CONCURRENCY)

    @cached_property
    def decides(self) -> dict[str, Any]:
        """What decides a person's fit beside their records, as JSON-able data."""
        asked: dict[str, Any] = {
            **(self.identity if self.statements else {}),
            "scorer": self.scorer,
            "encoder": self.encoder,
            "statements": self.statements,
            "seed": self.seed,
            "population": self.population,
        }
        if self.space is not None:
            asked["space"] = self.space.fingerprint
        for folder in self.programs:
            prompts = read_artifact(folder).prompts
            asked.setdefault("program", []).append({n: each.model_dump(mode="json") for n, each in prompts.items()})
        return asked


class PeopleFitter:
    """Fits one person at a time in each thread that asks it; all share a model, and so its limit of calls at once.

    Nothing is opened before the first person. Close it, or use it in a ``with`` block.

    Args:
        settings: what decides the fits.
        budget: counts and caps the calls for all people together.
        progress: told of downloads.
        side_by_side: how many people are fitted at once; their calls share the model's concurrency.
    """

    def __init__(
        self,
        settings: FitSettings,
        budget: Budget | None = None,
        progress: Progress | None = None,
        side_by_side: int = 1,
    ) -> None:
        self.settings = settings
        self.budget = budget or Budget()
        self._progress = progress
        self._side_by_side = side_by_side
        self._lock = threading.Lock()
        for value in (settings.model.get("extra_headers") or {}).values():
            remember_secret(value)

    def __enter__(self) -> PeopleFitter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store, the model and the encoder."""
        opened = vars(self).pop("_opened", None)
        if opened is not None:
            opened.close()

    def fit(self, user: str) -> PersonResult:
        """Fit a person and save the profile, unless an earlier run has saved it; what goes wrong is in the result.

        Raises:
            CancelledError: the work around the caller is being stopped.
            BudgetExceededError: a cap was reached.
        """
        began, count = time.monotonic(), 0
        try:
            with self._lock:
                opened = self._opened
            with lock_person(user):
                if is_stopping():
                    raise CancelledError
                records = opened.store.records(user)
                count = len(records)
                if not records:
                    raise NotFoundError(f"The store has no records of {user!r}.", remedy="Check the files.")
                found = self._fit(opened, user, records)
        except (CancelledError, BudgetExceededError):
            raise
        except Exception as error:
            if is_stopping():
                raise CancelledError from error
            return PersonResult.failed(user, error, records=count, seconds=time.monotonic() - began)
        return replace(found, seconds=time.monotonic() - began)

    @cached_property
    def _opened(self) -> _Opened:
        return _Opened(self.settings, self.budget, self._progress)

    def _fit(self, opened: _Opened, user: str, records: Sequence[Record]) -> PersonResult:
        asked = {"records": [record.id for record in records], **self.settings.decides}
        run = RunFolder("person", user, asked)
        # The folder's name ends in a hash of all that decides the fit; a version's note is what makes it known again.
        note = f"inferred from {len(records)} record(s), fit {run.path.name.rpartition('-')[2]}"
        before = _history(opened.store, user)
        saved = next((version for version in before if version.note == note), None)
        fitted: Fit | None = None
        if saved is None:
            memory = opened.store.memory(user)
            budget = Budget(within=self.budget)
            with track_cost(run.path, budget):
                fitted = self._personalizer(opened, budget, run).fit_detailed(records)
            newest = opened.store.load(user) if before else None
            profile = keep_stated(newest, fitted.profile)
            number = _save_once(opened.store, profile, fitted, note, memory)
        else:
            number, profile = saved.number, opened.store.load(user, saved.number)
        usage = sum(read_cost(run.path).values(), Usage())
        # What it is needed for is in the store; a million folders would be in the way of everything else.
        shutil.rmtree(run.path, ignore_errors=True)
        return PersonResult(
            user,
            version=number,
            is_new=fitted is not None,
            records=len(records),
            kept=len(profile.hypotheses),
            dropped=len(profile.dropped),
            predicts=profile.reward.predicts if profile.reward is not None else "",
            usage=usage,
        )

    def _personalizer(self, opened: _Opened, budget: Budget, run: RunFolder) -> Personalizer:
        settings = self.settings
        lm = None
        if opened.lm is not None:
            lm = opened.lm.metered(budget=budget, journal=run.journal)
            lm.side_by_side = max(_CALLS_A_PERSON, -(-2 * opened.lm.concurrency // self._side_by_side))
        person = Personalizer(
            lm,
            scorer=opened.scorer,
            population=StorePopulation(lambda _: settings.others, name=settings.population),
            space=settings.space,
            encoder=opened.encoder,
            reward_population=opened.prior,
            statements=settings.statements,
            budget=budget,
            seed=settings.seed,
        )
        parts = {"infer": person.infer, "extract": person.extract, "choice": person.choice}
        for where, artifact in opened.artifacts.items():
            apply(parts[artifact.step], artifact.prompts, where=where)
        return person


class _Opened:
    """What is opened once for all people: the store, the model, the scorer, the encoder and the prior of the reward."""

    def __init__(self, settings: FitSettings, budget: Budget, progress: Progress | None) -> None:
        self.store = Store(settings.store)
        given = {"progress": progress, **settings.model}
        self.lm = connect(**given) if settings.statements else None
        asks = settings.scorer if settings.statements else None
        self.scorer = open_scorer(asks, budget=budget, progress=progress) if asks is not None else None
        is_measured = settings.encoder == NO_ENCODER
        self.encoder = None if is_measured else open_encoder(settings.encoder, budget=budget, progress=progress)
        self.prior = open_population(self.encoder)
        self.artifacts = {str(folder): read_artifact(folder) for folder in settings.programs}

    def close(self) -> None:
        self.store.close()
        for each in (self.encoder, self.scorer):
            close = getattr(each, "close", None)
            if callable(close):
                close()


def _history(store: Store, user: str) -> list[Version]:
    try:
        return store.history(user)
    except NotFoundError:
        return []


def _save_once(store: Store, profile: Profile, fitted: Fit, note: str, memory: str | None) -> int:
    """Save a fit unless the store has a version of it; returns the version's number.

    The person's lock keeps out other processes of this machine, and what was remembered before those of other machines.
    """
    try:
        return store.remember(profile, fitted.memory.to_json(), note, instead_of=memory)
    except StorageError:
        for version in _history(store, profile.user):
            if version.note == note:
                return version.number
        raise


def people_at_once(settings: FitSettings, waiting: int) -> int:
    """How many people to fit side by side: enough that their calls fill the model's concurrency while some compute.

    Args:
        settings: what decides the fits.
        waiting: how many people there are.
    """
    if not settings.statements or (settings.scorer or "").startswith("local:"):
        # All the work is this machine's.
        return max(1, min(waiting, processor_threads()))
    return max(1, min(waiting, settings.concurrency))


def fit_in_threads(fitter: PeopleFitter, side_by_side: int) -> Engine:
    """An engine of one process.

    Args:
        fitter: fits each.
        side_by_side: people at once.
    """

    def engine(users: Iterator[str], keep: Callable[[PersonResult], None]) -> None:
        lock = threading.Lock()

        def work(_: int) -> None:
            while True:
                if is_stopping():
                    raise CancelledError
                with lock:
                    user = next(users, None)
                if user is None:
                    return
                keep(fitter.fit(user))

        run_concurrently(work, range(side_by_side), side_by_side)

    return engine
