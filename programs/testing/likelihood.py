"""The test by likelihood: what a model's log-probabilities say of a statement, without asking it anything.

**Samples.** The record is read once, then every statement and its opposite is scored as what
somebody would say of its writer: cell = log p(h | text) - log p(opposite | text), in nats. By Bayes
this is how much more the text speaks for h than for its opposite, up to a constant of the two
phrases, and that constant cancels when other people's records are subtracted. Cost grows with
the hypotheses' own tokens: no text is read twice.

**Pairs and edits.** The "alignment accuracy" gain of AlignX (section 5): how much h raises the
probability of what was chosen over what was rejected, minus the same for its opposite, in nats per token.

This file knows no runtime: the scorer is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, Sample, other_text, own_text, prompt_of
from hyperalign.scores import Message, Scorer

from ..excerpts import excerpt
from ..fenced import fenced
from . import Done
from .rows import row_by_row
from .screen import Screen

__all__ = ["LikelihoodTest"]

_QUESTION = "How does the writer of this come across? Answer in one short phrase."
_NO_PROMPT = "Write a text of your own."


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
        """Nats that a statement gains over its opposite (samples), or nats per token (pairs and edits)."""
        return row_by_row(self._row, records, hypotheses, wanted, done, screen=self._screen)

    def _row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        if isinstance(record, Sample):
            return self._on_sample(record, hypotheses)
        return [self._preference(record, h.statement) - self._preference(record, h.opposite) for h in hypotheses]

    def _on_sample(self, record: Sample, statements: Sequence[Hypothesis]) -> list[float]:
        text = excerpt(record.text, self._words)
        question = f"{fenced(text, 'text')}\n\n{_QUESTION}"
        # Without full stops: each would cost a token and say nothing of the person.
        poles = [pole.rstrip(".") for h in statements for pole in (h.statement, h.opposite)]
        scores = self._scorer.score([{"role": "user", "content": question}], poles)
        # Sums, not means: a phrase is one claim, however long it is.
        return [scores[2 * i].logprob - scores[2 * i + 1].logprob for i in range(len(statements))]

    def _preference(self, record: Record, statement: str) -> float:
        conversation: list[Message] = [
            {"role": "system", "content": f"You answer a person. They want answers like this: {statement}"},
            {"role": "user", "content": prompt_of(record) or _NO_PROMPT},
        ]
        texts = [excerpt(own_text(record), self._words), excerpt(other_text(record) or "", self._words)]
        chosen, rejected = self._scorer.score(conversation, texts)
        return chosen.mean - rejected.mean
