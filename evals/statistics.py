"""Intervals, paired differences and tests over clusters of cases.

Cases of one person resemble each other, so the person (or another cluster) is the unit, and all units weigh the same.
Student's t over the clusters' means was chosen by simulation against a percentile bootstrap and a cluster-robust ratio,
which cover too little below 20 clusters (``tests/evals/test_statistics.py`` repeats it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hyperalign.errors import InputError

__all__ = [
    "Change",
    "Equity",
    "Estimate",
    "as_json",
    "clusters_needed",
    "difference",
    "equity",
    "estimate",
    "holm",
    "mcnemar",
    "ratio",
    "share_of_way",
    "sign_flip_p",
]

_EXACT_UP_TO = 14
_DRAWN_FLIPS = 10_000
_BATCH_CELLS = 2_000_000
"""Numbers of flips in memory at one time; all flips are kept as bits."""

ByCluster = Mapping[str, Sequence[float]]
"""Scores of cases by cluster; clusters without cases do not count."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over clusters with its interval.

    Attributes:
        mean: mean of the clusters' means.
        low: lower end of the interval; NaN with fewer than two clusters.
        high: upper end.
        n_clusters: number of clusters.
        n_cases: number of cases.
    """

    mean: float
    low: float
    high: float
    n_clusters: int
    n_cases: int


@dataclass(frozen=True, slots=True)
class Change:
    """How a share of yes changed between two conditions on the same cases.

    Attributes:
        mean: the difference of the shares.
        low: lower end of its interval.
        high: upper end.
        gained: cases that are yes now and were no before.
        lost: cases that were yes before and are no now.
        n_cases: number of cases.
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
    """Mean and interval by Student's t over the clusters' means.

    The interval of a share is cut at 0 and 1. Where all clusters are at one end, t would claim certainty, so the other
    end is Clopper and Pearson's (1934). Near an end (above about 0.9 from few cases each) t still covers too little:
    the true interval is wider.

    Args:
        scores: one or more cases a cluster.
        level: of confidence.
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
    """The mean of paired differences between two conditions, with its interval.

    Args:
        ours: scores by cluster.
        theirs: of the other condition, on the same cases in the same order.
        level: of confidence.

    Raises:
        InputError: the cases are not the same.
    """
    return estimate(_paired(ours, theirs), level=level)


def ratio(ours: ByCluster, whole: ByCluster, *, level: float = 0.95) -> Estimate:
    """The ratio of two means over clusters, with Fieller's interval (1954).

    Args:
        ours: the numerator, by cluster.
        whole: the denominator, on the same cases in the same order.
        level: of confidence.

    Returns:
        The ratio; its ends are NaN where no finite interval exists, as the denominator may be zero.

    Raises:
        InputError: the cases are not the same, or the denominator is zero.
    """
    _paired(ours, whole)
    part, distance = cluster_means({name: ours[name] for name in whole}), cluster_means(whole)
    clusters, cases = len(distance), sum(len(values) for values in whole.values())
    above, below = float(part.mean()), float(distance.mean())
    if below == 0:
        raise InputError("The ratio's denominator is zero.", remedy="Compare with something that is above chance.")
    if clusters < 2:
        return Estimate(above / below, math.nan, math.nan, clusters, cases)
    spread = np.cov(part, distance) / clusters * float(stats.t.ppf((1 + level) / 2, clusters - 1)) ** 2
    # The ratios r at which part - r * distance does not differ from zero lie between the roots of a parabola.
    curve, slope, at_zero = below**2 - spread[1, 1], above * below - spread[0, 1], above**2 - spread[0, 0]
    if curve <= 0:
        return Estimate(above / below, math.nan, math.nan, clusters, cases)
    half = math.sqrt(max(0.0, slope**2 - curve * at_zero))
    return Estimate(above / below, (slope - half) / curve, (slope + half) / curve, clusters, cases)


def share_of_way(ours: ByCluster, start: ByCluster, end: ByCluster, *, level: float = 0.95) -> Estimate | None:
    """How much of the way from one condition to a higher one a third has come, with Fieller's interval.

    Args:
        ours: scores by cluster.
        start: where 0 is.
        end: where 1 is.
        level: of confidence.

    Returns:
        None where the end is no higher than the start, or the three were not scored on the same cases.
    """
    ours_sizes, *sizes = ({name: len(values) for name, values in each.items()} for each in (ours, start, end))
    if any(each != ours_sizes for each in sizes):
        return None
    way = _paired(end, start)
    return ratio(_paired(ours, start), way, level=level) if cluster_means(way).mean() > 0 else None


def mcnemar(ours: Sequence[bool], theirs: Sequence[bool], *, level: float = 0.95) -> Change:
    """How the share of yes changed between two conditions on the same cases.

    The interval is Bonett and Price's adjusted Wald interval (2012), which holds where few cases changed; p is
    McNemar's exact two-sided p (1947).

    Args:
        ours: yes or no, by case.
        theirs: of the condition before, on the same cases.
        level: of confidence.

    Raises:
        InputError: there is no case, or the cases are not the same.
    """
    if not ours or len(ours) != len(theirs):
        raise InputError(
            "There are no cases to compare, or not the same ones.", remedy="Run both conditions on the same cases."
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
    """One-sided p of a sign-flip test over the clusters' mean differences.

    Exact up to 14 clusters (Pitman 1937); above, from 10,000 random flips, one of which is the data's own.

    Args:
        ours: scores by cluster.
        theirs: of the other condition, on the same cases in the same order.
        seed: of the random flips.

    Raises:
        InputError: the cases are not the same.
    """
    means = cluster_means(_paired(ours, theirs))
    packed = _flips(len(means), seed)
    # What each byte of eight clusters' bits takes off the sum: a flip is summed up by its bytes.
    eights = np.pad(means, (0, -len(means) % 8)).reshape(-1, 8)
    taken = 2.0 * eights @ np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).T
    places, batch = np.arange(len(eights)), max(1, _BATCH_CELLS // len(eights))
    # Sums that are equal but for rounding count as equal.
    most = 1e-12 * max(1.0, float(np.abs(means).sum()))
    batches = (packed[start : start + batch] for start in range(0, len(packed), batch))
    return sum(int((taken[places, some].sum(axis=1) <= most).sum()) for some in batches) / len(packed)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values adjusted for multiple comparisons (Holm 1979).

    Args:
        p_values: by strategy.
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
    """How many clusters would show whether a difference is real, if its mean and spread are as estimated.

    Args:
        found: a difference with its interval.
        p: of the difference, by flipping signs, adjusted over the claims.
        claims: how many p values are adjusted together.
        sided: 1 where only an improvement is claimed, 2 for either direction.
        level: of confidence, of that interval and the one to come.
        power: probability that the interval to come excludes zero.

    Returns:
        More clusters than there were, and enough for so small a p to exist; None where the question is settled (p is at
        most 1 - ``level``, or the difference is negative where an improvement is claimed) or no number would do.
    """
    settled = p <= 1 - level or (sided == 1 and found.mean < 0)
    if settled or found.n_clusters < 2 or found.mean == 0 or math.isnan(found.low):
        return None
    t = float(stats.t.ppf((1 + level) / 2, found.n_clusters - 1))
    spread = (found.high - found.mean) / t * math.sqrt(found.n_clusters)
    reach = float(stats.norm.ppf((1 + level) / 2) + stats.norm.ppf(power))
    # The smallest p is one over the number of flips.
    fewest = math.ceil(math.log2(claims * sided / (1 - level)))
    return max(fewest, found.n_clusters + 1, math.ceil((reach * spread / found.mean) ** 2))


def cluster_means(scores: ByCluster) -> NDArray[np.float64]:
    """Mean score of each cluster that has a case, in order.

    Raises:
        InputError: no cluster has a case.
    """
    means = [math.fsum(values) / len(values) for values in scores.values() if len(values)]
    if not means:
        raise InputError("There is no case to average.", remedy="Choose more users, or check the errors of the run.")
    return np.array(means, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Equity:
    """How a strategy's scores differ between people (after WikiPersona, section 5).

    Attributes:
        n_users: how many people.
        spread: standard deviation of people's mean scores.
        worst_decile: mean score of the tenth of people with the lowest scores, at least one of them.
        made_worse: share of people whose mean score is below theirs without a profile.
    """

    n_users: int
    spread: float
    worst_decile: float
    made_worse: float


def equity(scores: ByCluster, without: ByCluster | float) -> Equity:
    """Equity of a strategy; people weigh the same, however many cases they have.

    Args:
        scores: by person.
        without: scores without a profile, by person; or one value for all.
    """
    means = _means(scores)
    ordered = np.sort(np.array(list(means.values()), dtype=np.float64))
    bare = dict.fromkeys(means, without) if isinstance(without, float | int) else _means(without)
    worse = [mean < bare[user] for user, mean in means.items() if user in bare]
    return Equity(
        n_users=len(means),
        spread=float(ordered.std(ddof=1)) if len(ordered) > 1 else 0.0,
        worst_decile=float(ordered[: max(1, math.ceil(len(ordered) / 10))].mean()) if len(ordered) else math.nan,
        made_worse=float(np.mean(worse)) if worse else math.nan,
    )


def _means(scores: ByCluster) -> dict[str, float]:
    return {user: float(np.mean(values)) for user, values in scores.items() if len(values)}


@lru_cache(maxsize=4)
def _flips(clusters: int, seed: int) -> NDArray[np.uint8]:
    """Clusters to flip, a bit for each in each of many flips: all combinations, or the data's own and random ones."""
    if clusters <= _EXACT_UP_TO:
        return np.packbits((np.arange(2**clusters)[:, None] >> np.arange(clusters)) & 1, axis=1)
    rng, batch = np.random.default_rng(seed), max(1, _BATCH_CELLS // clusters)
    sizes = [(min(batch, _DRAWN_FLIPS - 1 - start), clusters) for start in range(0, _DRAWN_FLIPS - 1, batch)]
    own = np.packbits(np.zeros((1, clusters), dtype=np.uint8), axis=1)
    return np.vstack([own, *(np.packbits(rng.integers(0, 2, size=size), axis=1) for size in sizes)])


def _paired(ours: ByCluster, theirs: ByCluster) -> dict[str, list[float]]:
    if {name: len(values) for name, values in ours.items()} != {name: len(values) for name, values in theirs.items()}:
        raise InputError(
            "The two conditions were not scored on the same cases.",
            remedy="Compare runs with the same task, --seed and --users.",
        )
    return {name: [a - b for a, b in zip(ours[name], theirs[name], strict=True)] for name in ours}


def as_json(found: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON data, with null for NaN."""
    return {
        name: (None if isinstance(value, float) and math.isnan(value) else value)
        for name, value in asdict(found).items()
    }
