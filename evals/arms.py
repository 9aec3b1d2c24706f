"""The arms of an eval: each strategy with the person's own profile, and the controls it must beat.

An arm is a strategy, a profile, and somebody else's profile to hold against it. This file runs no
model of its own: profiles come from what it is handed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hyperalign.errors import InputError
from hyperalign.profile import Profile
from hyperalign.programs.strategies import Strategy, strategy
from hyperalign.records import Record

from .cases import Case
from .controls import inverted
from .profiles import NOBODY, untested
from .roles import CONTROLS, GOLD, INVERTED, NONE, WRONG_USER, curve_point, main_of

__all__ = ["BARE", "Arm", "Arms", "named", "needs_fit"]

_RAW = "few-shot"


@dataclass(frozen=True)
class Arm:
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


BARE = Arm(NONE, strategy(NONE), NOBODY)
"""No profile."""


def needs_fit(name: str) -> bool:
    """Whether a strategy uses a tested profile, and not raw records alone."""
    return name not in {NONE, GOLD, _RAW}


def named(strategies: Sequence[str | Strategy]) -> dict[str, Strategy]:
    """Strategies by name, in order, also of one's own; ``none`` and ``gold`` may be named, as they are arms anyway.

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


class Arms:
    """Makes the arms of each case.

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

    def of(self, case: Case) -> list[Arm]:
        """All arms of a case, strategies first.

        Raises:
            HyperalignError: a profile could not be made.
        """
        stranger = self._strangers.get(case.id)
        arms = [self._arm(name, name, case, stranger) for name in self.strategies]
        for count in self._curve:
            if count < len(case.records):
                arms += [self._arm(curve_point(name, count), name, case, stranger, count) for name in self.strategies]
        return arms + self._controlled(case, stranger)

    def _arm(self, arm: str, name: str, case: Case, stranger: Case | None, count: int | None = None) -> Arm:
        other = None if stranger is None else self._profile(name, stranger, count)
        return Arm(arm, self.strategies[name], self._profile(name, case, count), other)

    def _controlled(self, case: Case, stranger: Case | None) -> list[Arm]:
        arms: list[Arm] = []
        if GOLD in self.controls and case.gold:
            other = None if stranger is None else _stated(stranger.user, stranger.gold)
            arms.append(Arm(GOLD, strategy("verified"), _stated(case.user, case.gold), other))
        if self.main is None:
            return arms
        each = self.strategies[self.main]
        if WRONG_USER in self.controls and stranger is not None:
            arms.append(Arm(WRONG_USER, each, self._profile(self.main, stranger)))
        if INVERTED in self.controls and needs_fit(self.main):
            arms.append(Arm(INVERTED, each, inverted(self._profile(self.main, case))))
        return arms

    def _profile(self, name: str, case: Case, count: int | None = None) -> Profile:
        """What a strategy is given of a person: their first so many records, and what came stated with them."""
        records = case.records[:count]
        profile = self._fitted(records) if needs_fit(name) else untested(records)
        return profile.model_copy(update={"stated": [*profile.stated, case.stated]}) if case.stated else profile


@lru_cache(maxsize=256)
def _stated(user: str, gold: str) -> Profile:
    return Profile(user=user, stated=[gold] if gold else [])
