"""The test by measurement: claims that numbers can check, on records they were not made from.

No model is involved. This file does not know how features are measured: ``hyperalign.style`` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, other_text, own_text
from hyperalign.style import StyleClaim, measure

from . import Done
from .rows import row_by_row

__all__ = ["MeasurementTest"]


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
        return row_by_row(self._row, records, hypotheses, wanted, done)

    def _row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        own, other = self._holds(own_text(record), hypotheses), other_text(record)
        if other is None:
            return own
        return [mine - theirs for mine, theirs in zip(own, self._holds(other, hypotheses), strict=True)]

    def _holds(self, text: str, hypotheses: Sequence[Hypothesis]) -> list[float]:
        features = measure(text)
        return [self._claims[h.id].holds(features) for h in hypotheses]
