"""The cells of all statements that saw the same choices, as one table: what is asked of many statements at once.

It judges nothing, and runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.scores import ScoreMatrix

__all__ = ["Table", "widest_table"]


@dataclass(frozen=True)
class Table:
    """Statements of the space that saw the same choices of a person.

    Attributes:
        hypotheses: the statements.
        matrix: has their cells.
        user: the person.
        records: ids of the choices.
    """

    hypotheses: list[Hypothesis]
    matrix: ScoreMatrix
    user: str
    records: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Ids of the statements."""
        return [hypothesis.id for hypothesis in self.hypotheses]

    @property
    def own(self) -> NDArray[np.float64]:
        """The person's cells, shape (choices, statements), without gaps."""
        return self.matrix.complete(self.columns, self.user)

    @property
    def weights(self) -> NDArray[np.float64]:
        """How much each of those choices counts, shape (choices,)."""
        return self.matrix.weights(self.columns, self.user)

    @property
    def others(self) -> list[NDArray[np.float64]]:
        """The same of each other person."""
        people = dict.fromkeys(row.user for row in self.matrix.rows if row.user != self.user)
        return [cells for cells in (self.matrix.complete(self.columns, name) for name in people) if len(cells)]


def widest_table(tried: Sequence[tuple[Hypothesis, ScoreMatrix]], user: str) -> Table | None:
    """The table with the most statements; None where nothing of the space was tried.

    Args:
        tried: each hypothesis with the matrix that has a column for it.
        user: whose profile this is.
    """
    tables: dict[tuple[int, tuple[str, ...]], Table] = {}
    for hypothesis, matrix in tried:
        if hypothesis.source == "space":
            records = tuple(matrix.of(hypothesis.id, lambda row: row.user == user)[0])
            tables.setdefault((id(matrix), records), Table([], matrix, user, records)).hypotheses.append(hypothesis)
    return max(tables.values(), key=lambda table: len(table.hypotheses), default=None)
