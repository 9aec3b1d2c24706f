"""Whether probabilities mean what they say: log loss, expected calibration error, reliability, and a learned slope.

A probability is that of the answer which the person preferred, so the two answers have no order: a prediction is the
likelier answer, its confidence is at least one half, and it is right or wrong (Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from ..cases import Case, fold_people

__all__ = [
    "Calibration",
    "ReliabilityBin",
    "calibrate",
    "cluster_weights",
    "expected_calibration_error",
    "expected_error_if_calibrated",
    "fit_slope",
    "log_loss",
    "reliability",
    "to_log_odds",
    "to_probability",
]

Array = NDArray[np.float64]

BINS = 10
_LEAST = 1e-6  # a wrong answer that was held to be sure costs 14 nats, not infinitely many
_STEEPEST = 20.0
_DRAWS = 200
_DIGITS = 6
_LEAST_GAIN = 0.002  # nats of log loss that a slope must save for probabilities that are already there


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predictions of like confidence.

    Attributes:
        confidence: their mean confidence, from one half.
        accuracy: the share of them that is right.
        share: the share of all predictions that they are.
    """

    confidence: float
    accuracy: float
    share: float


def log_loss(probability: float) -> float:
    """The negative log-probability of what the person preferred, in nats; a coin has 0.693."""
    return float(-np.log(max(probability, _LEAST)))


@dataclass(frozen=True)
class Calibration:
    """The slope that turns a condition's scores into log-odds.

    Attributes:
        slope: learned on all dev people; 1 where the condition's own probabilities are better.
        by_fold: for a dev person, learned on dev people of the other folds.
        folds: of the dev people's clusters.
        dev: log loss and expected calibration error on dev people, before and after cross-fitting, if there are any.
    """

    slope: float
    by_fold: tuple[float, ...] = ()
    folds: Mapping[str, int] = field(default_factory=dict)
    dev: Mapping[str, float] = field(default_factory=dict)

    def log_odds(self, case: Case, score: float) -> float:
        """The log-odds of the preferred answer."""
        fold = self.folds.get(case.cluster) if case.split == "dev" else None
        return score * (self.slope if fold is None else self.by_fold[fold])

    def probability(self, case: Case, score: float) -> float:
        """The probability of the preferred answer."""
        return to_probability(self.log_odds(case, score))


def reliability(
    probabilities: ArrayLike, weights: ArrayLike | None = None, *, bins: int = BINS
) -> list[ReliabilityBin]:
    """Predictions in bins of equal weight, by rising confidence; equal confidences share a bin, and empty bins are left
    out.

    Args:
        probabilities: of the preferred answers, shape (n,).
        weights: how much each prediction counts; all alike if None.
        bins: how many.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    confidence, correct = np.maximum(given, 1 - given), np.where(given == 0.5, 0.5, given > 0.5)
    return _bins(confidence, correct, _weigh(weights, len(given)), bins)


def expected_calibration_error(
    probabilities: ArrayLike, weights: ArrayLike | None = None, *, bins: int = BINS
) -> float:
    """The mean distance between confidence and accuracy over bins of equal weight (Naeini et al. 2015).

    Args:
        probabilities: of the preferred answers, shape (n,), at least one.
        weights: how much each prediction counts; all alike if None.
        bins: how many.
    """
    return _error(reliability(probabilities, weights, bins=bins))


def expected_error_if_calibrated(
    probabilities: ArrayLike, weights: ArrayLike | None = None, *, bins: int = BINS, seed: int = 0
) -> float:
    """The calibration error that the same probabilities would have by chance, if they were exactly right.

    With few cases the error is above zero for perfect probabilities too, so this is what it must be compared with.

    Args:
        probabilities: of the preferred answers, shape (n,), at least one.
        weights: how much each prediction counts; all alike if None.
        bins: how many.
        seed: of the simulated answers.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    confidence, shares = np.maximum(given, 1 - given), _weigh(weights, len(given))
    draw = np.random.default_rng(seed)
    correct = (draw.random((_DRAWS, len(given))) < confidence).astype(np.float64)
    return float(np.mean([_error(_bins(confidence, row, shares, bins)) for row in correct]))


