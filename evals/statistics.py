"""How sure a figure is: intervals, paired differences and tests over people, never over cases.

Cases of one person resemble each other, so a person (or another cluster) is the unit. Each
unit weighs the same, however many cases it has: a figure says what to expect of the next
person. Student's t over the units' means was chosen by simulation against a percentile
bootstrap and a cluster-robust ratio (``tests/evals/test_statistics.py`` repeats it): the other
two cover too little below 20 units. This file knows no task and no model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hyperalign.errors import InputError

__all__ = [
    "Change",
    "Estimate",
    "clusters_needed",
    "difference",
    "estimate",
    "holm",
    "mcnemar",
    "ratio",
    "sign_flip_p",
]

_EXACT_UP_TO = 14
_DRAWN_FLIPS = 10_000

ByCluster = Mapping[str, Sequence[float]]
"""Scores of cases by cluster; a cluster without cases is no cluster."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over clusters with its interval.

    Attributes:
        mean: mean of the clusters' means.
        low: lower end of the interval; NaN with fewer than two clusters.
        high: upper end.
        n_clusters: how many clusters.
        n_cases: how many cases in all.
    """

    mean: float
    low: float
    high: float
    n_clusters: int
    n_cases: int


@dataclass(frozen=True, slots=True)
class Change:
    """How a share of yes changed between two ways of meeting the same cases.

    Attributes:
        mean: the difference of the shares.
        low: lower end of its interval.
        high: upper end.
        gained: cases that said yes now and not before.
        lost: cases that said yes before and not now.
        n_cases: how many cases in all.
        p: exact two-sided p of no change.
    """

    mean: float
    low: float
    high: float
    gained: int
    lost: int
    n_cases: int
    p: float


def estimate(scores: ByCluster, *, level: float = 0.95, share: bool = False) -> Estimate:
    """Mean and interval by Student's t over the clusters' means, with one degree of freedom less than clusters.

    A share lies between 0 and 1: its interval is cut there. Where all clusters are at one end, t would claim
    certainty; then the other end of the interval is the share at which as many clusters in a row would be seen in
    one sample of forty (Clopper and Pearson 1934). Near a bound (above about 0.9 from few cases each) t still
    covers too little: read such intervals as the least width there is.

    Args:
        scores: one or more cases a cluster.
        level: share of intervals that should hold the truth.
        share: whether scores lie between 0 and 1.

    Raises:
        InputError: there is no case.
    """
    means = cluster_means(scores)
    cases = sum(len(values) for values in scores.values())
    mean = float(means.mean())
    if len(means) < 2:
        return Estimate(mean, math.nan, math.nan, len(means), cases)
    if share and mean in {0.0, 1.0}:
        reach = 1.0 - ((1.0 - level) / 2) ** (1.0 / len(means))
        return Estimate(mean, max(0.0, mean - reach), min(1.0, mean + reach), len(means), cases)
    half = float(stats.t.ppf((1 + level) / 2, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means)))
    low, high = mean - half, mean + half
    return Estimate(mean, max(0.0, low) if share else low, min(1.0, high) if share else high, len(means), cases)


def difference(ours: ByCluster, theirs: ByCluster, *, level: float = 0.95) -> Estimate:
    """How much higher one strategy scores than another on the same cases.

    Args:
        ours: scores by cluster.
        theirs: the other strategy's, on the same cases in the same order.
        level: share of intervals that should hold the truth.

    Raises:
        InputError: the cases are not the same.
    """
    return estimate(_paired(ours, theirs), level=level)


def ratio(ours: ByCluster, whole: ByCluster, *, level: float = 0.95) -> Estimate:
    """How much of a distance is covered: one mean over another, both over clusters, with Fieller's interval (1954).

    Args:
        ours: what is covered, by cluster.
        whole: the distance itself, on the same cases in the same order.
        level: share of intervals that should hold the truth.

    Returns:
        The ratio; its ends are NaN where the distance may as well be nothing, as then no finite interval would do.

    Raises:
        InputError: the cases are not the same, or the distance is zero.
    """
    _paired(ours, whole)
    part, distance = cluster_means({name: ours[name] for name in whole}), cluster_means(whole)
    clusters, cases = len(distance), sum(len(values) for values in whole.values())
    above, below = float(part.mean()), float(distance.mean())
    if below == 0:
        raise InputError("There is no distance to cover.", remedy="Compare with something that is above chance.")
    if clusters < 2:
        return Estimate(above / below, math.nan, math.nan, clusters, cases)
    spread = np.cov(part, distance) / clusters * float(stats.t.ppf((1 + level) / 2, clusters - 1)) ** 2
    # All ratios r at which the mean of part - r * distance is not told from zero: between the roots of a parabola.
    curve, slope, at_zero = below**2 - spread[1, 1], above * below - spread[0, 1], above**2 - spread[0, 0]
    if curve <= 0:
        return Estimate(above / below, math.nan, math.nan, clusters, cases)
    half = math.sqrt(max(0.0, slope**2 - curve * at_zero))
    return Estimate(above / below, (slope - half) / curve, (slope + half) / curve, clusters, cases)


def mcnemar(ours: Sequence[bool], theirs: Sequence[bool], *, level: float = 0.95) -> Change:
    """How the share of yes changed between two ways of meeting the same cases.

    The interval is Bonett and Price's adjusted Wald (2012), which holds where few cases changed; p is McNemar's exact
    two-sided one (1947).

    Args:
        ours: yes or no, by case.
        theirs: the same cases met the other way.
        level: share of intervals that should hold the truth.

    Raises:
        InputError: there is no case, or the cases are not the same.
    """
    if not ours or len(ours) != len(theirs):
        raise InputError(
            "There are no cases to compare, or not the same ones.", remedy="Meet the same cases both ways."
        )
    pairs = list(zip(ours, theirs, strict=True))
    gained, lost = pairs.count((True, False)), pairs.count((False, True))
    n = len(pairs)
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    center = up - down
    return Change((gained - lost) / n, max(-1.0, center - half), min(1.0, center + half), gained, lost, n, round(p, 5))


def sign_flip_p(ours: ByCluster, theirs: ByCluster, *, seed: int = 0) -> float:
    """One-sided p that one strategy is no better than another: the clusters' mean differences with their signs flipped.

    Exact up to 14 clusters (Pitman 1937); above, 10,000 flips are drawn, and the data's own are one of them.

    Args:
        ours: scores by cluster.
        theirs: the other strategy's, on the same cases in the same order.
        seed: of the drawn flips.

    Raises:
        InputError: the cases are not the same.
    """
    means = cluster_means(_paired(ours, theirs))
    # A hair's width: equal sums must not differ by their rounding.
    return float(np.mean(_flips(len(means), seed) @ means >= means.sum() - 1e-12))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p values (Holm 1979): any below 0.05 is a finding, with 5 % chance of even one false one.

    Args:
        p_values: one for each strategy that was compared.
    """
    adjusted: dict[str, float] = {}
    least = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = least
    return {name: adjusted[name] for name in p_values}


