"""Fills a matrix record by record: the order for tests that read a record once for all hypotheses.

The test by measurement: claims that numbers can check, on records they were not made from.

No model is involved. This file does not know how features are measured: ``hyperalign.style`` does.

The test by likelihood: what a model's log-probabilities say of a statement, without asking it anything.

A text is read once, then every statement and its opposite is scored as what somebody would say of
it: log p(h | text) - log p(opposite | text), in nats. By Bayes this is how much more the text
speaks for h than for its opposite, up to a constant of the two phrases. Cost grows with the hypotheses'
own tokens.

**Samples.** The cell is what their text says; the constant cancels when other people's records are subtracted.

**Pairs and edits.** Both texts are read beside each other, under their prompt, and the question is how the first comes
across compared with the second. The cell is the answer with the chosen text first minus the answer with it second, so
that the constant, and a model's liking for one place, cancel in the pair itself. It asks what AlignX's "alignment
accuracy" (section 5) asks, with texts and statement exchanged: that form reads each pair anew for every statement.

This file knows no runtime: the scorer is handed in.

The test of raw examples: does one text of a person make their other texts more probable?

cell = log p(text | example, prompt) - log p(text | prompt), in nats per token. A good example
raises the person's own texts more than other people's. Each example is read once: texts are
tried one after another behind it. This file knows no runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, other_text, own_text, prompt_of
from hyperalign.scores import Message, Scorer
from hyperalign.style import StyleClaim, measure
from hyperalign.text import excerpt, fenced

from . import Done, Screen, foremost

__all__ = ["ExampleTest", "LikelihoodTest", "MeasurementTest", "fill_rows"]


def fill_rows(
    row: Callable[[Record, Sequence[Hypothesis]], Sequence[float]],
    records: Sequence[Record],
    hypotheses: Sequence[Hypothesis],
    wanted: NDArray[np.bool_],
    done: Callable[[int], None],
    *,
    screen: Screen | None = None,
) -> NDArray[np.float64]:
    """Cells of shape (records, hypotheses), asked for one row at a time; NaN where not wanted.

    Args:
        row: gives the cells of one record for some hypotheses.
        records: the rows.
        hypotheses: the columns.
        wanted: which cells to fill.
        done: told how many rows are finished.
        screen: stops hopeless hypotheses after the first rows; their other cells are NaN.
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
    """Tests measured hypotheses.

    Args:
        claims: the claim behind each measured hypothesis, by hypothesis id.
    """

    name = "measurement"
    scorer = "measured"

    def __init__(self, claims: Mapping[str, StyleClaim]) -> None:
        self._claims = claims

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Only hypotheses that came with a claim."""
        return hypothesis.id in self._claims

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """How far each record bears each claim out, in within-person standard deviations (-3 to 3).

        For a pair or an edit: how much further than the text that was turned down.
        """
        return fill_rows(self._row, records, hypotheses, wanted, done)

    def _row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        own, other = self._holds(own_text(record), hypotheses), other_text(record)
        if other is None:
            return own
        return [mine - theirs for mine, theirs in zip(own, self._holds(other, hypotheses), strict=True)]

    def _holds(self, text: str, hypotheses: Sequence[Hypothesis]) -> list[float]:
        features = measure(text)
        return [self._claims[h.id].holds(features) for h in hypotheses]


_QUESTION = "How does the writer of this come across? Answer in one short phrase."
_COMPARED = (
    "These are two answers to one prompt. How does the first come across, compared with the second? "
    "Answer in one short phrase."
)


class LikelihoodTest:
    """Tests statements by log-probabilities.

    Args:
        scorer: gives log-probabilities of text.
        words: how many words of a record are read.
        screen: stops hopeless statements after the first records; all are read for all if None.
    """

    name = "likelihood"

    def __init__(self, scorer: Scorer, *, words: int = 50, screen: Screen | None = None) -> None:
        self._scorer = scorer
        self._words = words
        self._screen = screen

    @property
    def scorer(self) -> str:
        """The scorer's name."""
        return self._scorer.name

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Statements with an opposite; what is measurable is measured."""
        return hypothesis.kind == "statement" and hypothesis.source != "measured" and bool(hypothesis.opposite)

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """Nats that each record gives a statement over its opposite."""
        return fill_rows(self._row, records, hypotheses, wanted, done, screen=self._screen)

    def _row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        other = other_text(record)
        if other is None:
            return self._says(f"{fenced(excerpt(own_text(record), self._words), 'text')}\n\n{_QUESTION}", hypotheses)
        own_first = self._says(self._compared(record, own_text(record), other), hypotheses)
        own_second = self._says(self._compared(record, other, own_text(record)), hypotheses)
        return [first - second for first, second in zip(own_first, own_second, strict=True)]

    def _compared(self, record: Record, first: str, second: str) -> str:
        shown = [fenced(excerpt(prompt_of(record), self._words), "prompt")] if prompt_of(record) else []
        shown += [fenced(excerpt(first, self._words), "first"), fenced(excerpt(second, self._words), "second")]
        return "\n\n".join([*shown, _COMPARED])

    def _says(self, question: str, statements: Sequence[Hypothesis]) -> list[float]:
        # Without full stops: each would cost a token and say nothing of the person.
        poles = [pole.rstrip(".") for h in statements for pole in (h.statement, h.opposite)]
        scores = self._scorer.score([{"role": "user", "content": question}], poles)
        # Sums, not means: a phrase is one claim, however long it is.
        return [scores[2 * i].logprob - scores[2 * i + 1].logprob for i in range(len(statements))]


_NO_PROMPT = "Write a text of your own."


class ExampleTest:
    """Tests raw examples by log-probabilities.

    Args:
        scorer: gives log-probabilities of text.
        words: how many words of each other text are tried.
        rows: at most so many of the person's records, and as many of others': examples are dear to test.
    """

    name = "example"

    def __init__(self, scorer: Scorer, *, words: int = 25, rows: int = 3) -> None:
        self._scorer = scorer
        self._words = words
        self._rows = rows

    @property
    def scorer(self) -> str:
        """The scorer's name."""
        return self._scorer.name

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Raw examples only."""
        return hypothesis.kind == "example"

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """Nats per token that an example adds to each text; NaN for rows beyond those tried."""
        values = np.full(wanted.shape, math.nan)
        tried = self._tried(records, wanted)
        bare = {i: self._mean([], records[i]) for i in tried}
        for j, hypothesis in enumerate(hypotheses):
            shown: list[Message] = [
                {"role": "user", "content": _NO_PROMPT},
                {"role": "assistant", "content": hypothesis.statement},
            ]
            for i in tried:
                if wanted[i, j]:
                    values[i, j] = self._mean(shown, records[i]) - bare[i]
            done((j + 1) * len(records) // len(hypotheses))
        return values

    def _tried(self, records: Sequence[Record], wanted: NDArray[np.bool_]) -> list[int]:
        owner = records[0].user if records else ""
        return foremost(records, wanted, self._rows, owner)

    def _mean(self, shown: Sequence[Message], record: Record) -> float:
        prompt: Message = {"role": "user", "content": prompt_of(record) or _NO_PROMPT}
        (score,) = self._scorer.score([*shown, prompt], [excerpt(own_text(record), self._words)])
        return score.mean
