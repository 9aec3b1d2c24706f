"""Controls of every eval: somebody else's profile, and the person's own turned around.

A profile that helps no more than a stranger's is no personalization, and one that helps as much
when it is inverted says nothing. This file only builds profiles and pairs people; it runs no model.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Measurement, Profile

from .cases import Case
from .metrics.choice import FEATURES, vote, vote_condition

__all__ = ["divergent", "inverted", "votes", "wrong_users"]


def wrong_users(cases: Sequence[Case], seed: int) -> Mapping[str, Case]:
    """For each case, a case of somebody else, whose profile stands in for the person's own.

    Users (or personas) are turned against each other in one seeded cycle, so that nobody gets their own and everybody's
    profile is used about as often; each case then takes one of that user's in turn. A stranger whose history holds this
    very case's answers is passed over, as their profile would have seen them.

    Args:
        cases: of at least two users, or of two personas.
        seed: draws the cycle.

    Returns:
        The stranger's case, by case id.

    Raises:
        InputError: all cases are one user's.
    """
    by_user: dict[str, list[Case]] = {}
    for case in cases:
        by_user.setdefault(case.kind_of_person, []).append(case)
    if len(by_user) < 2:
        raise InputError(
            "Another user's profile is needed to compare with, but all cases are one user's.",
            remedy="Ask for at least two --users, or switch this control off.",
        )
    cycle = sorted(by_user)
    random.Random(seed).shuffle(cycle)
    strangers = dict(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    found: dict[str, Case] = {}
    for user, own in by_user.items():
        theirs = by_user[strangers[user]]
        for number, case in enumerate(own):
            turned = [theirs[(number + step) % len(theirs)] for step in range(len(theirs))]
            found[case.id] = next((other for other in turned if not _has_seen(other, case)), turned[0])
    return found


def divergent(cases: Sequence[Case]) -> list[str]:
    """Ids of the cases about which people differ: the same two answers, and not everybody prefers the same one."""
    sides: dict[tuple[str, frozenset[str]], set[str]] = {}
    for case in cases:
        sides.setdefault(_question(case), set()).add(case.chosen)
    return [case.id for case in cases if len(sides[_question(case)]) > 1]


def votes(case: Case) -> dict[str, dict[str, float]]:
    """What each feature vote scores in a choice case, by condition and metric."""
    return {
        vote_condition(name): {"accuracy": vote(name, case.records, case.chosen, case.rejected)} for name in FEATURES
    }


def inverted(profile: Profile) -> Profile:
    """The same profile with every statement turned to its opposite, its direction reversed and measured style mirrored
    about the usual; statements that have no opposite are left out.

    Examples and stated preferences are left out too: nobody wrote their opposite.

    Args:
        profile: the person's own.
    """
    # What was dropped, too: strategies that test nothing say it.
    turned, dropped = (
        [_turned(hypothesis) for hypothesis in some if hypothesis.opposite]
        for some in (profile.hypotheses, profile.dropped)
    )
    changed = {
        "hypotheses": turned,
        "dropped": dropped,
        "direction": {name: 1.0 - probability for name, probability in profile.direction.items()},
        "style": {name: _mirrored(measurement) for name, measurement in profile.style.items()},
    }
    return profile.model_copy(update={**changed, "examples": [], "stated": []})


def _turned(hypothesis: Hypothesis) -> Hypothesis:
    return hypothesis.model_copy(update={"statement": hypothesis.opposite, "opposite": hypothesis.statement})


def _mirrored(found: Measurement) -> Measurement:
    return found.model_copy(update={"value": 2 * found.reference - found.value, "z": -found.z})


def _question(case: Case) -> tuple[str, frozenset[str]]:
    return case.prompt, frozenset((case.chosen, case.rejected))


def _has_seen(other: Case, case: Case) -> bool:
    answers = {case.chosen, case.rejected, case.reference} - {""}
    return any(
        getattr(record, field, "") in answers
        for record in other.records
        for field in ("text", "chosen", "rejected", "draft", "edited")
    )
