"""Whether what a search found is kept: better for people it was not found on, by more than chance, and not much longer.

This file runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import stats

from .watched import Measured

__all__ = ["Verdict", "decide"]

MOST_TOKENS = 1.2
"""How many times as many tokens an answer may take."""
_LEVEL = 0.95
_POWER = 0.8


class Verdict(BaseModel):
    """What came of a search.

    Attributes:
        kept: whether the new prompts are used.
        reason: why, or why not, in a sentence.
        before: mean score of the validation people with the prompts as they were.
        after: with the new ones.
        difference: the people's mean difference.
        low: lower end of its 95 % interval.
        high: upper end.
        people: how many there were.
        detectable: the difference that so many people would have shown in four of five searches, spread as they were.
        tokens_before: of an answer, prompt included.
        tokens_after: with the new prompts.
    """

    model_config = ConfigDict(frozen=True)

    kept: bool
    reason: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    people: int
    detectable: float
    tokens_before: float
    tokens_after: float


def decide(before: Sequence[Measured], after: Sequence[Measured], leaks: Sequence[str]) -> Verdict:
    """Compare the same people's scores under two sets of prompts, by Student's t over people.

    Args:
        before: under the prompts as they were.
        after: under the new ones, example by example.
        leaks: what the new prompts give away, in words.
    """
    apart: dict[str, list[float]] = {}
    for old, new in zip(before, after, strict=True):
        apart.setdefault(old.user, []).append(new.score - old.score)
    means = np.array([fmean(values) for values in apart.values()])
    error = float(means.std(ddof=1) / math.sqrt(len(means)))
    mean, reach = float(means.mean()), float(stats.t.ppf((1 + _LEVEL) / 2, len(means) - 1))
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
        before=fmean(each.score for each in before),
        after=fmean(each.score for each in after),
        difference=mean,
        low=low,
        high=high,
        people=len(means),
        detectable=(reach + float(stats.t.ppf(_POWER, len(means) - 1))) * error,
        tokens_before=tokens_before,
        tokens_after=tokens_after,
    )
