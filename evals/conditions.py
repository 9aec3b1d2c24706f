"""The conditions of an eval: what they are called, and of which kind they are: strategy, control or ceiling.

This file makes no condition and scores none.

Profiles made from the records of cases: each made once, kept in the run's folder, and read again after a stop.

This file knows no way to fit anybody: it is handed one.

The conditions of an eval: each strategy with the person's own profile, and the controls it must beat.

An condition is a strategy, a profile, and somebody else's profile to hold against it. This file runs no
model of its own: profiles come from what it is handed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from hyperalign.concurrency import Progress
from hyperalign.errors import InputError
from hyperalign.profile import Profile
from hyperalign.programs.strategies import Strategy, strategy
from hyperalign.records import Record, as_sample
from hyperalign.runs import Journal

from .cases import Case, records_id
from .controls import inverted
from .metrics.choice import FEATURES, vote_condition

__all__ = [
    "BARE",
    "BEATEN",
    "CONTROLS",
    "DELIBERATE",
    "DELIBERATE_HOSTILE",
    "GOLD",
    "HOSTILE",
    "INVERTED",
    "NOBODY",
    "NONE",
    "OWN_TEXT",
    "VOTES",
    "WRONG_USER",
    "Condition",
    "ConditionKind",
    "Conditions",
    "Fitter",
    "Profiles",
    "controls_without",
    "curve_point",
    "kind_of_condition",
    "main_of",
    "named",
    "needs_fit",
    "untested",
]

ConditionKind = Literal["strategy", "control", "ceiling"]

NONE, GOLD, WRONG_USER, INVERTED, VOTES = "none", "gold", "wrong-user", "inverted", "votes"
OWN_TEXT = "own-text"
"""What the person really wrote."""
DELIBERATE, HOSTILE = "deliberate", "hostile"
"""Ways of meeting a request: after deliberation, and under a profile that asks for harm."""
DELIBERATE_HOSTILE = "deliberate-hostile"
CONTROLS = (NONE, WRONG_USER, INVERTED, VOTES, GOLD)
"""What can be switched off by name."""


BEATEN = (NONE, WRONG_USER, INVERTED, *map(vote_condition, FEATURES))
"""Controls that a strategy must beat."""
_CEILINGS = (GOLD, OWN_TEXT)
_ASSAULTS = (HOSTILE, DELIBERATE_HOSTILE)


def kind_of_condition(condition: str) -> ConditionKind:
    """The part that a condition plays."""
    if condition in _CEILINGS:
        return "ceiling"
    return "control" if condition in BEATEN or condition in _ASSAULTS else "strategy"


def main_of(strategies: Sequence[str]) -> str | None:
    """The strategy that controls are made under: ``verified`` where it is there, else the last one."""
    return "verified" if "verified" in strategies else next(reversed(strategies), None)


def controls_without(off: Sequence[str]) -> list[str]:
    """All controls but some.

    Raises:
        InputError: one of them is no control.
    """
    unknown = sorted(set(off) - set(CONTROLS))
    if unknown:
        raise InputError(f"There is no control {unknown[0]!r}.", remedy=f"Those that there are: {', '.join(CONTROLS)}.")
    return [control for control in CONTROLS if control not in off]


def curve_point(name: str, records: int) -> str:
    """The name of a strategy's condition with so many records."""
    return f"{name}@{records}"


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


_RAW = "few-shot"


@dataclass(frozen=True)
class Condition:
    """One way to answer for a person.

    Attributes:
        name: a strategy's, a control's, or a strategy's with a number of records (``verified@4``).
        strategy: how the profile is put before the model.
        profile: of the person.
        other: of somebody else, under the same strategy; None where nobody is held against it.
    """

    name: str
    strategy: Strategy
    profile: Profile
    other: Profile | None = None


BARE = Condition(NONE, strategy(NONE), NOBODY)
"""No profile."""


def needs_fit(name: str) -> bool:
    """Whether a strategy uses a tested profile, and not raw records alone."""
    return name not in {NONE, GOLD, _RAW}


def named(strategies: Sequence[str | Strategy]) -> dict[str, Strategy]:
    """Strategies by name, in order, also of one's own; ``none`` and ``gold`` are conditions anyway.

    Raises:
        InputError: there is no such strategy, or none is named.
    """
    found: dict[str, Strategy] = {}
    for each in strategies:
        if not isinstance(each, str):
            found[each.name] = each
        elif each not in {NONE, GOLD}:
            found[each] = strategy(each)
    if not found and GOLD not in strategies:
        raise InputError("No strategy is named that uses a profile.", remedy="For example: --strategy few-shot,gold.")
    return found


class Conditions:
    """Makes the conditions of each case.

    Args:
        strategies: those that use a profile, by name.
        fitted: the tested profile of some records; called only for strategies that need one.
        strangers: for each case id, somebody else's case.
        controls: which of ``CONTROLS`` to add.
        curve: numbers of records to learn from, beside all of them.
    """

    def __init__(
        self,
        strategies: Mapping[str, Strategy],
        fitted: Callable[[Sequence[Record]], Profile],
        *,
        strangers: Mapping[str, Case] | None = None,
        controls: Collection[str] = CONTROLS,
        curve: Sequence[int] = (),
    ) -> None:
        self.strategies = dict(strategies)
        self.controls = tuple(controls)
        self._fitted = fitted
        self._strangers = strangers or {}
        self._curve = curve

    @property
    def main(self) -> str | None:
        """The strategy that controls are made under."""
        return main_of(list(self.strategies))

    def of(self, case: Case) -> list[Condition]:
        """All conditions of a case, strategies first.

        Raises:
            HyperalignError: a profile could not be made.
        """
        stranger = self._strangers.get(case.id)
        conditions = [self._condition(name, name, case, stranger) for name in self.strategies]
        for count in self._curve:
            if count < len(case.records):
                conditions += [
                    self._condition(curve_point(name, count), name, case, stranger, count) for name in self.strategies
                ]
        return conditions + self._controlled(case, stranger)

    def _condition(
        self, condition: str, name: str, case: Case, stranger: Case | None, count: int | None = None
    ) -> Condition:
        other = None if stranger is None else self._profile(name, stranger, count)
        return Condition(condition, self.strategies[name], self._profile(name, case, count), other)

    def _controlled(self, case: Case, stranger: Case | None) -> list[Condition]:
        conditions: list[Condition] = []
        if GOLD in self.controls and case.gold:
            other = None if stranger is None else _stated(stranger.user, stranger.gold)
            conditions.append(Condition(GOLD, strategy("verified"), _stated(case.user, case.gold), other))
        if self.main is None:
            return conditions
        each = self.strategies[self.main]
        if WRONG_USER in self.controls and stranger is not None:
            conditions.append(Condition(WRONG_USER, each, self._profile(self.main, stranger)))
        if INVERTED in self.controls and needs_fit(self.main):
            conditions.append(Condition(INVERTED, each, inverted(self._profile(self.main, case))))
        return conditions

    def _profile(self, name: str, case: Case, count: int | None = None) -> Profile:
        """What a strategy is given of a person: their first so many records, and what came stated with them."""
        records = case.records[:count]
        profile = self._fitted(records) if needs_fit(name) else untested(records)
        return profile.model_copy(update={"stated": [*profile.stated, case.stated]}) if case.stated else profile


@lru_cache(maxsize=256)
def _stated(user: str, gold: str) -> Profile:
    return Profile(user=user, stated=[gold] if gold else [])
