"""Conditions of an eval: each strategy with the person's own profile, and the controls that it must beat.

Controls are another user's profile, the person's own inverted, and votes of features that need no model.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from hyperalign.concurrency import Progress, is_stopping
from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, LearnedReward, Measurement, Profile, RewardChange
from hyperalign.programs.replies import tally_answers
from hyperalign.programs.scope import narrow
from hyperalign.programs.strategies import PROFILE_WORDS, Strategy, strategy
from hyperalign.records import Record, to_sample
from hyperalign.runs import Journal
from hyperalign.scores import Message
from hyperalign.style.reference import measure_style

from .cases import Case, records_id, texts_in
from .metrics.choice import FEATURES, vote, vote_condition

__all__ = [
    "BARE",
    "CEILINGS",
    "CONTROLS",
    "CONTROLS_TO_BEAT",
    "DELIBERATE",
    "DELIBERATE_HOSTILE",
    "DRAFT",
    "FEW_SHOT",
    "GOLD",
    "GUIDED",
    "HOSTILE",
    "INVERTED",
    "NONE",
    "NO_PROFILE",
    "OWN_TEXT",
    "VERIFIED",
    "VOTES",
    "WRONG_USER",
    "Condition",
    "ConditionKind",
    "Conditions",
    "Fitter",
    "Profiles",
    "condition_kind",
    "controls_without",
    "curve_point",
    "few_shot_profile",
    "inverted",
    "main_strategy",
    "needs_fit",
    "resolve_strategies",
    "votes",
    "wrong_users",
]

ConditionKind = Literal["strategy", "control", "ceiling"]

NONE, FEW_SHOT, VERIFIED = "none", "few-shot", "verified"
GUIDED = "guided"
"""Few-shot prompting of which the writing is steered by a reward of the person's texts."""
DRAFT = "draft"
"""In rewriting, the draft as it was."""
GOLD, WRONG_USER, INVERTED, VOTES = "gold", "wrong-user", "inverted", "votes"
OWN_TEXT = "own-text"
"""What the person wrote."""
DELIBERATE, HOSTILE, DELIBERATE_HOSTILE = "deliberate", "hostile", "deliberate-hostile"
"""Conditions of requests: with deliberation, under a profile that asks for harm, and both."""
CONTROLS = (NONE, WRONG_USER, INVERTED, VOTES, GOLD)
"""Controls that can be disabled by name."""
CONTROLS_TO_BEAT = (NONE, WRONG_USER, INVERTED, DRAFT, *map(vote_condition, FEATURES))
CEILINGS = (GOLD, OWN_TEXT)


def condition_kind(condition: str) -> ConditionKind:
    """Whether a condition is a strategy, a control, or a ceiling."""
    if condition in CEILINGS:
        return "ceiling"
    return "control" if condition in {*CONTROLS_TO_BEAT, HOSTILE, DELIBERATE_HOSTILE} else "strategy"


def main_strategy(strategies: Sequence[str]) -> str | None:
    """The strategy that controls use: ``verified`` if it is there, else the last one."""
    return VERIFIED if VERIFIED in strategies else next(reversed(strategies), None)


def controls_without(disabled: Sequence[str]) -> list[str]:
    """All controls but the disabled ones.

    Raises:
        InputError: a name is not a control.
    """
    unknown = sorted(set(disabled) - set(CONTROLS))
    if unknown:
        raise InputError(f"There is no control {unknown[0]!r}.", remedy=f"Choose from: {', '.join(CONTROLS)}.")
    return [control for control in CONTROLS if control not in disabled]


def curve_point(name: str, records: int) -> str:
    """The name of a strategy's condition with this number of records."""
    return f"{name}@{records}"


def needs_fit(name: str) -> bool:
    """Whether a strategy uses a fitted profile."""
    return name not in {NONE, GOLD, FEW_SHOT, GUIDED}


def resolve_strategies(strategies: Sequence[str | Strategy]) -> dict[str, Strategy]:
    """Strategies by name, in order; ``none`` and ``gold`` are left out, as they are conditions in any case.

    Raises:
        InputError: a strategy does not exist, or none of them uses a profile.
    """
    found: dict[str, Strategy] = {}
    for each in strategies:
        if not isinstance(each, str):
            found[each.name] = each
        elif each not in {NONE, GOLD}:
            found[each] = strategy(FEW_SHOT if each == GUIDED else each)
    if not found and GOLD not in strategies:
        raise InputError("No strategy is named that uses a profile.", remedy="For example: --strategy few-shot,gold.")
    return found


NO_PROFILE = Profile(user="nobody")

Fitter = Callable[[Sequence[Record]], Profile]
"""Fits a profile on one person's records; ``Personalizer.fit`` is one."""


