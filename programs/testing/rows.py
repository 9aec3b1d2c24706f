"""Fills a matrix record by record: the order for tests that read a record once for all hypotheses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record

from .screen import Screen

__all__ = ["row_by_row"]


def row_by_row(
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
            wanted = wanted & ~screen.hopeless(records, hypotheses, values)
        columns = np.flatnonzero(wanted[i]).tolist()
        if columns:
            values[i, columns] = row(records[i], [hypotheses[j] for j in columns])
        done(finished + 1)
    return values
