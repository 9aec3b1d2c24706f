"""Fills score matrices: every test on every record it may see.

A hypothesis is never scored on a record that it was made from: that cell stays empty. Rows
are filled record by record, so that a record is read once. This file knows no way to choose:
``select`` reads the finished matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from hyperalign.profile import Hypothesis
from hyperalign.records import Record
from hyperalign.scores import Row, ScoreMatrix

from .testing import Test

__all__ = ["Progress", "fill"]

Progress = Callable[[str, int, int], None]
"""Told after each unit of work: the step's name, units done, units in all."""


def fill(
    test: Test,
    hypotheses: Sequence[Hypothesis],
    records: Sequence[Record],
    *,
    made_from: Mapping[str, Collection[str]],
    progress: Progress | None = None,
) -> ScoreMatrix:
    """Run one test on all records.

    Args:
        test: the test.
        hypotheses: candidates; those that the test can't judge are left out.
        records: the person's and other people's.
        made_from: for each hypothesis id, ids of the records it was made from.
        progress: told after each record.

    Returns:
        The matrix: ``records`` x the hypotheses the test applies to.
    """
    columns = [h for h in hypotheses if test.applies(h)]
    values = np.full((len(records), len(columns)), math.nan)
    for i, record in enumerate(records):
        open_columns = [j for j, h in enumerate(columns) if record.id not in made_from.get(h.id, ())]
        if open_columns:
            values[i, open_columns] = test.row(record, [columns[j] for j in open_columns])
        if progress is not None:
            progress(f"test by {test.name}", i + 1, len(records))
    rows = tuple(Row(record.id, record.user) for record in records)
    return ScoreMatrix(test.name, test.scorer, rows, tuple(h.id for h in columns), values)
