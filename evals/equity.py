"""Whom a strategy helps and whom it harms: the same mean can hide both (WikiPersona, section 5, asks for equity).

People weigh the same, however many cases they have. This file reads scores; it runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Equity", "equity"]


@dataclass(frozen=True, slots=True)
class Equity:
    """How a strategy treats people.

    Attributes:
        n_users: how many.
        spread: standard deviation over people of their mean score.
        worst_decile: mean score of the tenth of people it serves worst, at least one of them.
        made_worse: share of people whose mean score lies below what they have without a profile; equal counts as not.
    """

    n_users: int
    spread: float
    worst_decile: float
    made_worse: float


def equity(scores: Mapping[str, Sequence[float]], without: Mapping[str, Sequence[float]] | float) -> Equity:
    """Equity of a strategy.

    Args:
        scores: by person.
        without: what they have without a profile, by person; or one value for all.
    """
    means = {user: float(np.mean(values)) for user, values in scores.items() if len(values)}
    ordered = np.sort(np.array(list(means.values()), dtype=np.float64))
    base = {
        user: without if isinstance(without, float | int) else float(np.mean(without[user]))
        for user in means
        if isinstance(without, float | int) or user in without
    }
    worse = [means[user] < value for user, value in base.items()]
    return Equity(
        n_users=len(means),
        spread=float(ordered.std(ddof=1)) if len(ordered) > 1 else 0.0,
        worst_decile=float(ordered[: max(1, math.ceil(len(ordered) / 10))].mean()) if len(ordered) else math.nan,
        made_worse=float(np.mean(worse)) if worse else math.nan,
    )
