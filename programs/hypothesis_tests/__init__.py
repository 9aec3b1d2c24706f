"""Fills score matrices: every test on every record it may see.

A hypothesis is never scored on a record that it was made from: that cell stays empty. This file
knows no way to choose: ``select`` reads the finished matrix.

Tests of hypotheses: by likelihood, by choice, by measurement.

A ``Test`` fills the cells of a score matrix, in the order that lets a model read each text once.
A cell says how much better a hypothesis fits a record than its opposite (or nothing) does.

Stops early what shows nothing: the dear tests read all records only for hypotheses that may still win.

Stopping for futility never helps a hypothesis: it is kept only if all its cells speak for it,
so chance gets no second try, and the false-discovery rate holds. This file knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hyperalign.concurrency import Progress
from hyperalign.profile import Hypothesis
from hyperalign.records import Record, other_text
from hyperalign.scores import Row, ScoreMatrix, welch_t

__all__ = ["Done", "HypothesisTest", "Screen", "fill", "foremost"]


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


Done = Callable[[int], None]


class HypothesisTest(Protocol):
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

    def futile(
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
            apart = float(welch_t(own, others))
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
