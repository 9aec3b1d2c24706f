"""Stops early what shows nothing: the dear tests read all records only for hypotheses that may still win.

Stopping for futility never helps a hypothesis: it is kept only if all its cells speak for it,
so chance gets no second try, and the false-discovery rate holds. This file knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record

from ..difference import studentized

__all__ = ["Screen", "foremost"]


@dataclass(frozen=True, slots=True)
class Screen:
    """When to stop.

    Attributes:
        user: whose records are the person's own.
        rows: how many of their records, and of other people's, are read before anything is stopped.
        least: standard errors by which the person must then lie above others, or away from them where a
            hypothesis may still be turned to its other pole.
    """

    user: str
    rows: int = 3
    least: float = 1.0

    def first(self, records: Sequence[Record], wanted: NDArray[np.bool_]) -> list[int]:
        """The rows to read before stopping; none where they would be all."""
        rows = foremost(records, wanted, self.rows, self.user)
        return rows if len(rows) < len(records) else []

    def hopeless(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], values: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which columns to stop, shape (hypotheses,); those with fewer than two cells on a side go on.

        Args:
            records: the rows.
            hypotheses: the columns.
            values: the cells so far, NaN where there is none.
        """
        mine = np.array([record.user == self.user for record in records])
        stop = np.zeros(len(hypotheses), dtype=np.bool_)
        for column, hypothesis in enumerate(hypotheses):
            filled = ~np.isnan(values[:, column])
            own, others = values[filled & mine, column], values[filled & ~mine, column]
            if len(own) < 2 or len(others) < 2:
                continue
            apart = float(studentized(own, others))
            stop[column] = (abs(apart) if hypothesis.source == "space" else apart) < self.least
        return stop


def foremost(records: Sequence[Record], wanted: NDArray[np.bool_], count: int, user: str) -> list[int]:
    """Rows of the person and of others, at most ``count`` of each, those that most hypotheses may see first.

    Then hypotheses made from different records are judged by the same texts, as far as that can be.
    """
    rows = sorted(range(len(records)), key=lambda i: (-int(wanted[i].sum()), i))
    own = [i for i in rows if records[i].user == user]
    others = [i for i in rows if records[i].user != user]
    return sorted([*own[:count], *others[:count]])
