"""A person's reward as a distribution over weights: a prior from other people, and what the person's records add.

The reward of a text is linear in its features, ``r(x) = w @ x``. A choice between two texts is logistic in the
difference of their rewards (Bradley and Terry, 1952). A text that a person wrote comes from the density of texts of its
kind, tilted by the person's reward: ``p(x | w)`` is proportional to ``N(x; mean, within) * exp(w @ x)``, which is
normal again. With ``w = within**-1 @ (own mean - mean)`` this is the two-covariance model of speaker recognition
(Ioffe, 2006), so texts, corrections and choices add to one distribution. The posterior is normal for texts, and
Laplace's approximation with choices. People differ in how strong their tastes are: the prior is a mixture over scales
of one covariance, weighted by each scale's evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Context", "HeldOut", "Observations", "Posterior", "Prediction", "Prior", "infer_posterior"]

Array = NDArray[np.float64]

_STEPS = 50
_CLOSE = 1e-9
_NEGLIGIBLE = 1e-4
_NORMAL_90 = 1.6449
_PROBIT = math.pi / 8  # a logistic of a normal, MacKay (1992)
_KINDS: dict[str, str] = {
    "choice": "choices",
    "text": "texts, each against other people's",
    "edit": "corrections, each against other people's",
}


@dataclass(frozen=True)
class Context:
    """Texts of one kind, such as answers or corrections, by anybody.

    Attributes:
        mean: the mean of their features, shape (d,).
        within: the covariance of one person's texts, shape (d, d).
        shared: the covariance of what all texts of a genre share, whoever writes them, shape (d, d); None where the
            person's texts are known to be of the same genre as the population's.
    """

    mean: Array
    within: Array
    shared: Array | None = None

    def select(self, places: Sequence[int]) -> Context:
        """The same context in a part of the features, by their places."""
        grid = np.ix_(places, places)
        return Context(self.mean[places], self.within[grid], None if self.shared is None else self.shared[grid])


@dataclass(frozen=True)
class Prior:
    """The distribution of weights over people.

    Attributes:
        mean: shape (d,).
        covariance: shape (d, d).
        scales: standard deviations that the covariance may be multiplied with, shape (k,).
        scale_weights: the share of people of each scale, shape (k,).
        contexts: by kind of text; what people's own texts are compared with.
        temper: what log-odds are multiplied with, so that they are calibrated.
    """

    mean: Array
    covariance: Array
    contexts: Mapping[str, Context]
    scales: Array = field(default_factory=lambda: np.ones(1))
    scale_weights: Array = field(default_factory=lambda: np.ones(1))
    temper: float = 1.0

    @cached_property
    def precision(self) -> Array:
        """The inverse of the covariance, shape (d, d)."""
        return np.asarray(np.linalg.inv(self.covariance), dtype=np.float64)

    @cached_property
    def log_volume(self) -> float:
        """The logarithm of the covariance's determinant."""
        return float(np.linalg.slogdet(self.covariance)[1])


@dataclass(frozen=True)
class Observations:
    """What is known of one person, as features.

    Attributes:
        differences: features of the chosen text minus those of the other, shape (n, d).
        chosen: 1 where the first text was chosen, 0.5 for a tie, shape (n,).
        choice_weights: how much each choice counts, shape (n,).
        texts: features of own texts by context, each of shape (m, d).
        text_weights: how much each text counts, by context, each of shape (m,).
    """

    differences: Array
    chosen: Array
    choice_weights: Array
    texts: Mapping[str, Array] = field(default_factory=dict)
    text_weights: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        differences: Array | None = None,
        texts: Mapping[str, Array] | None = None,
        *,
        dimensions: int,
        chosen: Array | None = None,
        choice_weights: Array | None = None,
        text_weights: Mapping[str, Array] | None = None,
    ) -> Observations:
        """Observations that all count alike where no weights are given."""
        rows = np.zeros((0, dimensions)) if differences is None else differences
        found = dict(texts or {})
        weights = dict(text_weights or {})
        return cls(
            rows,
            np.ones(len(rows)) if chosen is None else chosen,
            np.ones(len(rows)) if choice_weights is None else choice_weights,
            found,
            {kind: weights.get(kind, np.ones(len(theirs))) for kind, theirs in found.items()},
        )

    def without_choice(self, row: int) -> Observations:
        """All but one choice."""
        return replace(
            self,
            differences=np.delete(self.differences, row, axis=0),
            chosen=np.delete(self.chosen, row),
            choice_weights=np.delete(self.choice_weights, row),
        )


