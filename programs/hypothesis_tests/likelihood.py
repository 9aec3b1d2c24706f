"""Tests that ask no model a question: by measurement, by features, and by log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import SPACE_ID, Hypothesis
from hyperalign.records import Record, other_text, own_text, prompt_of
from hyperalign.scores import Message, Scorer
from hyperalign.space import Space, load_space
from hyperalign.style import StyleClaim, measure
from hyperalign.text import excerpt, fence

from ..reward import Encoder, Reading, RewardPopulation
from ..reward.features import read_features
from ..reward.population import read_rows
from . import Done, Screen, pick_rows

__all__ = ["DirectionTest", "ExampleTest", "LikelihoodTest", "MeasurementTest", "fill_rows", "find_readable"]

_AGREEMENT = 1.0


def fill_rows(
    row: Callable[[Record, Sequence[Hypothesis]], Sequence[float]],
    records: Sequence[Record],
    hypotheses: Sequence[Hypothesis],
    wanted: NDArray[np.bool_],
    done: Done,
    *,
    screen: Screen | None = None,
) -> NDArray[np.float64]:
    """Fill cells one row at a time, so that a test reads each record once.

    Args:
        row: gives the cells of one record for some hypotheses.
        records: the rows.
        hypotheses: the columns.
        wanted: which cells to fill, shape (records, hypotheses).
        done: called as rows are finished.
        screen: stops hypotheses for futility; none if None.

    Returns:
        Shape (records, hypotheses); NaN where a cell is not wanted or its hypothesis was stopped.
    """
    values = np.full(wanted.shape, math.nan)
    first = screen.first(records, wanted) if screen else []
    order = [*first, *(i for i in range(len(records)) if i not in first)]
    for finished, i in enumerate(order):
        if screen and first and finished == len(first):
            wanted = wanted & ~screen.futile(records, hypotheses, values)
        columns = np.flatnonzero(wanted[i]).tolist()
        if columns:
            values[i, columns] = row(records[i], [hypotheses[j] for j in columns])
        done(finished + 1)
    return values


class MeasurementTest:
    """Tests measured hypotheses by style features, without a model.

    Args:
        claims: the claim behind each measured hypothesis, by hypothesis id.
    """

    name = "measurement"
    scorer = "measured"

    def __init__(self, claims: Mapping[str, StyleClaim]) -> None:
        self._claims = claims

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Hypotheses with a claim."""
        return hypothesis.id in self._claims

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """How far each record supports each claim, in within-person standard deviations (-3 to 3).

        For a pair or an edit: minus the same of the rejected text.
        """
        return fill_rows(self._row, records, hypotheses, wanted, done)

    def _row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        own, other = self._support(own_text(record), hypotheses), other_text(record)
        if other is None:
            return own
        return [mine - theirs for mine, theirs in zip(own, self._support(other, hypotheses), strict=True)]

    def _support(self, text: str, hypotheses: Sequence[Hypothesis]) -> list[float]:
        features, claims = measure(text), [self._claims[h.id] for h in hypotheses]
        return [claim.holds(features) if claim.is_about(text) else 0.0 for claim in claims]


def find_readable(population: RewardPopulation, space: Space) -> dict[str, NDArray[np.float64]]:
    """The dimensions in which features read texts, each with its weights.

    These are dimensions of the shipped space whose direction orders all contrasts that it was not made of. One of
    another space that says something else than the shipped one of its name is not among them.

    Args:
        population: has the features and the directions.
        space: whose dimensions they are.
    """
    shipped = {each.name: (each.high, each.low) for each in load_space().dimensions}
    same = {each.name for each in space.dimensions if shipped.get(each.name) == (each.high, each.low)}
    found = population.directions.items()
    return {name: np.array(each.weights) for name, each in found if name in same and each.agreement >= _AGREEMENT}


class DirectionTest:
    """Tests dimensions of the shipped space by the features of texts, without a model.

    A cell is the text's reading in the dimension, or what an answer has more of it than the one beside it: one is as
    far as the two poles of a contrast lie apart; see ``programs.reward.directions``.

    Args:
        population: has the features and the directions.
        encoder: the one whose axes the population has; without one, no dimension is read: measured features alone
            tell too little.
        space: whose dimensions are tested.
    """

    name = "direction"

    def __init__(self, population: RewardPopulation, encoder: Encoder | None, space: Space) -> None:
        self._population = population if encoder is not None else population.without_encoder()
        self._encoder = encoder
        self._space = space

    @property
    def scorer(self) -> str:
        """The features' population and encoder."""
        return f"{self._population.name}+{self._encoder.name if self._encoder else 'measured'}"

    @property
    def dimensions(self) -> Collection[str]:
        """Names of the dimensions that it reads; see ``find_readable``."""
        return self._weights

    @cached_property
    def _weights(self) -> dict[str, NDArray[np.float64]]:
        return find_readable(self._population, self._space)

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Dimensions of the space that it reads."""
        return hypothesis.source == "space" and hypothesis.id.removeprefix(SPACE_ID) in self._weights

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """Readings of the records, in contrasts."""
        weights = np.array([self._weights[each.id.removeprefix(SPACE_ID)] for each in hypotheses])
        rows = read_rows(self._population.space, records, self._encoder, keep_repeats=True)
        values = np.array([row.values for row in rows]) @ weights.T
        done(len(records))
        return np.where(wanted, values, math.nan)

    def read_sentences(self, hypothesis: Hypothesis, sentences: Sequence[str]) -> list[float]:
        """How far each sentence shows a statement, in contrasts; the statement may be that of the low pole."""
        name = hypothesis.id.removeprefix(SPACE_ID)
        high = next(each.high for each in self._space.dimensions if each.name == name)
        read = read_features(self._population.space, [Reading("", each) for each in sentences], self._encoder)
        readings = read @ self._weights[name]
        return [float(each) for each in (readings if hypothesis.statement == high else -readings)]


class _ScorerTest:
    def __init__(self, scorer: Scorer, words: int) -> None:
        self._scorer = scorer
        self._words = words

    @property
    def scorer(self) -> str:
        """The scorer's name."""
        return self._scorer.name


