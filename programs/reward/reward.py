"""A person's reward: learned from their records in milliseconds once these are read, it predicts their choices.

Everything follows from rows of features, which a profile keeps: adding and forgetting a record, aging, and turning a
taste around are exact.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

import numpy as np

from hyperalign.errors import InputError
from hyperalign.profile import LearnedReward, RewardChange, RewardRow
from hyperalign.records import Record, drop_repeats
from hyperalign.style.claims import load_statements
from hyperalign.style.reference import keep_opening_features

from .features import LENGTH, Encoder, Reading, read_features
from .population import (
    FeatureRow,
    RewardPopulation,
    RowKind,
    find_population,
    kind_of,
    load_population,
    observe,
    read_rows,
)
from .posterior import Array, Posterior, Prediction, infer_posterior

__all__ = ["Contribution", "HeldOut", "Reward", "say_feature"]

_PARTS = 10
_COMPARED_WITH = 20  # other people's texts, for each of the person's own
_NORMAL_90 = 1.6449
_SURE_CHANGE = 1e-6
_ONE_SURE = 1e-9
_IN_WORDS = {
    LENGTH: ("Is longer", "Is shorter"),
    "draft kept": ("Keeps more of the draft", "Keeps less of the draft"),
    "words added": ("Adds more of its own words", "Adds fewer words of its own"),
    "longer than draft": ("Is longer than the draft", "Is shorter than the draft"),
}
_KINDS = {
    "choice": "choices",
    "text": "texts, each against other people's",
    "edit": "corrections, each against other people's",
}
_BLOCKS = {"word choice": "Its choice of small words", "encoder": "Its manner, as the encoder reads it"}


def say_feature(name: str, more: float) -> str:
    """Word one feature of a text, or a block of features that have no names of their own.

    Args:
        name: of a feature, or of a block of ``Contribution``.
        more: above zero if the text has more of it than what it is compared with; a block has no direction.
    """
    block = name.rstrip("0123456789 ")
    if block in _BLOCKS:
        return _BLOCKS[block]
    if name in _IN_WORDS:
        return _IN_WORDS[name][more <= 0]
    return load_statements()[name]["high" if more > 0 else "low"].partition(":")[0]


@dataclass(frozen=True)
class Contribution:
    """What one feature adds to a prediction.

    Attributes:
        feature: its name.
        nats: log-odds that it adds for the first text.
        difference: how much more of it the first text has, in standard deviations; 0 for a block of features.
    """

    feature: str
    nats: float
    difference: float = 0.0

    def __str__(self) -> str:
        return say_feature(self.feature, self.difference)


@dataclass(frozen=True)
class HeldOut:
    """How well a person's own choices, texts or corrections were predicted, each from their other records.

    Attributes:
        count: how many were held out.
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
    kind: RowKind = "choice"

    @classmethod
    def of(cls, found: Sequence[Array], kind: RowKind = "choice") -> HeldOut:
        """Sum up the probabilities of what was chosen: for each held-out record, those of its comparisons."""
        picks = sum(float((each > 0.5).mean()) for each in found)
        low, high = _wilson(picks, len(found))
        losses = [float(-np.log(np.maximum(each, 1e-12)).mean()) for each in found]
        return cls(len(found), picks, low, high, float(np.mean(losses)), kind)

    def __str__(self) -> str:
        shown = [f"{100 * share:.0f}" for share in (self.picks / self.count, self.low, self.high)]
        return f"picks {shown[0]} % of {self.count} held-out {_KINDS[self.kind]} ({shown[1]} to {shown[2]})"


