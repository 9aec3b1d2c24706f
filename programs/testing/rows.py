"""Fills a matrix record by record: the order for tests that read a record once for all hypotheses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.records import Record

__all__ = ["row_by_row"]


def row_by_row(
    row: Callable[[Record, Sequence[Hypothesis]], Sequence[float]],
    records: Sequence[Record],
    hypotheses: Sequence[Hypothesis],
    wanted: NDArray[np.bool_],
    done: Callable[[int], None],
) -> NDArray[np.float64]:
    """Cells of shape (records, hypotheses), asked for one row at a time; NaN where not wanted.

    Args:
        row: gives the cells of one record for some hypotheses.
        records: the rows.
        hypotheses: the columns.
        wanted: which cells to fill.
        done: told how many rows are finished.
    """
    values = np.full(wanted.shape, math.nan)
    for i, record in enumerate(records):
        columns = np.flatnonzero(wanted[i]).tolist()
        if columns:
            values[i, columns] = row(record, [hypotheses[j] for j in columns])
        done(i + 1)
    return values
