"""Fills score matrices: every test on every record it may see.

A hypothesis is never scored on a record that it was made from: that cell stays empty. This file
knows no way to choose: ``select`` reads the finished matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, other_text
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
    user: str | None = None,
    progress: Progress | None = None,
) -> ScoreMatrix:
    """Run one test on all records.

    Args:
        test: the test.
        hypotheses: candidates; those that the test can't judge are left out.
        records: the person's and other people's.
        made_from: for each hypothesis id, ids of the records it was made from.
        user: whose records those are: somebody else's may have the same id; None for whoever's.
        progress: told after each record.

    Returns:
        The matrix: ``records`` x the hypotheses the test applies to.
    """
    columns = [h for h in hypotheses if test.applies(h)]

    def made(hypothesis: Hypothesis, record: Record) -> bool:
        return user in {None, record.user} and record.id in made_from.get(hypothesis.id, ())

    wanted = np.array([[not made(h, r) for h in columns] for r in records], dtype=np.bool_)

    def done(rows: int) -> None:
        if progress is not None:
            progress(f"test by {test.name}", rows, len(records))

    empty = not columns or not records
    values = np.empty((len(records), len(columns))) if empty else test.cells(records, columns, wanted, done)
    rows = tuple(Row(record.id, record.user, other_text(record) is not None) for record in records)
    return ScoreMatrix(test.name, test.scorer, rows, tuple(h.id for h in columns), values)