@dataclass(frozen=True)
class Reward:
    """Weights on features of texts, as a distribution.

    Attributes:
        population: the features, and other people's weights.
        rows: the person's records as features, the oldest first.
        encoder: embeds new texts; None where the features have no encoder.
        half_life: the number of newer records after which one counts half; None counts all alike.
        changes: what the person changed by hand.
        near: weights near those that the rows give, which save steps, shape (d,).
    """

    population: RewardPopulation
    rows: tuple[FeatureRow, ...] = ()
    encoder: Encoder | None = None
    half_life: float | None = None
    changes: tuple[RewardChange, ...] = field(default=())
    near: Array | None = field(default=None, compare=False, repr=False)

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
        near = self._learned.mean if "_learned" in vars(self) else self.near
        return replace(self, rows=(*self.rows, *read_rows(self.population.space, new, self.encoder)), near=near)

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

    def choose(self, prompt: str, texts: Sequence[str], *, draft: str | None = None) -> Array:
        """The probability that each of several texts would be chosen, shape (n,), summing to 1.

        Each two are compared, and a text's strength is the mean of its log-odds (Bradley and Terry, 1952).

        Args:
            prompt: what all answer.
            texts: the texts.
            draft: what all correct, if they do.
        """
        read = read_features(self.population.space, [Reading(prompt, text, draft) for text in texts], self.encoder)
        won = np.array([self.posterior.probabilities(own - read) for own in read]).clip(_ONE_SURE, 1 - _ONE_SURE)
        strengths = np.log(won / (1 - won)).mean(axis=1)
        odds = np.exp(strengths - strengths.max())
        shares: Array = odds / odds.sum()
        return shares

    def prefer(self, prompt: str, first: str, second: str, *, draft: str | None = None) -> Prediction:
        """The probability that the person would choose the first text.

        Args:
            prompt: what both answer.
            first: a text.
            second: another one.
            draft: what both correct, if they do.
        """
        return self.predict([Reading(prompt, first, draft)], [Reading(prompt, second, draft)])[0]

    def score(self, prompt: str, texts: Sequence[str], *, draft: str | None = None, is_cut: bool = False) -> Array:
        """The expected reward of each text over that of a usual text by anybody, in nats, shape (n,).

        Args:
            prompt: what all answer.
            texts: the texts.
            draft: what all correct, if they do.
            is_cut: whether they are beginnings of texts: length, paragraphs and ending do not count.
        """
        space, contexts = self.population.space, self.population.prior.contexts
        read = read_features(space, [Reading(prompt, text, draft) for text in texts], self.encoder)
        usual = contexts["text"].mean if "text" in contexts else np.zeros(len(space.names))
        weights = self.posterior.mean
        if is_cut:
            kept = keep_opening_features(dict.fromkeys(space.names, True))
            weights = weights * np.array([name in kept and name != LENGTH for name in space.names])
        rewards: Array = self.posterior.temper * ((read - usual) @ weights)
        return rewards

    def explain(self, prompt: str, first: str, second: str, *, draft: str | None = None) -> list[Contribution]:
        """What decides between two texts: log-odds for the first by feature, the largest first.

        The components of word choice and of the encoder have no names of their own, and are added up.
        """
        space = self.population.space
        readings = [Reading(prompt, first, draft), Reading(prompt, second, draft)]
        ours, theirs = read_features(space, readings, self.encoder)
        differences = dict(zip(space.names, ours - theirs, strict=True))
        parts = self.posterior.temper * (ours - theirs) * self.posterior.mean
        added: dict[str, float] = {}
        for name, nats in zip(space.names, parts, strict=True):
            block = name.rstrip("0123456789 ")
            added[block] = added.get(block, 0.0) + float(nats)
        found = [
            Contribution(feature, nats, float(differences.get(feature, 0.0)))
            for feature, nats in added.items()
            if abs(nats) > _SURE_CHANGE
        ]
        return sorted(found, key=lambda each: -abs(each.nats))

    @cached_property
    def posterior(self) -> Posterior:
        """The distribution of the weights."""
        found = self._learned
        for change in self.changes:
            found = _apply(found, self._place(change.feature), change.weight)
        return found

    @cached_property
    def _learned(self) -> Posterior:
        return self._infer(self._aged(), self.near)

    def _infer(self, rows: Sequence[FeatureRow], start: Array | None) -> Posterior:
        return infer_posterior(self.population.prior, observe(rows, len(self.population.space.names)), start=start)

    def hold_out(self) -> HeldOut | None:
        """Predict each of the person's choices from their other records; None without two choices.

        Each is left out by one Newton step from the weights that all of them give (Rad and Maleki, 2020), which is
        within 0.005 of the probability that it has by the others alone.
        """
        choices = [row for row in self._aged() if row.kind == "choice"]
        if len(choices) < 2:
            return None
        return HeldOut.of(list(_leave_each_out(self._learned, choices)[:, None]))

    def hold_out_texts(self, kind: RowKind, others: Sequence[Record]) -> HeldOut | None:
        """Tell each of the person's texts or corrections from other people's by their other records.

        Up to ten are left out one by one, more of them in ten parts. Each is compared with up to twenty of other
        people's.

        Args:
            kind: ``text`` or ``edit``.
            others: other people's records; those of another kind are ignored.

        Returns:
            None without two of the person's, or without one of other people's.
        """
        rows = self._aged()
        at = [place for place, row in enumerate(rows) if row.kind == kind]
        kept = list(islice((each for each in others if kind_of(each) == kind), _COMPARED_WITH))
        if len(at) < 2 or not kept:
            return None
        theirs = np.array([row.values for row in read_rows(self.population.space, kept, self.encoder)])
        found = []
        for part in range(min(_PARTS, len(at))):
            out = set(at[part::_PARTS])
            left = self._infer([row for place, row in enumerate(rows) if place not in out], self._learned.mean)
            found += [left.probabilities(rows[place].values - theirs) for place in at[part::_PARTS]]
        return HeldOut.of(found, kind)

    def to_profile(self, others: Sequence[Record] = ()) -> LearnedReward:
        """What a profile keeps of it: readable weights, and the rows that they rest on.

        Args:
            others: other people's records, to say how well the person's texts and corrections are told from theirs.
        """
        names, posterior = self.population.space.names, self.posterior
        spreads = np.sqrt(np.diag(posterior.covariance))
        held_out = [self.hold_out(), *(self.hold_out_texts(kind, others) for kind in ("text", "edit"))]
        axes = self.population.space.encoder_axes
        return LearnedReward(
            population=self.population.name,
            space=self.population.space.fingerprint,
            encoder=axes.name if axes else "",
            weights={name: round(float(value), 4) for name, value in zip(names, posterior.mean, strict=True)},
            spreads={name: round(float(value), 4) for name, value in zip(names, spreads, strict=True)},
            rows=[
                RewardRow(record=row.record, kind=row.kind, values=[round(float(each), 4) for each in row.values])
                for row in self.rows
            ],
            half_life=self.half_life,
            changes=list(self.changes),
            predicts="; ".join(str(each) for each in held_out if each),
        )

    @classmethod
    def from_profile(
        cls, kept: LearnedReward, *, population: RewardPopulation | None = None, encoder: Encoder | None = None
    ) -> Reward:
        """The reward that a profile keeps.

        Args:
            kept: the profile's.
            population: the one it was fitted with; found by its name if None.
            encoder: the one it was fitted with; without it no text can be read, and everything else can be done.

        Raises:
            InputError: it was fitted with another population or encoder.
        """
        found = population or find_population(kept.population)
        if not kept.encoder:
            found, encoder = found.without_encoder(), None
        if found.space.fingerprint != kept.space or (encoder and encoder.name != kept.encoder):
            raise InputError(
                f"The reward was learned with the population '{kept.population}' and the encoder "
                f"'{kept.encoder or 'none'}'.",
                remedy="Give these, or fit the person again.",
            )
        rows = tuple(FeatureRow(row.record, row.kind, np.array(row.values)) for row in kept.rows)
        near = np.array([*kept.weights.values()])
        return cls(found, rows, encoder, kept.half_life, tuple(kept.changes), near)

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


def _leave_each_out(posterior: Posterior, rows: Sequence[FeatureRow]) -> Array:
    """The probability of each choice by weights that it took no part in, approximately, shape (n,)."""
    values, weights = np.array([row.values for row in rows]), np.array([row.weight for row in rows])
    found = np.zeros(len(rows))
    for share, mean, covariance in zip(posterior.shares, posterior.means, posterior.covariances, strict=True):
        logits = values @ mean
        missed = weights / (1 + np.exp(logits.clip(-40, 40)))
        spreads = ((values @ covariance) * values).sum(axis=1)
        rest = 1 - spreads * missed * (1 - missed / np.maximum(weights, 1e-12))
        left = logits - spreads * missed / rest
        found += share / (1 + np.exp(-posterior.temper * left / np.sqrt(1 + math.pi / 8 * spreads / rest)))
    return found


def _wilson(successes: float, count: int) -> tuple[float, float]:
    """The 90 % interval of a share (Wilson 1927)."""
    share, z2 = successes / count, _NORMAL_90**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_90 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(0.0, center - half), min(1.0, center + half)
