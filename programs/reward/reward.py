"""A person's reward: learned from their records in milliseconds once these are read, it predicts their choices.

Everything follows from rows of features, which a profile keeps: adding and forgetting a record, aging, and turning a
taste around are exact.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from hyperalign.errors import InputError
from hyperalign.profile import LearnedReward, RewardChange, RewardRow
from hyperalign.records import Record, drop_repeats

from .features import Encoder, Reading, read_features
from .population import FeatureRow, RewardPopulation, load_population, observe, read_rows
from .posterior import Array, Posterior, Prediction, infer_posterior

__all__ = ["Contribution", "HeldOut", "Reward"]

_FOLDS = 10
_LEFT_OUT_ONE_BY_ONE = 40
_NORMAL_90 = 1.6449
_SURE_CHANGE = 1e-6


@dataclass(frozen=True)
class Contribution:
    """What one feature adds to a prediction.

    Attributes:
        feature: its name.
        nats: log-odds that it adds for the first text.
    """

    feature: str
    nats: float


@dataclass(frozen=True)
class HeldOut:
    """How well a person's own choices were predicted, each from the others.

    Attributes:
        choices: how many were held out.
        picks: how many of them were predicted.
        low: the lower end of the 90 % interval of the share (Wilson).
        high: the upper end.
        log_loss: the mean negative log-probability of what they chose, in nats; a coin has 0.693.
    """

    choices: int
    picks: int
    low: float
    high: float
    log_loss: float

    def __str__(self) -> str:
        share = self.picks / self.choices if self.choices else 0.0
        return f"picks {share:.0%} of {self.choices} held-out choices ({self.low:.0%} to {self.high:.0%})"


@dataclass(frozen=True)
class Reward:
    """Weights on features of texts, as a distribution.

    Attributes:
        population: the features, and other people's weights.
        rows: the person's records as features, the oldest first.
        encoder: embeds new texts; None where the features have no encoder.
        half_life: the number of newer records after which one counts half; None counts all alike.
        changes: what the person changed by hand.
    """

    population: RewardPopulation
    rows: tuple[FeatureRow, ...] = ()
    encoder: Encoder | None = None
    half_life: float | None = None
    changes: tuple[RewardChange, ...] = field(default=())

    @classmethod
    def fit(
        cls,
        records: Sequence[Record],
        *,
        population: RewardPopulation | None = None,
        encoder: Encoder | None = None,
        half_life: float | None = None,
    ) -> Reward:
        """Learn from one person's records.

        Args:
            records: the person's, the oldest first.
            population: the one that ships if None.
            encoder: adds an embedding of each text, where the population knows it.
            half_life: the number of newer records after which one counts half.

        Raises:
            InputError: the population was made with another encoder.
            ModelServerError: the encoder could not be reached.
        """
        found = population or load_population()
        if encoder is None and found.space.encoder_axes is not None:
            found = found.without_encoder()
        used = encoder if found.space.encoder_axes is not None else None
        rows = read_rows(found.space, records, used)
        return cls(found, tuple(rows), used, half_life)

    def update(self, records: Sequence[Record]) -> Reward:
        """Add newer records; those that are known already are not read again."""
        known = {row.record for row in self.rows}
        new = [record for record in drop_repeats(records) if record.id not in known]
        return replace(self, rows=(*self.rows, *read_rows(self.population.space, new, self.encoder)))

    def forget(self, records: Collection[str]) -> Reward:
        """Remove records by id: the reward is as if they had never been given."""
        gone = set(records)
        return replace(self, rows=tuple(row for row in self.rows if row.record not in gone))

    def set(self, feature: str, weight: float) -> Reward:
        """Fix the weight of a feature, in nats per standard deviation.

        Raises:
            InputError: there is no such feature.
        """
        self._place(feature)
        return replace(self, changes=(*self.changes, RewardChange(feature=feature, weight=weight)))

    def flip(self, feature: str) -> Reward:
        """Turn the taste for a feature around.

        Raises:
            InputError: there is no such feature.
        """
        self._place(feature)
        return replace(self, changes=(*self.changes, RewardChange(feature=feature, weight=None)))

    def predict(self, items: Sequence[Reading], other: Sequence[Reading]) -> list[Prediction]:
        """The probability that each text is chosen over another one.

        Args:
            items: the first text of each pair.
            other: the second text of each pair.
        """
        read = read_features(self.population.space, [*items, *other], self.encoder)
        return [self.posterior.predict(row) for row in read[: len(items)] - read[len(items) :]]

    def prefer(self, prompt: str, first: str, second: str, *, draft: str | None = None) -> Prediction:
        """The probability that the person would choose the first text.

        Args:
            prompt: what both answer.
            first: a text.
            second: another one.
            draft: what both correct, if they do.
        """
        return self.predict([Reading(prompt, first, draft)], [Reading(prompt, second, draft)])[0]

    def score(self, prompt: str, texts: Sequence[str], *, draft: str | None = None) -> Array:
        """The expected reward of each text, in nats, shape (n,); only differences mean something.

        Args:
            prompt: what all answer.
            texts: the texts.
            draft: what all correct, if they do.
        """
        read = read_features(self.population.space, [Reading(prompt, text, draft) for text in texts], self.encoder)
        rewards: Array = self.posterior.temper * (read @ self.posterior.mean)
        return rewards

    def explain(self, prompt: str, first: str, second: str, *, draft: str | None = None) -> list[Contribution]:
        """What decides between two texts: log-odds for the first by feature, the largest first.

        The components of word choice and of the encoder have no names of their own, and are added up.
        """
        space = self.population.space
        readings = [Reading(prompt, first, draft), Reading(prompt, second, draft)]
        ours, theirs = read_features(space, readings, self.encoder)
        parts = self.posterior.temper * (ours - theirs) * self.posterior.mean
        added: dict[str, float] = {}
        for name, nats in zip(space.names, parts, strict=True):
            block = name.rstrip("0123456789 ")
            added[block] = added.get(block, 0.0) + float(nats)
        found = [Contribution(feature, nats) for feature, nats in added.items() if abs(nats) > _SURE_CHANGE]
        return sorted(found, key=lambda each: -abs(each.nats))

    @cached_property
    def posterior(self) -> Posterior:
        """The distribution of the weights."""
        found = infer_posterior(self.population.prior, observe(self._aged(), len(self.population.space.names)))
        for change in self.changes:
            found = _apply(found, self._place(change.feature), change.weight)
        return found

    def hold_out(self) -> HeldOut | None:
        """Predict each of the person's choices from their other records; None without two choices.

        Up to forty choices are left out one by one, more of them in ten parts.
        """
        rows = self._aged()
        at = [place for place, row in enumerate(rows) if row.kind == "choice"]
        if len(at) < 2:
            return None
        folds = len(at) if len(at) <= _LEFT_OUT_ONE_BY_ONE else _FOLDS
        size, found = len(self.population.space.names), np.zeros(len(at))
        for fold in range(folds):
            out = at[fold::folds]
            gone = set(out)
            others = [row for place, row in enumerate(rows) if place not in gone]
            posterior = infer_posterior(self.population.prior, observe(others, size), start=self.posterior.mean)
            found[fold::folds] = posterior.probabilities(np.array([rows[place].values for place in out]))
        picks, count = int((found > 0.5).sum()), len(found)
        low, high = _wilson(picks, count)
        return HeldOut(count, picks, low, high, float(-np.log(np.maximum(found, 1e-12)).mean()))

    def to_profile(self) -> LearnedReward:
        """What a profile keeps of it: readable weights, and the rows that they rest on."""
        names, posterior = self.population.space.names, self.posterior
        spreads = np.sqrt(np.diag(posterior.covariance))
        held_out = self.hold_out()
        return LearnedReward(
            population=self.population.name,
            space=self.population.space.fingerprint,
            encoder=self.encoder.name if self.encoder else "",
            weights={name: round(float(value), 4) for name, value in zip(names, posterior.mean, strict=True)},
            spreads={name: round(float(value), 4) for name, value in zip(names, spreads, strict=True)},
            rows=[
                RewardRow(record=row.record, kind=row.kind, values=[round(float(each), 4) for each in row.values])
                for row in self.rows
            ],
            half_life=self.half_life,
            changes=list(self.changes),
            predicts=str(held_out) if held_out else "",
        )

    @classmethod
    def from_profile(
        cls, kept: LearnedReward, *, population: RewardPopulation | None = None, encoder: Encoder | None = None
    ) -> Reward:
        """The reward that a profile keeps.

        Args:
            kept: the profile's.
            population: the one it was fitted with; the one that ships if None.
            encoder: the one it was fitted with.

        Raises:
            InputError: it was fitted with another population or encoder.
        """
        found = population or load_population()
        if not kept.encoder:
            found, encoder = found.without_encoder(), None
        if found.space.fingerprint != kept.space or (encoder.name if encoder else "") != kept.encoder:
            raise InputError(
                f"The reward was learned with the population '{kept.population}' and the encoder "
                f"'{kept.encoder or 'none'}'.",
                remedy="Give these, or fit the person again.",
            )
        rows = tuple(FeatureRow(row.record, row.kind, np.array(row.values)) for row in kept.rows)
        return cls(found, rows, encoder, kept.half_life, tuple(kept.changes))

    def _aged(self) -> list[FeatureRow]:
        if self.half_life is None:
            return list(self.rows)
        newest = len(self.rows) - 1
        return [replace(row, weight=0.5 ** ((newest - place) / self.half_life)) for place, row in enumerate(self.rows)]

    def _place(self, feature: str) -> int:
        names = self.population.space.names
        if feature not in names:
            raise InputError(
                f"There is no feature {feature!r}.", remedy=f"Choose one of: {', '.join(names[:8])} and so on."
            )
        return names.index(feature)


def _apply(posterior: Posterior, place: int, weight: float | None) -> Posterior:
    """The posterior with one weight fixed, by conditioning on it, or mirrored where ``weight`` is None."""
    means, covariances = posterior.means.copy(), posterior.covariances.copy()
    if weight is None:
        means[:, place] *= -1
        covariances[:, place, :] *= -1
        covariances[:, :, place] *= -1
        return replace(posterior, means=means, covariances=covariances)
    for at, covariance in enumerate(posterior.covariances):
        gain = covariance[:, place] / max(covariance[place, place], 1e-12)
        means[at] += gain * (weight - means[at, place])
        covariances[at] -= np.outer(gain, covariance[place])
        means[at, place] = weight
    return replace(posterior, means=means, covariances=covariances)


def _wilson(successes: int, count: int) -> tuple[float, float]:
    """The 90 % interval of a share (Wilson 1927)."""
    share, z2 = successes / count, _NORMAL_90**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_90 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, center - half), min(1.0, center + half)
