"""The test by likelihood: what a model's log-probabilities say of a statement, without asking it anything.

A text is read once, then every statement and its opposite is scored as what somebody would say of
its writer: log p(h | text) - log p(opposite | text), in nats. By Bayes this is how much more the text
speaks for h than for its opposite, up to a constant of the two phrases. Cost grows with the hypotheses'
own tokens: no text is read twice.

**Samples.** The cell is what their text says; the constant cancels when other people's records are subtracted.

**Pairs and edits.** The cell is what the chosen text says minus what the one turned down says, so that the
constant cancels in the pair itself. It asks what AlignX's "alignment accuracy" (section 5) asks, with text and
statement exchanged: that form reads each pair anew for every statement.

This file knows no runtime: the scorer is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, other_text, own_text
from hyperalign.scores import Scorer

from ..excerpts import excerpt
from ..fenced import fenced
from . import Done
from .rows import row_by_row
from .screen import Screen

__all__ = ["LikelihoodTest"]

_QUESTION = "How does the writer of this come across? Answer in one short phrase."


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
        own = self._reads(own_text(record), hypotheses)
        other = other_text(record)
        if other is None:
            return own
        return [mine - theirs for mine, theirs in zip(own, self._reads(other, hypotheses), strict=True)]

    def _reads(self, text: str, statements: Sequence[Hypothesis]) -> list[float]:
        question = f"{fenced(excerpt(text, self._words), 'text')}\n\n{_QUESTION}"
        # Without full stops: each would cost a token and say nothing of the person.
        poles = [pole.rstrip(".") for h in statements for pole in (h.statement, h.opposite)]
        scores = self._scorer.score([{"role": "user", "content": question}], poles)
        # Sums, not means: a phrase is one claim, however long it is.
        return [scores[2 * i].logprob - scores[2 * i + 1].logprob for i in range(len(statements))]
