"""Estimates a prior of weights from other people's records, by empirical Bayes.

Contexts are pooled within-person statistics. The prior's mean and covariance come from expectation maximization with
Laplace posteriors; the few people a population has are backed by an inverse-Wishart prior. How strongly, and by what,
is chosen by the log loss of people who are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hyperalign.errors import InputError
from hyperalign.records import Record

from .features import Encoder
from .population import FeatureRow, RewardPopulation, observe, read_rows
from .posterior import Array, Context, Observations, Prior, infer_posterior

__all__ = [
    "PriorSettings",
    "choose_settings",
    "estimate_context",
    "estimate_from_rows",
    "estimate_population",
    "estimate_prior",
]

_FEWEST_PEOPLE = 5
_FOLDS = 3
_MANY_PEOPLE = 30
_STRONG_BACKING = 160.0
_KNOWN, _ASKED = 16, 30


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


def estimate_population(
    people: Mapping[str, Sequence[Record]],
    base: RewardPopulation,
    *,
    name: str,
    encoder: Encoder | None = None,
    settings: PriorSettings | None = None,
) -> RewardPopulation:
    """Estimate a prior from people's records, backed by another one.

    Args:
        people: each one's records; a person whose prior it is to be must not be among them.
        base: has the features, and backs the estimate where the people are few.
        name: of the new population.
        encoder: the one whose axes the features have.
        settings: of the estimate; chosen by ``choose_settings`` if None.

    Raises:
        InputError: there are fewer than five people with records.
    """
    known = {user: list(records) for user, records in people.items() if records}
    if len(known) < _FEWEST_PEOPLE:
        raise InputError(
            f"A population of {len(known)} people says little of others.",
            remedy=f"Give at least {_FEWEST_PEOPLE}, or use the default population.",
        )
    rows = {user: read_rows(base.space, records, encoder) for user, records in known.items()}
    chosen = settings or choose_settings(rows, base)
    return estimate_from_rows(rows, base, name=name, settings=chosen) if chosen else replace(base, name=name)


def choose_settings(people: Mapping[str, Sequence[FeatureRow]], base: RewardPopulation) -> PriorSettings | None:
    """The settings by which people who are left out are predicted best; None where that is the base as it is.

    Args:
        people: each one's records as features.
        base: what backs the estimates.
    """
    backings = (PriorSettings().backing, _STRONG_BACKING)
    tried = (None, PriorSettings(center="base"), *(PriorSettings(center="diagonal", backing=each) for each in backings))
    return min(tried, key=lambda settings: _held_out_loss(people, base, settings))


def _held_out_loss(
    people: Mapping[str, Sequence[FeatureRow]], base: RewardPopulation, settings: PriorSettings | None
) -> float:
    """The mean log loss of people's later records, from their earlier ones and a prior of other people."""
    users = sorted(people, key=lambda user: hashlib.sha256(user.encode()).hexdigest())
    draw = np.random.default_rng(0)
    losses: list[float] = []
    # Few people are left out in small parts: a prior of two thirds of them would be another one.
    folds = _FOLDS if len(users) >= _MANY_PEOPLE else min(len(users), 2 * _FOLDS)
    for fold in range(folds):
        out = users[fold::folds]
        others = {user: people[user] for user in users if user not in out}
        population = estimate_from_rows(others, base, name=base.name, settings=settings) if settings else base
        for user in out:
            rows = list(people[user])
            known = min(len(rows) // 2, _KNOWN)
            asked = rows[known : known + _ASKED]
            rivals = {
                kind: [row for other in users if other != user for row in people[other] if row.kind == kind]
                for kind in ("text", "edit")
            }
            differences = [
                row.values if row.kind == "choice" else row.values - rivals[row.kind][place].values
                for row in asked
                for place in draw.integers(max(1, len(rivals.get(row.kind, ()))), size=1)
                if row.kind == "choice" or rivals[row.kind]
            ]
            if differences:
                posterior = infer_posterior(population.prior, observe(rows[:known], len(base.space.names)))
                found = posterior.probabilities(np.array(differences))
                losses.append(float(-np.log(np.maximum(found, 1e-12)).mean()))
    return float(np.mean(losses)) if losses else 0.0


def estimate_from_rows(
    people: Mapping[str, Sequence[FeatureRow]],
    base: RewardPopulation,
    *,
    name: str,
    settings: PriorSettings | None = None,
) -> RewardPopulation:
    """``estimate_population``, from records that were read."""
    seen = [observe(rows, len(base.space.names)) for rows in people.values()]
    contexts = dict(base.prior.contexts)
    for kind in ("text", "edit"):
        written = [each.texts[kind] for each in seen if kind in each.texts]
        if sum(len(texts) > 1 for texts in written) >= _FEWEST_PEOPLE:
            contexts[kind] = estimate_context(written, settings, backed_by=base.prior.contexts.get(kind))
    start = replace(base.prior, contexts=contexts)
    return replace(base, name=name, prior=estimate_prior(seen, start, settings))
