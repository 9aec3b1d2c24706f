"""Keeps new prompts if people they were not found on score better (Student's t over people), at hardly more tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hyperalign.errors import InputError

from .artifact import Verdict
from .metric import ExampleScore

__all__ = ["compare_examples", "decide", "decide_unchanged"]

_MAX_TOKEN_RATIO = 1.2
_LEVEL = 0.95
_POWER = 0.8
_MIN_PEOPLE = 2
_ROUNDING = 1e-9


def decide(before: Sequence[ExampleScore], after: Sequence[ExampleScore], leaks: Sequence[str]) -> Verdict:
    """Decide between two sets of prompts by the same people's scores.

    Args:
        before: scores with the old prompts.
        after: scores with the new prompts, in the same order.
        leaks: what the new prompts leak, in words.

    Raises:
        InputError: there are fewer than two people.
    """
    old, new = _average_by_person(before), _average_by_person(after)
    differences = new - old
    error = float(differences.std(ddof=1) / math.sqrt(len(differences)))
    mean, t = float(differences.mean()), float(special.stdtrit(len(differences) - 1, (1 + _LEVEL) / 2))
    low, high = mean - t * error, mean + t * error
    tokens_before, tokens_after = (fmean(each.tokens for each in scores) for scores in (before, after))
    ratio = tokens_after / tokens_before if tokens_before else 1.0
    if leaks:
        reason = f"it gives away {leaks[0]}"
    elif low <= 0:
        reason = "no improvement found: the interval of the difference includes zero"
    elif ratio > _MAX_TOKEN_RATIO:
        reason = f"better, but {ratio:.2f} times as many tokens per answer"
    else:
        reason = "better for people that it was not found on"
    return Verdict(
        kept=not leaks and low > 0 and ratio <= _MAX_TOKEN_RATIO,
        reason=reason,
        before=float(old.mean()),
        after=float(new.mean()),
        difference=mean,
        low=low,
        high=high,
        people=len(old),
        **_detectable_effect(old, error),
        tokens_before=tokens_before,
        tokens_after=tokens_after,
    )


def decide_unchanged(before: Sequence[ExampleScore], reason: str) -> Verdict:
    """The verdict of a search that found no new prompts.

    Args:
        before: scores with the old prompts.
        reason: why nothing was found, in a sentence.

    Raises:
        InputError: there are fewer than two people.
    """
    same = decide(before, before, [])
    return same.model_copy(update={"reason": reason, "compared": False})


def compare_examples(before: Sequence[ExampleScore], after: Sequence[ExampleScore]) -> tuple[dict[str, Any], ...]:
    """Score and tokens of each example with the old and the new prompts, for an analysis by kinds of people."""
    return tuple(
        {
            "user": old.user,
            "before": round(old.score, 6),
            "after": round(new.score, 6),
            "tokens_before": old.tokens,
            "tokens_after": new.tokens,
        }
        for old, new in zip(before, after, strict=True)
    )


def _detectable_effect(scores: NDArray[np.float64], error: float) -> dict[str, Any]:
    """The minimum detectable effect, by the standard error of the difference or, without one, of independent scores."""
    bound = error <= _ROUNDING
    if bound:
        error = math.sqrt(2 / len(scores)) * float(scores.std(ddof=1))
    if error <= _ROUNDING:
        return {"minimum_detectable_effect": None, "bound": False}
    quantiles = sum(float(special.stdtrit(len(scores) - 1, share)) for share in ((1 + _LEVEL) / 2, _POWER))
    return {"minimum_detectable_effect": quantiles * error, "bound": bound}


def _average_by_person(scores: Sequence[ExampleScore]) -> NDArray[np.float64]:
    """Each person's mean score, in the order of their first examples."""
    by_person: dict[str, list[float]] = {}
    for each in scores:
        by_person.setdefault(each.user, []).append(each.score)
    if len(by_person) < _MIN_PEOPLE:
        raise InputError(
            f"Too few people to compare prompts on: {len(by_person)}.",
            remedy=f"Give at least {_MIN_PEOPLE}: an interval over people needs several.",
        )
    return np.array([fmean(theirs) for theirs in by_person.values()])