def fit_slope(scores: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The slope of a logistic function of scores that predicts best; zero where they predict nothing.

    Args:
        scores: above zero where they speak for the preferred answer, shape (n,); their unit does not matter.
        weights: how much each counts; all alike if None.
    """
    given = np.asarray(scores, dtype=np.float64)
    counts = np.ones(len(given)) if weights is None else np.asarray(weights, dtype=np.float64)
    unit = float(np.sqrt(np.mean(given**2))) if len(given) else 0.0
    if unit == 0.0:
        return 0.0

    def loss(slope: float) -> float:
        # Half a right and half a wrong case: scores that were never wrong are not sure for ever.
        backing = 0.5 * (np.logaddexp(0.0, -slope) + np.logaddexp(0.0, slope))
        return float(counts @ np.logaddexp(0.0, -slope * given / unit) + backing)

    return float(optimize.minimize_scalar(loss, bounds=(0.0, _STEEPEST), method="bounded").x) / unit


def calibrate(cases: Sequence[Case], scores: Mapping[str, float], *, are_log_odds: bool) -> Calibration:
    """Learn a slope on dev people.

    Args:
        cases: of dev people.
        scores: by case id.
        are_log_odds: whether the scores are log-odds already; the slope is then used only where cross-fitting shows
            that it predicts better.
    """
    known = [case for case in cases if case.id in scores]
    if not known:
        return Calibration(1.0)
    folds = fold_people({case.cluster for case in known})
    values = np.array([scores[case.id] for case in known])
    weights = cluster_weights(known)
    parts = np.array([folds[case.cluster] for case in known])
    slopes = [fit_slope(values[parts != part], weights[parts != part]) for part in range(parts.max() + 1)]
    before, after = (
        np.array([to_probability(value) for value in scaled]) for scaled in (values, values * np.array(slopes)[parts])
    )
    losses = [float(weights @ np.array([log_loss(p) for p in each]) / weights.sum()) for each in (before, after)]
    dev = {
        "log_loss_before": losses[0],
        "log_loss_after": losses[1],
        "ece_before": expected_calibration_error(before, weights),
        "ece_after": expected_calibration_error(after, weights),
    }
    if are_log_odds and losses[0] - losses[1] < _LEAST_GAIN:
        return Calibration(1.0, (1.0,) * len(slopes), folds, dev)
    return Calibration(fit_slope(values, weights), tuple(slopes), folds, dev)


def cluster_weights(cases: Sequence[Case]) -> Array:
    """Weights of cases, so that all clusters weigh the same."""
    sizes: dict[str, int] = {}
    for case in cases:
        sizes[case.cluster] = sizes.get(case.cluster, 0) + 1
    return np.array([1.0 / sizes[case.cluster] for case in cases])


def to_log_odds(probability: float) -> float:
    """Log-odds of a probability, kept finite."""
    held = min(max(probability, _LEAST), 1 - _LEAST)
    return float(np.log(held / (1 - held)))


def to_probability(log_odds: float) -> float:
    """The probability of log-odds."""
    return float(1.0 / (1.0 + np.exp(-np.clip(log_odds, -40.0, 40.0))))


def _weigh(weights: ArrayLike | None, count: int) -> Array:
    shares = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    whole: Array = shares / max(float(shares.sum()), 1e-12)
    return whole


def _bins(confidence: Array, correct: Array, shares: Array, bins: int) -> list[ReliabilityBin]:
    # Equal confidences share a bin: in bins of their own, chance would part them.
    _, groups = np.unique(confidence.round(_DIGITS), return_inverse=True)
    weights = np.bincount(groups, shares)
    # By the middle of each group's stretch of the whole weight, so that bins of equal weights are equal.
    middles = np.cumsum(weights) - weights / 2
    numbers = np.minimum((middles * bins).astype(int), bins - 1)[groups]
    found = []
    for number in range(bins):
        rows = numbers == number
        if weight := float(shares[rows].sum()):
            confident, right = (float(shares[rows] @ values[rows]) / weight for values in (confidence, correct))
            found.append(ReliabilityBin(confident, right, weight))
    return found


def _error(bins: list[ReliabilityBin]) -> float:
    return sum(each.share * abs(each.confidence - each.accuracy) for each in bins)
