"""Tests of hypotheses: each fills a score matrix with how well hypotheses fit records.

A hypothesis is never scored on a record that it was made from. Tests that ask a model may stop early for futility:
a hypothesis that the first records do not support is not tested on the rest. That never helps a hypothesis, since it is
kept only if all its cells support it, so the false-discovery rate holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hyperalign.concurrency import Progress
from hyperalign.dependence import fingerprint
from hyperalign.profile import Hypothesis
from hyperalign.records import Record, other_text
from hyperalign.scores import Row, ScoreMatrix, welch_t

__all__ = ["Done", "HypothesisTest", "Screen", "average", "fill", "pick_rows"]

Done = Callable[[int], None]
"""Called with the number of rows that are finished."""


class HypothesisTest(Protocol):
    """A way to test hypotheses on records."""

    @property
    def name(self) -> str:
        """The test's name in profiles: ``likelihood``, ``choice``, ``direction``, ``measurement`` or your own."""
        ...

    @property
    def scorer(self) -> str:
        """The model with a hash of its weights, or ``measured``."""
        ...

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Whether this test can judge a hypothesis."""
        ...

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """Fill the cells of a matrix.

        Args:
            records: its rows.
            hypotheses: its columns, all accepted by ``applies``.
            wanted: shape (records, hypotheses): False where a hypothesis was made from the record.
            done: to call as rows are finished.

        Returns:
            Shape (records, hypotheses): above 0 where a record supports a hypothesis; NaN where the cell is not wanted
            or can't be filled.
        """
        ...


def fill(
    test: HypothesisTest,
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
        hypotheses: candidates; those that the test does not apply to are left out.
        records: the person's and other people's.
        made_from: by hypothesis id, the ids of the records it was made from.
        user: the person whose records those ids are, as other people's records may have the same ids; anybody's if
            None. Their rows say when the records were made, and what they share with each other.
        progress: called as records are finished.

    Returns:
        A matrix of ``records`` x the hypotheses that the test applies to.
    """
    columns = [h for h in hypotheses if test.applies(h)]

    def is_wanted(hypothesis: Hypothesis, record: Record) -> bool:
        return user not in {None, record.user} or record.id not in made_from.get(hypothesis.id, ())

    def done(rows: int) -> None:
        if progress is not None:
            progress(f"test by {test.name}", rows, len(records))

    wanted = np.array([[is_wanted(h, r) for h in columns] for r in records], dtype=np.bool_)
    empty = not columns or not records
    values = np.empty((len(records), len(columns))) if empty else test.cells(records, columns, wanted, done)
    rows = [Row(record.id, record.user, other_text(record) is not None) for record in records]
    # Of other people's records nothing more need be known.
    rows = [
        replace(row, time=record.time, shares=fingerprint(record)) if record.user == user else row
        for row, record in zip(rows, records, strict=True)
    ]
    return ScoreMatrix(test.name, test.scorer, tuple(rows), tuple(h.id for h in columns), values)


def average(matrices: Sequence[ScoreMatrix]) -> ScoreMatrix:
    """The mean of several tests of the same records, each in the root mean square of its cells of a statement.

    A statement that some of them could not test has the mean of the others; that of one test alone is as it was.

    Args:
        matrices: at least one; rows are the same records.
    """
    if len(matrices) == 1:
        return matrices[0]
    columns = tuple(dict.fromkeys(column for matrix in matrices for column in matrix.columns))
    values = np.full((len(matrices), len(matrices[0].rows), len(columns)), math.nan)
    for cells, matrix in zip(values, matrices, strict=True):
        squares = np.nan_to_num(matrix.values**2)
        sizes = np.sqrt(squares.sum(axis=0) / np.maximum(1, (~np.isnan(matrix.values)).sum(axis=0)))
        at = [columns.index(column) for column in matrix.columns]
        cells[:, at] = matrix.values / np.where(sizes > 0, sizes, 1.0)
    known = ~np.isnan(values)
    mean = np.where(known.any(axis=0), np.nan_to_num(values).sum(axis=0) / np.maximum(1, known.sum(axis=0)), math.nan)
    test, scorer = (" + ".join(names) for names in zip(*((each.test, each.scorer) for each in matrices), strict=True))
    return ScoreMatrix(test, scorer, matrices[0].rows, columns, mean)


@dataclass(frozen=True, slots=True)
class Screen:
    """When to stop testing a hypothesis for futility.

    Attributes:
        user: the person.
        rows: how many of the person's records, and of other people's, are tested before anything is stopped.
        least: the lowest Welch t of the person's cells against other people's that goes on; its absolute value for
            hypotheses that may be reversed.
    """

    user: str
    rows: int = 3
    least: float = 1.0

    def first(self, records: Sequence[Record], wanted: NDArray[np.bool_]) -> list[int]:
        """The rows to test before stopping; none where they would be all."""
        rows = pick_rows(records, wanted, self.rows, self.user)
        return rows if len(rows) < len(records) else []

    def futile(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], values: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which hypotheses to stop, shape (hypotheses,); those with fewer than two cells on a side go on.

        Args:
            records: the rows.
            hypotheses: the columns.
            values: the cells so far; NaN where there is none.
        """
        mine = np.array([record.user == self.user for record in records])
        stop = np.zeros(len(hypotheses), dtype=np.bool_)
        for column, hypothesis in enumerate(hypotheses):
            filled = ~np.isnan(values[:, column])
            own, others = values[filled & mine, column], values[filled & ~mine, column]
            if len(own) >= 2 and len(others) >= 2:
                t = float(welch_t(own, others))
                stop[column] = (abs(t) if hypothesis.source == "space" else t) < self.least
        return stop


def pick_rows(records: Sequence[Record], wanted: NDArray[np.bool_], count: int, user: str) -> list[int]:
    """The rows with the most wanted cells, at most ``count`` of the person's and ``count`` of other people's.

    So hypotheses that were made from different records are tested on the same ones as far as possible.
    """
    rows = sorted(range(len(records)), key=lambda i: (-int(wanted[i].sum()), i))
    own = [i for i in rows if records[i].user == user]
    others = [i for i in rows if records[i].user != user]
    return sorted([*own[:count], *others[:count]])
