"""The test by likelihood: what a model's log-probabilities say of a statement, without asking it anything.

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
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, other_text, own_text, prompt_of
from hyperalign.scores import Scorer

from ..excerpts import excerpt
from ..fenced import fenced
from . import Done
from .rows import row_by_row
from .screen import Screen

__all__ = ["LikelihoodTest"]

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
        return row_by_row(self._row, records, hypotheses, wanted, done, screen=self._screen)

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
