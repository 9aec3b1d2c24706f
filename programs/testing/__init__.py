"""Tests of hypotheses: by likelihood, by choice, by measurement.

A ``Test`` fills the cells of a score matrix, in the order that lets a model read each text once.
A cell says how much better a hypothesis fits a record than its opposite (or nothing) does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record

__all__ = ["Done", "Test"]

Done = Callable[[int], None]


class Test(Protocol):
    """One way to test hypotheses on records."""

    @property
    def name(self) -> str:
        """What the test is called in profiles: ``likelihood``, ``choice``, ``measurement`` or your own."""
        ...

    @property
    def scorer(self) -> str:
        """The model with its weights' hash, or ``measured``."""
        ...

    def applies(self, hypothesis: Hypothesis) -> bool:
        """True if this test can judge the hypothesis."""
        ...

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """The cells of a matrix.

        Args:
            records: its rows.
            hypotheses: its columns, all accepted by ``applies``.
            wanted: shape (records, hypotheses): False where a hypothesis was made from the record.
            done: to be called with the number of rows finished, as work goes on.

        Returns:
            Shape (records, hypotheses): above 0 where a record speaks for a hypothesis; NaN where it is not wanted
            or can't tell.
        """
        ...
