"""Whether what a search found is kept: better for people it was not found on, by more than chance, and not much longer.

This file runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from hyperalign.errors import InputError

from .artifact import Verdict
from .metric import ExampleScore

__all__ = ["compare_examples", "decide", "decide_unchanged"]

MOST_TOKENS = 1.2
"""How many times as many tokens an answer may take."""
_LEVEL = 0.95
_POWER = 0.8
_LEAST_PEOPLE = 2
_NIL = 1e-9  # what rounding leaves of equal scores

Scores = npt.NDArray[np.float64]


def decide(before: Sequence[ExampleScore], after: Sequence[ExampleScore], leaks: Sequence[str]) -> Verdict:
    """Compare the same people's scores under two sets of prompts, by Student's t over people.

    Args:
        before: under the prompts as they were.
        after: under the new ones, example by example.
        leaks: what the new prompts give away, in words.

    Raises:
        InputError: they are of fewer than two people.
    """
    olds, news = _by_person(before), _by_person(after)
    means = news - olds
    error = float(means.std(ddof=1) / math.sqrt(len(means)))
    mean, reach = float(means.mean()), float(special.stdtrit(len(means) - 1, (1 + _LEVEL) / 2))
    low, high = mean - reach * error, mean + reach * error
    tokens_before, tokens_after = (fmean(each.tokens for each in measured) for measured in (before, after))
    longer = tokens_after / tokens_before if tokens_before else 1.0
    if leaks:
        reason = f"it gives away {leaks[0]}"
    elif low <= 0:
        reason = "no improvement found: the interval of the difference holds zero"
    elif longer > MOST_TOKENS:
        reason = f"better, but {longer:.2f} times as many tokens an answer"
    else:
        reason = "better for people that it was not found on"
    return Verdict(
        kept=not leaks and low > 0 and longer <= MOST_TOKENS,
        reason=reason,
        before=float(olds.mean()),
        after=float(news.mean()),
        difference=mean,
        low=low,
        high=high,
        people=len(means),
        **_detectable(olds, error),
        tokens_before=tokens_before,
        tokens_after=tokens_after,
    )


def decide_unchanged(before: Sequence[ExampleScore], reason: str) -> Verdict:
    """The verdict where there is nothing to compare: the search came to the prompts that were there.

    Args:
        before: scores under them.
        reason: why nothing was found, in a sentence.

    Raises:
        InputError: they are of fewer than two people.
    """
    olds = _by_person(before)
    tokens = fmean(each.tokens for each in before)
    return Verdict(
        kept=False,
        reason=reason,
        before=float(olds.mean()),
        after=float(olds.mean()),
        difference=0.0,
        low=0.0,
        high=0.0,
        people=len(olds),
        **_detectable(olds, 0.0),
        compared=False,
        tokens_before=tokens,
        tokens_after=tokens,
    )


def compare_examples(before: Sequence[ExampleScore], after: Sequence[ExampleScore]) -> tuple[dict[str, Any], ...]:
    """What each example scored and took under both, so that figures can be split by what people are like afterwards."""
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


def _detectable(scores: Scores, error: float) -> dict[str, Any]:
    """What could have been seen: by the difference's standard error, else by that of two unrelated scores."""
    bound = error <= _NIL
    if bound:
        error = math.sqrt(2 / len(scores)) * float(scores.std(ddof=1))
    if error <= _NIL:
        return {"minimum_detectable_effect": None, "bound": False}
    quantiles = sum(float(special.stdtrit(len(scores) - 1, share)) for share in ((1 + _LEVEL) / 2, _POWER))
    return {"minimum_detectable_effect": quantiles * error, "bound": bound}


def _by_person(measured: Sequence[ExampleScore]) -> Scores:
    """Each person's mean score, in the order of their first examples."""
    scores: dict[str, list[float]] = {}
    for each in measured:
        scores.setdefault(each.user, []).append(each.score)
    if len(scores) < _LEAST_PEOPLE:
        raise InputError(
            f"There {'is' if len(scores) == 1 else 'are'} {len(scores)} {'person' if len(scores) == 1 else 'people'} "
            "to compare prompts on.",
            remedy=f"Give at least {_LEAST_PEOPLE}: an interval over people wants several.",
        )
    return np.array([fmean(theirs) for theirs in scores.values()])
