"""Tests of hypotheses: by likelihood, by choice, by measurement.

A ``Test`` fills one row of a score matrix at a time, so that a record is read once for all
hypotheses. A cell says how much better a hypothesis fits the record than its opposite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hyperalign.profile import Hypothesis
from hyperalign.records import Record

__all__ = ["Test"]


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

    def row(self, record: Record, hypotheses: Sequence[Hypothesis]) -> list[float]:
        """One row of the matrix.

        Args:
            record: the record to test on.
            hypotheses: those that ``applies`` accepted.

        Returns:
            A cell for each hypothesis, in order: above 0 where the record speaks for it; NaN where it can't tell.
        """
        ...