def clusters_needed(
    found: Estimate, p: float, *, claims: int = 1, sided: int = 1, level: float = 0.95, power: float = 0.8
) -> int | None:
    """How many clusters would settle whether a difference is real, if it and its spread are as found.

    Args:
        found: a difference with its interval.
        p: of it, by flipping signs, adjusted over the claims; the question is open where it is above 1 - ``level``.
        claims: how many p values are adjusted together.
        sided: 1 where only what is above zero is claimed, 2 for either way.
        level: of that interval, and of the one to come.
        power: chance that the coming interval excludes zero.

    Returns:
        More than there were, and no fewer than can have so small a p; None where it is settled, or no number would do.
    """
    settled = p <= 1 - level or (sided == 1 and found.mean < 0)
    if settled or found.n_clusters < 2 or found.mean == 0 or math.isnan(found.low):
        return None
    t = float(stats.t.ppf((1 + level) / 2, found.n_clusters - 1))
    spread = (found.high - found.mean) / t * math.sqrt(found.n_clusters)
    reach = float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power))
    # All flips together can make p no smaller than this.
    fewest = math.ceil(math.log2(claims * sided / (1 - level)))
    return max(fewest, found.n_clusters + 1, math.ceil((reach * spread / found.mean) ** 2))


def cluster_means(scores: ByCluster) -> NDArray[np.float64]:
    """Mean score of each cluster that has a case, in order.

    Raises:
        InputError: none has.
    """
    means = [math.fsum(values) / len(values) for values in scores.values() if len(values)]
    if not means:
        raise InputError("There is no case to average.", remedy="Choose more users, or look at the errors of the run.")
    return np.array(means, dtype=np.float64)


@lru_cache(maxsize=4)
def _flips(clusters: int, seed: int) -> NDArray[np.float64]:
    """Signs of shape (flips, clusters): all of them, or some drawn beside the data's own."""
    if clusters <= _EXACT_UP_TO:
        return np.asarray(1.0 - 2.0 * ((np.arange(2**clusters)[:, None] >> np.arange(clusters)) & 1), np.float64)
    drawn = np.random.default_rng(seed).integers(0, 2, size=(_DRAWN_FLIPS - 1, clusters))
    return np.vstack([np.ones(clusters), 1.0 - 2.0 * drawn])


def _paired(ours: ByCluster, theirs: ByCluster) -> dict[str, list[float]]:
    if {name: len(values) for name, values in ours.items()} != {name: len(values) for name, values in theirs.items()}:
        raise InputError(
            "The two sides were not scored on the same cases.", remedy="Compare runs of one task, seed and --users."
        )
    return {name: [a - b for a, b in zip(ours[name], theirs[name], strict=True)] for name in ours}