class Profiles:
    """Fits each profile once, keeps it in a file, and reads it again when a stopped run continues.

    Args:
        fit: fits a profile.
        path: of the file that keeps the profiles, one a line; ``replies.jsonl`` beside it counts the questions of each.
        expected: how many there will be, for progress.
        progress: called after each.
    """

    def __init__(self, fit: Fitter, path: Path, *, expected: int = 0, progress: Progress | None = None) -> None:
        self._fit = fit
        self._journal = Journal(path)
        self._replies = Journal(path.with_name("replies.jsonl"))
        self._profiles: dict[str, Profile] = {}
        self._expected = expected
        self._progress = progress
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, records: Sequence[Record]) -> Profile:
        """The profile of some records; empty without records.

        Raises:
            HyperalignError: what the fitter raises.
        """
        if not records:
            return NO_PROFILE
        key = records_id(records)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if is_stopping():
                raise CancelledError
            if key not in self._profiles:
                self._profiles[key] = self._load_or_fit(key, records)
                if self._progress is not None:
                    self._progress("profiles", len(self._profiles), max(self._expected, len(self._profiles)))
            return self._profiles[key]

    def replies(self) -> dict[str, int]:
        """How many questions the fits of these profiles asked, and how many replies decided nothing."""
        return {name: sum(int(each.get(name, 0)) for each in self._replies.values()) for name in ("asked", "undecided")}

    def _load_or_fit(self, key: str, records: Sequence[Record]) -> Profile:
        kept = self._journal.get(key)
        if kept is not None:
            return Profile.from_json(json.dumps(kept), where="profiles.jsonl")
        # Which of the cases that need it begins the fit depends on the threads: its questions are counted here.
        with tally_answers(ends=False, apart=True) as replies:
            profile = self._fit(records)
        self._replies.put(key, {"asked": replies.asked, "undecided": replies.undecided})
        self._journal.put(key, json.loads(profile.to_json()))
        return profile


@lru_cache(maxsize=256)
def few_shot_profile(records: tuple[Record, ...]) -> Profile:
    """A profile of raw records alone, as few-shot prompting shows them; of pairs and edits, the preferred side."""
    if not records:
        return NO_PROFILE
    return Profile(user=records[0].user, examples=[to_sample(record) for record in records])


@lru_cache(maxsize=256)
def _gold_profile(user: str, gold: str) -> Profile:
    return Profile(user=user, stated=[gold] if gold else [])


@dataclass(frozen=True)
class Condition:
    """One way to answer for a person.

    Attributes:
        name: of a strategy, of a control, or of a strategy with a number of records (``verified@4``).
        strategy: how the profile is put into the prompt.
        profile: of the person.
        other: of another user, under the same strategy, to compare with; None where there is none.
        records: those that writing is steered by; None where the model is only told.
    """

    name: str
    strategy: Strategy
    profile: Profile
    other: Profile | None = None
    records: tuple[Record, ...] | None = None

    def shown(self, prompt: str, max_words: int = PROFILE_WORDS) -> list[Message]:
        """What the strategy says of the person for a prompt, with "…" in the prompt's place."""
        return list(self.strategy.condition(narrow(self.profile, prompt), "…", max_words))


BARE = Condition(NONE, strategy(NONE), NO_PROFILE)


