"""A person's reward: learned from their records in milliseconds once these are read, it predicts their choices.

Everything follows from rows of features, which a profile keeps: adding and forgetting a record, aging, and turning a
taste around are exact.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from hyperalign.dependence import content_of, drop_repeats, fingerprint, group_dependent, weigh
from hyperalign.errors import InputError
from hyperalign.profile import LearnedReward, RewardChange, RewardRow
from hyperalign.records import Record, order_by_time
from hyperalign.style.reference import keep_opening_features

from .features import LENGTH, Contribution, Encoder, Reading, read_features
from .population import (
    FeatureRow,
    RewardPopulation,
    RowKind,
    find_population,
    kind_of,
    load_population,
    read_rows,
)
from .posterior import Array, HeldOut, Observations, Posterior, Prediction, infer_posterior

__all__ = ["HeldOut", "Reward"]

Places = NDArray[np.int64]

_PARTS = 10
_COMPARED_WITH = 20  # other people's texts, for each of the person's own
_SURE_CHANGE = 1e-6
_ONE_SURE = 1e-9
_ROW_KINDS: tuple[RowKind, ...] = get_args(RowKind)


@dataclass(frozen=True)
class Reward:
    """Weights on features of texts, as a distribution.

    Attributes:
        population: the features, and other people's weights.
        rows: the person's records as features, in the order in which they came.
        encoder: embeds new texts; None where the features have no encoder.
        half_life: the number of newer records after which one counts half; None counts all alike. Records are newer by
            their times, and without these by their place; those that share what they teach are one record here.
        changes: what the person changed by hand.
        near: weights near those that the rows give, which save steps, shape (d,).
    """

    population: RewardPopulation
    rows: tuple[FeatureRow | RewardRow, ...] = ()
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
            records: the person's; those without a time the oldest first.
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
        return cls(found, _read(found, _informative(records), used), used, half_life)

    def update(self, records: Sequence[Record]) -> Reward:
        """Add records, of any time; those that are known already, under whatever id, are not read again."""
        known = {row.record for row in self.rows}
        new = [each for each in _informative(records) if each.id not in known]
        shared = [each for each in new if not self._keys.isdisjoint(fingerprint(each).keys)]
        if shared:
            contents = {row.shares[:2] for row in self.rows if row.shares}
            new = [each for each in new if content_of(each) not in contents]
        near = self._learned.mean if "_learned" in vars(self) else self.near
        grown = replace(self, rows=(*self.rows, *_read(self.population, new, self.encoder)), near=near)
        # What was worked out for earlier rows is carried over, so that one more takes no second look at all of them.
        added, at_hand = grown.rows[len(self.rows) :], vars(grown)
        at_hand["_keys"] = self._keys.union(*(row.shares.keys for row in added if row.shares))
        at_hand["_values"] = np.vstack([self._values, *(row.values for row in added)])
        if not shared:
            at_hand["_shares"] = np.concatenate([self._shares, weigh([row.shares for row in added])])
        return grown

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
            place = self._place(change.feature)
            found = found.mirrored(place) if change.weight is None else found.with_weight(place, change.weight)
        return found

    @cached_property
    def _learned(self) -> Posterior:
        return self._infer(np.arange(len(self.rows)), self.near)

    @cached_property
    def _values(self) -> Array:
        """The features of all rows, shape (rows, d)."""
        size = len(self.population.space.names)
        flat = chain.from_iterable(row.values for row in self.rows)
        return np.fromiter(flat, np.float64, size * len(self.rows)).reshape(-1, size)

    @cached_property
    def _keys(self) -> frozenset[str]:
        """All that the rows may share with others."""
        return frozenset(chain.from_iterable(row.shares.keys for row in self.rows if row.shares))

    @cached_property
    def _shares(self) -> Array:
        """How much each row counts beside those that it shares what it teaches with, shape (rows,)."""
        return np.array(weigh([row.shares for row in self.rows]), dtype=np.float64)

    @cached_property
    def _weights(self) -> Array:
        """How much each row counts, shape (rows,)."""
        if self.half_life is None:
            return self._shares
        order = order_by_time([row.time for row in self.rows], [row.record for row in self.rows])[::-1]
        ages = np.zeros(len(order))
        ages[order] = np.cumsum(self._shares[order]) - self._shares[order]
        return np.asarray(self._shares * 0.5 ** (ages / self.half_life))

    @cached_property
    def _places(self) -> dict[RowKind, Places]:
        """Where the rows of each kind are that count."""
        kinds = np.array([row.kind for row in self.rows])
        return {kind: np.flatnonzero((kinds == kind) & (self._shares > 0)) for kind in _ROW_KINDS}

    def _infer(self, kept: Places, start: Array | None) -> Posterior:
        """The posterior by some of the rows."""
        part = np.zeros(len(self.rows), dtype=bool)
        part[kept] = True
        places = {kind: at[part[at]] for kind, at in self._places.items()}
        written = {kind: at for kind, at in places.items() if kind != "choice" and len(at)}
        seen = Observations.of(
            self._values[places["choice"]],
            {kind: self._values[at] for kind, at in written.items()},
            dimensions=len(self.population.space.names),
            choice_weights=self._weights[places["choice"]],
            text_weights={kind: self._weights[at] for kind, at in written.items()},
        )
        return infer_posterior(self.population.prior, seen, start=start)

    def hold_out(self) -> HeldOut | None:
        """Predict the person's choices about each question from their other records; None without two questions.

        Where each question has one choice, it is left out by one Newton step, which is within 0.005 of the probability
        that it has by the others alone. Else up to ten questions are left out one by one, more of them in ten parts.
        """
        questions = self._questions("choice")
        if len(questions) < 2:
            return None
        if all(len(each) == 1 for each in questions):
            at = np.concatenate(questions)
            return HeldOut.of([*self._learned.leave_each_out(self._values[at], self._weights[at])[:, None]])
        return HeldOut.of([left.probabilities(self._values[each]) for each, left in self._leave_out(questions)])

    def _questions(self, kind: RowKind) -> list[Places]:
        """The rows of a kind that count, those that share what they teach together, whatever the order of records."""
        at = sorted(self._places[kind].tolist(), key=lambda place: self.rows[place].record)
        found: dict[int, list[int]] = {}
        for place, group in zip(at, group_dependent([self.rows[place].shares for place in at]), strict=True):
            found.setdefault(group, []).append(place)
        return [np.array(each) for each in found.values()]

    def _leave_out(self, questions: Sequence[Places]) -> Iterator[tuple[Places, Posterior]]:
        """Each question, with the posterior by records of none that are left out with it."""
        for part in range(min(_PARTS, len(questions))):
            out = questions[part::_PARTS]
            rest = np.setdiff1d(np.arange(len(self.rows)), np.concatenate(out))
            left = self._infer(rest, self._learned.mean)
            yield from ((each, left) for each in out)

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
        records = self._questions(kind)
        kept = list(islice((each for each in others if kind_of(each) == kind), _COMPARED_WITH))
        if len(records) < 2 or not kept:
            return None
        theirs = np.array([row.values for row in read_rows(self.population.space, kept, self.encoder)])
        found = [
            left.probabilities((self._values[each][:, None] - theirs).reshape(-1, theirs.shape[1]))
            for each, left in self._leave_out(records)
        ]
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
            rows=[row if isinstance(row, RewardRow) else _keep(row) for row in self.rows],
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
        near = np.array([*kept.weights.values()])
        return cls(found, tuple(kept.rows), encoder, kept.half_life, tuple(kept.changes), near)

    def _place(self, feature: str) -> int:
        names = self.population.space.names
        if feature not in names:
            raise InputError(
                f"There is no feature {feature!r}.", remedy=f"Choose one of: {', '.join(names[:8])} and so on."
            )
        return names.index(feature)


def _read(population: RewardPopulation, records: Sequence[Record], encoder: Encoder | None) -> tuple[RewardRow, ...]:
    """Read records into rows, rounded as a profile keeps them: learning from a profile again changes nothing."""
    return tuple(map(_keep, read_rows(population.space, records, encoder)))


def _keep(row: FeatureRow) -> RewardRow:
    values = np.round(row.values, 4).tolist()
    return RewardRow(record=row.record, kind=row.kind, values=values, time=row.time, shares=row.shares)


def _informative(records: Sequence[Record]) -> list[Record]:
    """Records without copies and without choices between texts that read the same."""
    distinct = drop_repeats(records)
    return [record for record in distinct if len(set(content_of(record))) > 1]
