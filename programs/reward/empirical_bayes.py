"""Estimates a prior of weights from other people's records, by empirical Bayes.

Contexts are pooled within-person statistics. The prior's mean and covariance come from expectation maximization with
Laplace posteriors; the few people a population has are backed by an inverse-Wishart prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .posterior import Array, Context, Observations, Prior, infer_posterior

__all__ = ["PriorSettings", "estimate_context", "estimate_prior"]


@dataclass(frozen=True)
class PriorSettings:
    """How a prior is estimated.

    Attributes:
        steps: of expectation maximization.
        center: what backs the few people: ``base``, the prior that the estimate starts from, or ``diagonal``, their own
            variances without covariances.
        backing: how many people the center counts for.
        within_shrinkage: the share of a context's covariance that is its diagonal.
        floor: the least variance of a weight.
        scales: standard deviations that the covariance may be multiplied with.
    """

    steps: int = 20
    center: Literal["base", "diagonal"] = "diagonal"
    backing: float = 40.0
    within_shrinkage: float = 0.2
    floor: float = 1e-3
    scales: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)


def estimate_context(
    people: Sequence[Array], settings: PriorSettings | None = None, *, backed_by: Context | None = None
) -> Context:
    """The mean of texts of a kind, and the covariance of one person's texts.

    Args:
        people: features of each person's texts, each of shape (texts, d); people with one text add to the mean alone.
        settings: of the estimate.
        backed_by: a context that counts as much as ``backing`` texts, for a population of few texts.
    """
    settings = settings or PriorSettings()
    mean = np.mean([texts.mean(axis=0) for texts in people], axis=0)
    apart = [texts - texts.mean(axis=0) for texts in people]
    spare = float(sum(len(texts) - 1 for texts in people))
    within: Array = sum((rows.T @ rows for rows in apart), np.zeros((len(mean), len(mean))))
    if backed_by is not None:
        within, spare = within + settings.backing * backed_by.within, spare + settings.backing
    within = within / max(1, spare)
    diagonal = np.diag(np.maximum(np.diag(within), settings.floor))
    return Context(mean, (1 - settings.within_shrinkage) * within + settings.within_shrinkage * diagonal)


def estimate_prior(
    people: Sequence[Observations],
    start: Prior,
    settings: PriorSettings | None = None,
) -> Prior:
    """The distribution of weights over people.

    Args:
        people: each one's observations; their contexts are in ``start``.
        start: where the estimate begins, and what backs it where the settings say so.
        settings: of the estimate.
    """
    settings = settings or PriorSettings()
    prior, count = replace(start, scales=np.ones(1), scale_weights=np.ones(1)), len(people)
    for _ in range(settings.steps):
        found = [infer_posterior(prior, seen) for seen in people]
        means = np.array([each.means[0] for each in found])
        center = means.mean(axis=0)
        if settings.center == "base":
            center = (count * center + settings.backing * start.mean) / (count + settings.backing)
        spread = sum((each.covariances[0] for each in found), np.zeros_like(prior.covariance))
        scatter = (means - center).T @ (means - center) + spread
        diagonal = np.diag(np.maximum(np.diag(scatter) / count, settings.floor))
        backed = start.covariance if settings.center == "base" else diagonal
        covariance = (scatter + settings.backing * backed) / (count + settings.backing)
        prior = replace(prior, mean=center, covariance=covariance)
    return _weigh_scales(prior, people, settings)


def _weigh_scales(prior: Prior, people: Sequence[Observations], settings: PriorSettings) -> Prior:
    """The share of people of each scale, by expectation maximization; every scale keeps one person's share."""
    scales = np.array(settings.scales)
    evidence = np.array(
        [
            [
                infer_posterior(replace(prior, scales=scales[at : at + 1]), seen).log_evidence
                for at in range(len(scales))
            ]
            for seen in people
        ]
    )
    shares = np.full(len(scales), 1 / len(scales))
    for _ in range(settings.steps):
        logs = np.log(shares) + evidence
        belongs = np.exp(logs - logs.max(axis=1, keepdims=True))
        belongs /= belongs.sum(axis=1, keepdims=True)
        shares = (belongs.sum(axis=0) + 1 / len(scales)) / (len(people) + 1)
    return replace(prior, scales=scales, scale_weights=shares)