@dataclass(frozen=True)
class Prediction:
    """The probability that the first of two texts is chosen.

    Attributes:
        probability: averaged over the posterior.
        low: the lower end of its 90 % interval.
        high: the upper end.
    """

    probability: float
    low: float
    high: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval lies on one side of one half."""
        return self.low > 0.5 or self.high < 0.5


@dataclass(frozen=True)
class HeldOut:
    """How well a person's own choices, texts or corrections were predicted, each from their other records.

    Attributes:
        count: how many were held out; the choices about one question are held out together, and count as one.
        picks: how many of them were predicted; of texts and corrections, each is the share of other people's that it
            was preferred to.
        low: the lower end of the 90 % interval of the share (Wilson).
        high: the upper end.
        log_loss: the mean negative log-probability of what they chose or wrote, in nats; a coin has 0.693.
        kind: of the records.
    """

    count: int
    picks: float
    low: float
    high: float
    log_loss: float
    kind: str = "choice"

    @classmethod
    def of(cls, found: Sequence[Array], kind: str = "choice") -> HeldOut:
        """Sum up the probabilities of what was chosen: those of each question, or of each record's comparisons."""
        picks = float(sum((each > 0.5).mean() for each in found))
        low, high = _wilson(picks, len(found))
        losses = [-np.log(np.maximum(each, 1e-12)).mean() for each in found]
        return cls(len(found), picks, low, high, float(np.mean(losses)), kind)

    def __str__(self) -> str:
        shown = [f"{100 * share:.0f}" for share in (self.picks / self.count, self.low, self.high)]
        return f"picks {shown[0]} % of {self.count} held-out {_KINDS[self.kind]} ({shown[1]} to {shown[2]})"


@dataclass(frozen=True)
class Posterior:
    """A mixture of normal distributions of weights.

    Attributes:
        shares: of the components, summing to 1, shape (k,).
        means: shape (k, d).
        covariances: shape (k, d, d).
        temper: what log-odds are multiplied with.
        log_evidence: the log-probability of the observations under the prior, up to a constant.
    """

    shares: Array
    means: Array
    covariances: Array
    temper: float = 1.0
    log_evidence: float = 0.0

    @property
    def mean(self) -> Array:
        """The mean of the weights, shape (d,)."""
        mean: Array = self.shares @ self.means
        return mean

    @property
    def covariance(self) -> Array:
        """The covariance of the weights, shape (d, d)."""
        apart = self.means - self.mean
        within = np.einsum("k,kij->ij", self.shares, self.covariances)
        between = np.einsum("k,ki,kj->ij", self.shares, apart, apart)
        return np.asarray(within + between, dtype=np.float64)

    def probabilities(self, differences: Array) -> Array:
        """The probability that each first text is chosen, shape (n,).

        Args:
            differences: features of the first text minus those of the second, shape (n, d).
        """
        found = np.zeros(len(differences))
        for share, mean, covariance in zip(self.shares, self.means, self.covariances, strict=True):
            spread = ((differences @ covariance) * differences).sum(axis=1)
            found += share * _logistic(self.temper * (differences @ mean) / np.sqrt(1 + _PROBIT * spread))
        return found

    def predict(self, difference: Array) -> Prediction:
        """The probability that the first text is chosen, with its interval.

        Args:
            difference: features of the first text minus those of the second, shape (d,).
        """
        center = float(self.mean @ difference)
        spread = math.sqrt(max(0.0, float(difference @ self.covariance @ difference)))
        ends = self.temper * np.array([center - _NORMAL_90 * spread, center + _NORMAL_90 * spread])
        low, high = _logistic(ends)
        return Prediction(float(self.probabilities(difference[None])[0]), float(low), float(high))

    def leave_each_out(self, differences: Array, weights: Array) -> Array:
        """The probability of each choice by weights that it took no part in, approximately, shape (n,).

        Each is left out by one Newton step from the weights that all of them give (Rad and Maleki, 2020).

        Args:
            differences: features of the chosen texts minus those of the others, shape (n, d).
            weights: how much each choice counts, shape (n,).
        """
        found = np.zeros(len(differences))
        for share, mean, covariance in zip(self.shares, self.means, self.covariances, strict=True):
            logits = differences @ mean
            missed = weights * _logistic(-logits)
            spreads = ((differences @ covariance) * differences).sum(axis=1)
            rest = 1 - spreads * missed * (1 - missed / np.maximum(weights, 1e-12))
            left = logits - spreads * missed / rest
            found += share * _logistic(self.temper * left / np.sqrt(1 + _PROBIT * spreads / rest))
        return found

    def with_weight(self, place: int, weight: float) -> Posterior:
        """The posterior where one weight is known, by conditioning on it.

        Args:
            place: of its feature.
            weight: its value.
        """
        means, covariances = self.means.copy(), self.covariances.copy()
        for at, covariance in enumerate(self.covariances):
            gain = covariance[:, place] / max(covariance[place, place], 1e-12)
            means[at] += gain * (weight - means[at, place])
            covariances[at] -= np.outer(gain, covariance[place])
            means[at, place] = weight
        return replace(self, means=means, covariances=covariances)

    def mirrored(self, place: int) -> Posterior:
        """The posterior where one weight is turned around.

        Args:
            place: of its feature.
        """
        means, covariances = self.means.copy(), self.covariances.copy()
        means[:, place] *= -1
        covariances[:, place, :] *= -1
        covariances[:, :, place] *= -1
        return replace(self, means=means, covariances=covariances)


