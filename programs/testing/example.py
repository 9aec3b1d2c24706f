"""The test of raw examples: does one text of a person make their other texts more probable?

cell = log p(text | example, prompt) - log p(text | prompt), in nats per token. A good example
raises the person's own texts more than other people's. Each example is read once: texts are
tried one after another behind it. This file knows no runtime.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, own_text, prompt_of
from hyperalign.scores import Message, Scorer

from ..excerpts import excerpt
from . import Done
from .screen import foremost

__all__ = ["ExampleTest"]

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
