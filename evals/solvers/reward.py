"""Solvers of choices that ask no question: the personal reward, its controls, and other people's choices of the items.

A reward reads features; with a ``ToneReader`` also how a language model says that a text comes across. A prior comes
from people of the split ``dev``, never from the person of the case, and never from records about the same items (or
prompts, where there are many): what others think of an item is no personal reward. Only the strategy ``collaborative``
uses it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hyperalign.concurrency import Progress
from hyperalign.dependence import content_of, drop_repeats
from hyperalign.programs.reward.empirical_bayes import choose_settings, estimate_from_rows
from hyperalign.programs.reward.features import Axes, Encoder, Reading, principal_axes, read_features
from hyperalign.programs.reward.population import (
    FeatureRow,
    RewardPopulation,
    read_rows,
)
from hyperalign.programs.reward.posterior import Context, Posterior
from hyperalign.programs.reward.reward import Reward
from hyperalign.records import Pair, Record, other_text, own_text, prompt_of
from hyperalign.scores import Message, Scorer
from hyperalign.space import load_space
from hyperalign.text import excerpt, fence

from ..cases import Case, PeopleTask, Task, fold_people, hash_text

__all__ = ["TONES", "CollaborativeSolver", "RewardScores", "RewardSolver", "ToneReader", "with_tones"]

TONES = (
    "warm",
    "humorous",
    "critical",
    "formal",
    "polite",
    "direct",
    "emotional",
    "enthusiastic",
    "original",
    "technical",
)
"""Dimensions of the shipped space, of manner, that a text is read for."""
_TONE_WORDS = 80
# Chosen by the log loss of dev choices, P-Soups Style.
_TONE_TASTES = 10.0  # the variance of rewards of texts by their tone
_OTHER_TASTES = 0.2  # what is left of the variance of other features' weights

_FOLDS = 5
_MOST_PEOPLE = 60  # a prior of more people takes longer, and is hardly better than their items allow
_MANY_PROMPTS = 2 * _FOLDS
_FEWEST_PEOPLE = 5
_STRENGTH_PRECISION = 1.0
_NEWTON_STEPS = 8


@dataclass(frozen=True, slots=True)
class RewardScores:
    """Probabilities of the preferred answer.

    Attributes:
        own: by the person's reward.
        other: by another person's; None without one.
        everybody: by the population's mean.
        inverted: by the reward whose distance from the population is turned around.
    """

    own: float
    other: float | None
    everybody: float
    inverted: float


class RewardSolver:
    """Predicts choices by personal rewards.

    Args:
        task: gives other people's records, where it has any.
        cases: all that will be asked.
        other_users: for each case id, a case of another person.
        base: has the features, and is the population where the task's own people are too few.
        encoder: the one whose axes the base has.
    """

    def __init__(
        self,
        task: Task,
        cases: Sequence[Case],
        other_users: Mapping[str, Case],
        *,
        base: RewardPopulation,
        encoder: Encoder | None = None,
    ) -> None:
        self._base = base
        self._name = task.name
        self._other_users = other_users
        people = _others(task)
        self._fold = fold_people(people)
        prompts = {prompt_of(record) for records in people.values() for record in records}
        self._by_prompt = len(prompts) >= _MANY_PROMPTS
        everything = [record for records in people.values() for record in records]
        everything += [record for case in [*cases, *other_users.values()] for record in case.records]
        distinct = drop_repeats(everything)
        rows = read_rows(base.space, distinct, encoder)
        self._rows = dict(zip(map(content_of, distinct), rows, strict=True))
        self._people = {
            person: [(self._rows[content_of(record)], self._items(record)) for record in drop_repeats(records)]
            for person, records in people.items()
        }
        self._differences = _read_answers(base, cases, encoder)
        rows_of = {person: [row for row, _ in theirs] for person, theirs in self._people.items()}
        self._settings = choose_settings(rows_of, base) if len(rows_of) >= _FEWEST_PEOPLE else None
        self._populations: dict[tuple[int, frozenset[int]], RewardPopulation] = {}
        self._posteriors: dict[tuple[int, frozenset[int], tuple[Record, ...]], Posterior] = {}

    def __call__(self, case: Case) -> RewardScores:
        """Predict one of the cases."""
        population = self.population(case)
        own = self._posterior(case, case.records)
        other = self._other_users.get(case.id)
        theirs = self._posterior(case, other.records) if other is not None else None
        difference = self._differences[case.id][None]

        def predict(posterior: Posterior) -> float:
            return float(posterior.probabilities(difference)[0])

        return RewardScores(
            predict(own),
            predict(theirs) if theirs is not None else None,
            predict(self._posterior(case, ())),
            predict(replace(own, means=2 * population.prior.mean - own.means)),
        )

    def population(self, case: Case) -> RewardPopulation:
        """The population for a case, which knows neither its person nor its items."""
        key = self._key(case)
        if key not in self._populations:
            self._populations[key] = self._estimate(*key)
        return self._populations[key]

    def _key(self, case: Case) -> tuple[int, frozenset[int]]:
        fold = self._fold.get(case.person, -1) if case.split == "dev" else -1
        keys = [case.prompt] if self._by_prompt else [case.chosen, case.rejected]
        return fold, frozenset(hash_text(key) % _FOLDS for key in keys) if self._people else frozenset()

    def _items(self, record: Record) -> frozenset[int]:
        keys = [prompt_of(record)] if self._by_prompt else [own_text(record), other_text(record) or own_text(record)]
        return frozenset(hash_text(key) % _FOLDS for key in keys)

    def _estimate(self, fold: int, items: frozenset[int]) -> RewardPopulation:
        people: dict[str, list[FeatureRow]] = {}
        for person, theirs in self._people.items():
            rows = [row for row, its in theirs if not its & items]
            if rows and self._fold[person] != fold:
                people[person] = rows
        if len(people) < _FEWEST_PEOPLE or self._settings is None:
            return self._base
        return estimate_from_rows(people, self._base, name=f"people of {self._name}", settings=self._settings)

    def _posterior(self, case: Case, records: tuple[Record, ...]) -> Posterior:
        key = (*self._key(case), records)
        if key not in self._posteriors:
            rows = tuple(self._rows[content_of(record)] for record in drop_repeats(records))
            self._posteriors[key] = Reward(self.population(case), rows).posterior
        return self._posteriors[key]


class ToneReader:
    """An ``Encoder`` that reads how a text comes across, after what another encoder reads of it.

    A reading is log p(word | prompt, text) - log p(opposite | prompt, text) in nats, by the first words of the poles of
    a dimension, such as "Warm" and "Cold". A text is read once for all words; most are one or two tokens.

    Args:
        scorer: gives log-probabilities of words.
        encoder: what it reads comes first; None for readings alone.
        progress: told of the texts that were read.
    """

    def __init__(self, scorer: Scorer, *, encoder: Encoder | None = None, progress: Progress | None = None) -> None:
        self._scorer = scorer
        self._encoder = encoder
        self._progress = progress
        poles = {each.name: each.poles for each in load_space().dimensions}
        self._words = [pole.split()[0] for name in TONES for pole in (poles[name].high, poles[name].low)]
        asked = hashlib.sha256(json.dumps([self._words, _ask_tone("", ""), _TONE_WORDS]).encode()).hexdigest()
        own = f"{scorer.name} tones {asked[:8]}"
        self.name = f"{encoder.name} + {own}" if encoder is not None else own

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """What the other encoder gives, and the readings; see ``Encoder``.

        Raises:
            ContextLengthError: a prompt does not fit the scorer.
            ModelServerError: a model could not be reached.
        """
        rows = self.read(items)
        return rows if self._encoder is None else np.hstack([self._encoder.encode(items), rows])

    def read(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """The readings alone, in nats, shape (n, tones).

        Args:
            items: prompt and text of each.
        """
        rows = np.zeros((len(items), len(TONES)), np.float32)
        for at, (prompt, text) in enumerate(items):
            logs = np.array([score.logprob for score in self._scorer.score(_ask_tone(prompt, text), self._words)])
            rows[at] = logs[0::2] - logs[1::2]
            if self._progress is not None:
                self._progress("texts", at + 1, len(items))
        return rows


def with_tones(base: RewardPopulation, reader: ToneReader, items: Sequence[tuple[str, str]]) -> RewardPopulation:
    """A population that also expects tastes for tone, independent of all others.

    They are expected along the ways in which texts differ in tone: the weight of a principal component of the readings
    varies with the square of the component's variance.

    Args:
        base: has the axes of the reader's other encoder.
        reader: the new population's encoder.
        items: prompt and text of each of some texts; who chose them does not matter.
    """
    raw = reader.read(items).astype(np.float64)
    tones = principal_axes(reader.name, raw, np.full(len(raw), 1 / len(raw)), len(TONES))
    known = base.space.encoder_axes or Axes(name="", mean=(), axes=())
    before, after = (0.0,) * len(known.mean), (0.0,) * len(TONES)
    axes = (*((*axis, *after) for axis in known.axes), *((*before, *axis) for axis in tones.axes))
    space = base.space.with_encoder(Axes(name=reader.name, mean=(*known.mean, *tones.mean), axes=axes))
    old = [space.names.index(name) for name in base.space.names]
    grid, size = np.ix_(old, old), len(space.names)
    new = np.setdiff1d(np.arange(size), old)

    def place(mean: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.zeros(size)
        found[old] = mean
        return found

    def widen(square: NDArray[np.float64], variances: float | NDArray[np.float64] = 1.0) -> NDArray[np.float64]:
        found = np.zeros((size, size))
        found[grid], found[new, new] = square, variances
        return found

    # A component has variance one, so the squared length of its axis is one over the readings' variance along it.
    strengths = np.array([1 / np.sum(np.square(axis)) for axis in tones.axes]) ** 2
    tastes = _TONE_TASTES * strengths / max(float(strengths.sum()), 1e-12)
    contexts = {
        kind: Context(place(each.mean), widen(each.within), None if each.shared is None else widen(each.shared))
        for kind, each in base.prior.contexts.items()
    }
    covariance = widen(_OTHER_TASTES * base.prior.covariance, tastes)
    prior = replace(base.prior, mean=place(base.prior.mean), covariance=covariance, contexts=contexts)
    return RewardPopulation(f"{base.name} with tones", space, prior)


def _ask_tone(prompt: str, text: str) -> list[Message]:
    shown = [fence(excerpt(prompt, _TONE_WORDS), "prompt")] if prompt else []
    shown += [fence(excerpt(text, _TONE_WORDS), "answer"), "This answer comes across as:"]
    return [
        {"role": "system", "content": "You say in one word how an answer comes across."},
        {"role": "user", "content": "\n\n".join(shown)},
    ]


class CollaborativeSolver:
    """Predicts a choice from other people's choices between the same items, by their strengths (Bradley, Terry 1952).

    Args:
        task: gives other people's records.
    """

    def __init__(self, task: Task) -> None:
        self._people = {
            person: pairs
            for person, records in _others(task, most=None).items()
            if (pairs := [record for record in records if isinstance(record, Pair)])
        }
        self._fold = fold_people(self._people)
        self._strengths: dict[int, dict[str, float]] = {}

    def __call__(self, case: Case) -> float | None:
        """Log-odds of the preferred answer; None where others were not asked about both answers."""
        fold = self._fold.get(case.person, -1) if case.split == "dev" else -1
        if fold not in self._strengths:
            self._strengths[fold] = _estimate_strengths(
                [pair for person, pairs in self._people.items() if self._fold[person] != fold for pair in pairs]
            )
        known = self._strengths[fold]
        if case.chosen not in known or case.rejected not in known:
            return None
        return known[case.chosen] - known[case.rejected]


def _others(task: Task, most: int | None = _MOST_PEOPLE) -> dict[str, Sequence[Record]]:
    """Records of dev people; of many people, of those with the lowest hashes."""
    if not isinstance(task, PeopleTask):
        return {}
    people = task.people(split="dev")
    return {person: people[person] for person in sorted(people, key=hash_text)[:most]}


def _read_answers(
    base: RewardPopulation, cases: Sequence[Case], encoder: Encoder | None
) -> dict[str, NDArray[np.float64]]:
    """Features of the preferred answer minus those of the other one, by case id; each text is read once."""
    sides = {
        case.id: [Reading(case.prompt, text, case.draft or None) for text in (case.chosen, case.rejected)]
        for case in cases
    }
    distinct = list(dict.fromkeys(reading for both in sides.values() for reading in both))
    found = dict(zip(distinct, read_features(base.space, distinct, encoder), strict=True))
    return {case: found[chosen] - found[rejected] for case, (chosen, rejected) in sides.items()}


def _estimate_strengths(pairs: Sequence[Pair]) -> dict[str, float]:
    """Strengths of texts from choices, with a normal prior, by Newton's method."""
    names = sorted({text for pair in pairs for text in (pair.chosen, pair.rejected)})
    place = {name: at for at, name in enumerate(names)}
    won, lost = (np.array([place[getattr(pair, side)] for pair in pairs], dtype=int) for side in ("chosen", "rejected"))
    strengths = np.zeros(len(names))
    for _ in range(_NEWTON_STEPS):
        missed = 1.0 / (1.0 + np.exp(strengths[won] - strengths[lost]))
        slope = -_STRENGTH_PRECISION * strengths
        np.add.at(slope, won, missed)
        np.add.at(slope, lost, -missed)
        spread, curvature = missed * (1 - missed), np.eye(len(names)) * _STRENGTH_PRECISION
        for rows, columns, sign in ((won, won, 1), (lost, lost, 1), (won, lost, -1), (lost, won, -1)):
            np.add.at(curvature, (rows, columns), sign * spread)
        strengths += np.linalg.solve(curvature, slope) if names else 0.0
    return dict(zip(names, strengths.tolist(), strict=True))
