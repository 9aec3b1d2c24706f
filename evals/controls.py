"""Controls: another user's profile, the person's own inverted, and votes of features that need no model."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, LearnedReward, Measurement, Profile, RewardChange

from .cases import Case, texts_in
from .metrics.choice import FEATURES, vote, vote_condition

__all__ = ["divergent", "inverted", "votes", "wrong_users"]


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


def divergent(cases: Sequence[Case]) -> list[str]:
    """Ids of the cases whose answers different people prefer differently (WikiPersona's divergent questions)."""
    sides: dict[tuple[str, frozenset[str]], set[str]] = {}
    for case in cases:
        sides.setdefault(_question(case), set()).add(case.chosen)
    return [case.id for case in cases if len(sides[_question(case)]) > 1]


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


def _question(case: Case) -> tuple[str, frozenset[str]]:
    return case.prompt, frozenset((case.chosen, case.rejected))