def infer_posterior(prior: Prior, seen: Observations, *, start: Array | None = None) -> Posterior:
    """The posterior of a person's weights.

    Args:
        prior: other people's weights.
        seen: the person's records.
        start: weights near the answer, shape (d,), from where fewer steps are needed.

    Raises:
        KeyError: the prior has no context for a kind of text.
    """
    pull, curvature = _read_texts(prior, seen)
    found = []
    for scale in prior.scales:
        precision = prior.precision / scale**2
        log_prior_volume = prior.log_volume + 2 * len(prior.mean) * math.log(scale)
        mean, covariance, height = _find_mode(prior.mean, precision, (pull, curvature), seen, start)
        _, log_spread = np.linalg.slogdet(covariance)
        found.append((mean, covariance, height + 0.5 * (log_spread - log_prior_volume)))
    logs = np.log(prior.scale_weights) + np.array([evidence for _, _, evidence in found])
    top = float(logs.max())
    shares = np.exp(logs - top)
    total = float(shares.sum())
    kept = shares / total > _NEGLIGIBLE
    shares = shares[kept] / shares[kept].sum()
    means = np.array([mean for mean, _, _ in found])[kept]
    covariances = np.array([covariance for _, covariance, _ in found])[kept]
    return Posterior(shares, means, covariances, prior.temper, top + math.log(total))


def _read_texts(prior: Prior, seen: Observations) -> tuple[Array, Array]:
    """What own texts add to the log-density of the weights: its slope at zero, and its negative curvature."""
    dimensions = len(prior.mean)
    pull, curvature = np.zeros(dimensions), np.zeros((dimensions, dimensions))
    for kind, texts in seen.texts.items():
        context, weights = prior.contexts[kind], seen.text_weights[kind]
        count = float(weights.sum())
        apart = weights @ (texts - context.mean)
        if context.shared is None:
            pull += apart
            curvature += count * context.within
        else:
            # What the genre has in common can't be told from the person's manner: it is integrated out.
            trust = context.within @ np.linalg.inv(context.within / count + context.shared)
            pull += trust @ (apart / count)
            curvature += trust @ context.within
    return pull, curvature


def _find_mode(
    center: Array, precision: Array, written: tuple[Array, Array], seen: Observations, start: Array | None
) -> tuple[Array, Array, float]:
    """The mode, the covariance and the height of the log-density of one component, by Newton's method."""
    pull, curvature = written
    rows, chosen, weights = seen.differences, seen.chosen, seen.choice_weights

    def height(at: Array, logits: Array) -> float:
        fit = float(weights @ (chosen * logits - np.maximum(logits, 0.0) - np.log1p(np.exp(-np.abs(logits)))))
        return fit + float(pull @ at - 0.5 * at @ curvature @ at - 0.5 * (at - center) @ precision @ (at - center))

    at = center.copy() if start is None else start.copy()
    logits = rows @ at
    now = height(at, logits)
    hessian = precision + curvature
    for _ in range(_STEPS):
        shares = _logistic(logits)
        slope = rows.T @ (weights * (chosen - shares)) + pull - curvature @ at - precision @ (at - center)
        hessian = (rows.T * (weights * shares * (1 - shares))) @ rows + curvature + precision
        step = np.linalg.solve(hessian, slope)
        # The log-density is concave, but a whole step may overshoot where choices are saturated.
        size, moved = 1.0, rows @ step
        while (then := height(at + size * step, logits + size * moved)) < now - 1e-9 and size > 1e-3:
            size /= 2
        at, logits, gained, now = at + size * step, logits + size * moved, then - now, then
        if gained < _CLOSE:
            break
    return at, np.asarray(np.linalg.inv(hessian), dtype=np.float64), now


def _logistic(logits: Array) -> Array:
    shares: Array = 1.0 / (1.0 + np.exp(-np.clip(logits, -40.0, 40.0)))
    return shares


def _wilson(successes: float, count: int) -> tuple[float, float]:
    """The 90 % interval of a share (Wilson 1927)."""
    share, z2 = successes / count, _NORMAL_90**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_90 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, center - half), min(1.0, center + half)
