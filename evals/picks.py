"""What an arm picks by the best means that it has: a tested profile by its tests, everything else as it chooses anyway.

This file runs no model of its own: it is handed a judge.
"""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.programs.judge import Judge

from .arms import Arm
from .cases import Case
from .metrics.win import win
from .roles import GOLD

__all__ = ["judged", "picks"]

_TESTED = "verified"
"""The strategy whose profile is tested, and can judge."""
_PICKS = {"accuracy": "pick", "own_over_other": "pick_own_over_other"}


def judged(case: Case, arm: Arm, judge: Judge) -> dict[str, float]:
    """``pick`` and ``pick_own_over_other`` of an arm whose profile was tested; nothing for any other.

    Args:
        case: two answers.
        arm: a strategy or a control.
        judge: reads answers for kept statements and measured style.
    """
    if arm.strategy.name != _TESTED or arm.name == GOLD:
        return {}

    def probability(profile: Profile) -> float:
        return float(judge(prompt=case.prompt, answers=[case.chosen, case.rejected], profile=profile).probabilities[0])

    own = probability(arm.profile)
    found = {"pick": win(own, 0.5)}
    return found | ({"pick_own_over_other": win(own, probability(arm.other))} if arm.other is not None else {})


def picks(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Scores by arm; where some arm was judged, those that were not pick as they are accurate."""
    if not any("pick" in found for found in scores.values()):
        return scores
    return {
        arm: {**{pick: found[metric] for metric, pick in _PICKS.items() if metric in found}, **found}
        for arm, found in scores.items()
    }