_QUESTION = "How does the writer of this come across? Answer in one short phrase."
_COMPARED = (
    "These are two answers to one prompt. How does the first come across, compared with the second? "
    "Answer in one short phrase."
)


class LikelihoodTest(_ScorerTest):
    """Tests statements by the log-probabilities that a model gives them after a text.

    A sample's cell is log p(statement | text) - log p(opposite | text): by Bayes' rule how much more the text supports
    the statement, up to a constant of the two phrases, which cancels against other people's records. Pairs and edits
    are shown with both texts, and the cell is the answer with the chosen text first minus the answer with it second,
    which also cancels a preference for one place. The comparison is that of AlignX's "alignment accuracy" (section 5),
    with texts and statement exchanged, so that each pair is read once for all statements.

    Args:
        scorer: gives log-probabilities of text.
        words: how many words of a record are read.
        screen: stops statements for futility; none if None.
    """

    name = "likelihood"

    def __init__(self, scorer: Scorer, *, words: int = 50, screen: Screen | None = None) -> None:
        super().__init__(scorer, words)
        self._screen = screen

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Statements with an opposite that style features do not measure."""
        return hypothesis.kind == "statement" and hypothesis.source != "measured" and bool(hypothesis.opposite)

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """How much each record supports a statement over its opposite, in nats."""
        return fill_rows(self._row, records, hypotheses, wanted, done, screen=self._screen)

    def _row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        other = other_text(record)
        if other is None:
            return self._score(f"{fence(excerpt(own_text(record), self._words), 'text')}\n\n{_QUESTION}", hypotheses)
        own_first = self._score(self._compare(record, own_text(record), other), hypotheses)
        own_second = self._score(self._compare(record, other, own_text(record)), hypotheses)
        return [first - second for first, second in zip(own_first, own_second, strict=True)]

    def _compare(self, record: Record, first: str, second: str) -> str:
        shown = [fence(excerpt(prompt_of(record), self._words), "prompt")] if prompt_of(record) else []
        shown += [fence(excerpt(first, self._words), "first"), fence(excerpt(second, self._words), "second")]
        return "\n\n".join([*shown, _COMPARED])

    def _score(self, question: str, statements: Sequence[Hypothesis]) -> list[float]:
        # Without full stops: each costs a token and carries no information.
        poles = [pole.rstrip(".") for h in statements for pole in (h.statement, h.opposite)]
        scores = self._scorer.score([{"role": "user", "content": question}], poles)
        # Sums, not means: a phrase is one claim, however long it is.
        return [scores[2 * i].logprob - scores[2 * i + 1].logprob for i in range(len(statements))]


_NO_PROMPT = "Write a text of your own."


class ExampleTest(_ScorerTest):
    """Tests raw examples: a good one raises the probability of the person's other texts more than of other people's.

    A cell is log p(text | example, prompt) - log p(text | prompt), in nats per token.

    Args:
        scorer: gives log-probabilities of text.
        words: how many words of each other text are scored.
        rows: at most so many of the person's records, and as many of other people's: the test is expensive.
    """

    name = "example"

    def __init__(self, scorer: Scorer, *, words: int = 25, rows: int = 3) -> None:
        super().__init__(scorer, words)
        self._rows = rows

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Raw examples."""
        return hypothesis.kind == "example"

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """How much an example adds to each text, in nats per token; NaN for rows beyond those scored."""
        values = np.full(wanted.shape, math.nan)
        rows = pick_rows(records, wanted, self._rows, records[0].user if records else "")
        bare = {i: self._score([], records[i]) for i in rows}
        for j, hypothesis in enumerate(hypotheses):
            shown: list[Message] = [
                {"role": "user", "content": _NO_PROMPT},
                {"role": "assistant", "content": hypothesis.statement},
            ]
            for i in rows:
                if wanted[i, j]:
                    values[i, j] = self._score(shown, records[i]) - bare[i]
            done((j + 1) * len(records) // len(hypotheses))
        return values

    def _score(self, shown: Sequence[Message], record: Record) -> float:
        prompt: Message = {"role": "user", "content": prompt_of(record) or _NO_PROMPT}
        (score,) = self._scorer.score([*shown, prompt], [excerpt(own_text(record), self._words)])
        return score.mean