class Conditions:
    """Makes the conditions of each case.

    Args:
        strategies: those that use a profile, by name.
        fit: gives the fitted profile of some records; called only for strategies that need one.
        other_users: for each case id, a case of another user.
        controls: which of ``CONTROLS`` to add.
        curve: numbers of records to learn from, in addition to all of them.
    """

    def __init__(
        self,
        strategies: Mapping[str, Strategy],
        fit: Callable[[Sequence[Record]], Profile],
        *,
        other_users: Mapping[str, Case] | None = None,
        controls: Collection[str] = CONTROLS,
        curve: Sequence[int] = (),
    ) -> None:
        self.strategies = dict(strategies)
        self.controls = tuple(controls)
        self._fit = fit
        self._other_users = other_users or {}
        self._curve = curve

    @property
    def main(self) -> str | None:
        """The strategy that controls use."""
        return main_strategy(list(self.strategies))

    def of(self, case: Case) -> list[Condition]:
        """All conditions of a case, strategies first.

        Raises:
            HyperalignError: a profile could not be fitted.
        """
        other = self._other_users.get(case.id)
        conditions = [self._condition(name, name, case, other) for name in self.strategies]
        for count in self._curve:
            if count < len(case.records):
                conditions += [
                    self._condition(curve_point(name, count), name, case, other, count) for name in self.strategies
                ]
        return conditions + self._controls(case, other)

    def _condition(
        self, name: str, strategy: str, case: Case, other: Case | None, count: int | None = None
    ) -> Condition:
        profile = self._profile(strategy, case, count)
        theirs = None if other is None else self._profile(strategy, other, count)
        return Condition(name, self.strategies[strategy], profile, theirs, _steering(strategy, case, count))

    def _controls(self, case: Case, other: Case | None) -> list[Condition]:
        conditions: list[Condition] = []
        if GOLD in self.controls and case.gold:
            theirs = None if other is None else _gold_profile(other.user, other.gold)
            conditions.append(Condition(GOLD, strategy(VERIFIED), _gold_profile(case.user, case.gold), theirs))
        if self.main is None:
            return conditions
        main = self.strategies[self.main]
        if WRONG_USER in self.controls and other is not None:
            steering = _steering(self.main, other)
            conditions.append(Condition(WRONG_USER, main, self._profile(self.main, other), records=steering))
        if INVERTED in self.controls and needs_fit(self.main):
            conditions.append(Condition(INVERTED, main, inverted(self._profile(self.main, case))))
        return conditions

    def _profile(self, name: str, case: Case, count: int | None = None) -> Profile:
        """A profile from the person's first ``count`` records, with their stated description added."""
        records = case.records[:count]
        profile = self._fit(records) if needs_fit(name) else few_shot_profile(records)
        if name == GUIDED:
            profile = profile.model_copy(update={"style": measure_style(records)})
        return profile.model_copy(update={"stated": [*profile.stated, case.stated]}) if case.stated else profile


def _steering(name: str, case: Case, count: int | None = None) -> tuple[Record, ...] | None:
    return case.records[:count] if name == GUIDED else None


def wrong_users(cases: Sequence[Case], seed: int) -> Mapping[str, Case]:
    """For each case, a case of another user, whose profile stands in for the person's own.

    Users (or personas) form one random cycle: nobody gets their own profile, and each profile is used about equally
    often. A case whose records hold an answer of the case at hand is skipped if possible.

    Args:
        cases: of at least two users or personas.
        seed: of the cycle.

    Returns:
        The other user's case, by case id.

    Raises:
        InputError: all cases are of one user.
    """
    by_user: dict[str, list[Case]] = {}
    for case in cases:
        by_user.setdefault(case.person, []).append(case)
    if len(by_user) < 2:
        raise InputError(
            "Another user's profile is needed to compare with, but all cases are of one user.",
            remedy="Ask for at least two --users, or add --without wrong-user.",
        )
    cycle = sorted(by_user)
    random.Random(seed).shuffle(cycle)
    next_user = dict(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    found: dict[str, Case] = {}
    for user, own in by_user.items():
        theirs = by_user[next_user[user]]
        for number, case in enumerate(own):
            turned = [theirs[(number + step) % len(theirs)] for step in range(len(theirs))]
            found[case.id] = next((other for other in turned if not case.answers & texts_in(other.records)), turned[0])
    return found


def votes(case: Case) -> dict[str, dict[str, float]]:
    """Scores of the feature votes in a choice case, by condition and metric."""
    return {
        vote_condition(name): {"accuracy": vote(name, case.records, case.chosen, case.rejected)} for name in FEATURES
    }


def inverted(profile: Profile) -> Profile:
    """The opposite profile: opposite statements, direction reversed, every weight of the reward turned around, and
    measured style mirrored about the reference.

    What has no opposite is left out: examples, stated descriptions, and statements without one.

    Args:
        profile: the person's own.
    """
    # Dropped hypotheses too: strategies that do not test state them.
    turned, dropped = (
        [_turned(hypothesis) for hypothesis in some if hypothesis.opposite]
        for some in (profile.hypotheses, profile.dropped)
    )
    changed = {
        "hypotheses": turned,
        "dropped": dropped,
        "direction": {name: 1.0 - probability for name, probability in profile.direction.items()},
        "style": {name: _mirrored(measurement) for name, measurement in profile.style.items()},
        "reward": _flipped(profile.reward) if profile.reward is not None else None,
    }
    return profile.model_copy(update={**changed, "examples": [], "stated": []})


def _turned(hypothesis: Hypothesis) -> Hypothesis:
    return hypothesis.model_copy(update={"statement": hypothesis.opposite, "opposite": hypothesis.statement})


def _flipped(reward: LearnedReward) -> LearnedReward:
    flips = [RewardChange(feature=name, weight=None) for name in reward.weights]
    return reward.model_copy(update={"changes": [*reward.changes, *flips]})


def _mirrored(found: Measurement) -> Measurement:
    return found.model_copy(update={"value": 2 * found.reference - found.value, "z": -found.z})
