"""The score matrix: what each hypothesis gains on each record.

``Scorer`` is the seam to models that give log-probabilities of text. ``ScoreMatrix`` is
the immutable table that tests fill once; choosing, weighting and forgetting are pure
functions of it. This file runs no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict  # pydantic refuses the one in typing before Python 3.12

__all__ = ["Message", "Row", "ScoreMatrix", "Scorer", "TextScore", "welch_t"]


class Message(TypedDict):
    """One turn of a chat, in OpenAI's form."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class TextScore:
    """How probable a model finds a text.

    Attributes:
        logprob: natural log of the text's probability, summed over its tokens (nats, at most 0).
        tokens: how many tokens that sum has.
    """

    logprob: float
    tokens: int

    @property
    def mean(self) -> float:
        """Nats per token; 0.0 for an empty text."""
        return self.logprob / self.tokens if self.tokens else 0.0


@runtime_checkable
class Scorer(Protocol):
    """Log-probabilities of given text: vLLM, llama.cpp's C level, transformers.

    Attributes:
        name: names the model *and its weights* (a hash of them), since scores are cached by it.
    """

    @property
    def name(self) -> str:
        """The model and its weights, as one word."""
        ...

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text as the assistant's whole next turn after the context.

        The context is read once, however many texts follow it; no text sees another.

        Args:
            context: the turns before, at least one; rendered with the model's chat template.
            texts: the continuations.

        Returns:
            One score per text, in order.

        Raises:
            ContextLengthError: a context with its text does not fit the model.
            ModelServerError: the model could not be reached.
        """
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a matrix: a record, and whose it is.

    Attributes:
        record: its id.
        user: whose it is.
        paired: whether its cells weigh what the person took against what they turned down.
        weight: how much it counts; less than 1 where it is old.
    """

    record: str
    user: str
    paired: bool = False
    weight: float = 1.0


@dataclass(frozen=True)
class ScoreMatrix:
    """Records x hypotheses, filled once by one test. Immutable.

    A cell is how much better the hypothesis fits the record than its opposite (or the bare
    model) does, in the test's own unit; NaN marks a cell that was not filled.

    Attributes:
        test: the test's name.
        scorer: the model with its weights' hash, or ``measured``.
        rows: the records, the person's and other people's.
        columns: hypothesis ids.
        values: shape (rows, columns).
    """

    test: str
    scorer: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.rows), len(self.columns)):
            raise ValueError(f"values have shape {self.values.shape}, not {(len(self.rows), len(self.columns))}")
        # A private, frozen copy: whoever filled the array cannot change the matrix afterwards.
        frozen = np.array(self.values, dtype=np.float64)
        frozen.setflags(write=False)
        object.__setattr__(self, "values", frozen)

    def of(self, column: str, keep: Callable[[Row], bool]) -> tuple[list[str], NDArray[np.float64]]:
        """One hypothesis on some rows: their record ids and its filled cells, in order."""
        index = self.columns.index(column)
        picked = [i for i, row in enumerate(self.rows) if keep(row) and not np.isnan(self.values[i, index])]
        return [self.rows[i].record for i in picked], self.values[picked, index]

    def complete(self, columns: Sequence[str], user: str) -> NDArray[np.float64]:
        """One person's cells of some hypotheses, shape (records, hypotheses): the rows that have all of them."""
        indices = [self.columns.index(column) for column in columns]
        cells = self.values[[i for i, row in enumerate(self.rows) if row.user == user]][:, indices]
        return cells[~np.isnan(cells).any(axis=1)]

    def weights(self, columns: Sequence[str], user: str) -> NDArray[np.float64]:
        """How much each row of ``complete`` counts, shape (records,)."""
        indices = [self.columns.index(column) for column in columns]
        rows = [i for i, row in enumerate(self.rows) if row.user == user]
        whole = [i for i in rows if not np.isnan(self.values[i, indices]).any()]
        return np.array([self.rows[i].weight for i in whole], dtype=np.float64)

    def all_paired(self, user: str) -> bool:
        """Whether a person has rows, all of which are choices between two texts."""
        own = [row.paired for row in self.rows if row.user == user]
        return bool(own) and all(own)

    def without(self, records: set[str]) -> ScoreMatrix:
        """The matrix as if some records had never been seen."""
        keep = [i for i, row in enumerate(self.rows) if row.record not in records]
        return replace(self, rows=tuple(self.rows[i] for i in keep), values=self.values[keep])

    def without_person(self, user: str) -> ScoreMatrix:
        """The matrix as if somebody's records had never been seen."""
        keep = [i for i, row in enumerate(self.rows) if row.user != user]
        return replace(self, rows=tuple(self.rows[i] for i in keep), values=self.values[keep])

    def aged(self, user: str, half_life: float) -> ScoreMatrix:
        """The matrix with a person's older records counting less: half as much every so many newer ones.

        Args:
            user: whose; their rows stand in the order in which they came.
            half_life: in records.
        """
        ages = {at: age for age, at in enumerate(reversed([i for i, row in enumerate(self.rows) if row.user == user]))}
        rows = (
            replace(row, weight=0.5 ** (ages[i] / half_life)) if i in ages else row for i, row in enumerate(self.rows)
        )
        return replace(self, rows=tuple(rows))

    def newest(self, user: str, count: int) -> ScoreMatrix:
        """The matrix with a person's newest rows alone, and everybody else's.

        Args:
            user: whose; their rows stand in the order in which they came.
            count: at most so many of them.
        """
        own = [i for i, row in enumerate(self.rows) if row.user == user]
        gone = set(own[: max(0, len(own) - count)])
        keep = [i for i in range(len(self.rows)) if i not in gone]
        return replace(self, rows=tuple(self.rows[i] for i in keep), values=self.values[keep])

    def only(self, columns: Collection[str]) -> ScoreMatrix:
        """The matrix with some of its columns."""
        keep = [i for i, column in enumerate(self.columns) if column in columns]
        return replace(self, columns=tuple(self.columns[i] for i in keep), values=self.values[:, keep])

    def joined(self, other: ScoreMatrix) -> ScoreMatrix:
        """This matrix with another of the same test: rows and columns of both, and no cell where neither has one.

        Args:
            other: its rows come after these; a record that is in both keeps its place, and its new cells count.

        Raises:
            ValueError: the other is of another test, or of another scorer.
        """
        if (self.test, self.scorer) != (other.test, other.scorer):
            raise ValueError(f"cells of {self.test} by {self.scorer}, and of {other.test} by {other.scorer}")
        keys = list(dict.fromkeys((row.record, row.user) for row in (*self.rows, *other.rows)))
        columns = tuple(dict.fromkeys((*self.columns, *other.columns)))
        values = np.full((len(keys), len(columns)), np.nan)
        rows: dict[tuple[str, str], Row] = {}
        for part in (self, other):
            at = [columns.index(column) for column in part.columns]
            for row, cells in zip(part.rows, part.values, strict=True):
                key = (row.record, row.user)
                rows.setdefault(key, row)
                known = values[keys.index(key), at]
                values[keys.index(key), at] = np.where(np.isnan(cells), known, cells)
        return replace(self, rows=tuple(rows[key] for key in keys), columns=columns, values=values)

    def to_json(self) -> str:
        """The matrix as JSON, one row of numbers a line; an unfilled cell is null."""
        head = {"test": self.test, "scorer": self.scorer, "columns": list(self.columns)}
        rows = [
            {
                "record": row.record,
                "user": row.user,
                "paired": row.paired,
                "values": [None if np.isnan(v) else round(float(v), 6) for v in cells],
            }
            for row, cells in zip(self.rows, self.values, strict=True)
        ]
        lines = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in rows)
        return json.dumps(head, ensure_ascii=False, indent=2)[:-2] + f',\n  "rows": [\n    {lines}\n  ]\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> ScoreMatrix:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it is something else.
        """
        data: dict[str, Any] = json.loads(text)
        try:
            rows = data["rows"]
            cells = [[np.nan if v is None else v for v in row["values"]] for row in rows]
            values = np.array(cells, dtype=np.float64).reshape(len(rows), len(data["columns"]))
            owners = tuple(Row(row["record"], row["user"], row.get("paired", False)) for row in rows)
            return cls(data["test"], data["scorer"], owners, tuple(data["columns"]), values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a score matrix: {error!r}") from error


def welch_t(own: NDArray[np.float64], others: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Mean difference over its standard error, with a variance for each side (Welch 1947).

    Args:
        own: the person's cells, at least two along ``axis``.
        others: other people's, at least two along ``axis``.
        axis: the axis of records.
    """
    difference = own.mean(axis=axis) - others.mean(axis=axis)
    variance = own.var(axis=axis, ddof=1) / own.shape[axis] + others.var(axis=axis, ddof=1) / others.shape[axis]
    # A split without any spread is as extreme as its sign says; the floor keeps it finite.
    return np.asarray(difference / np.sqrt(np.maximum(variance, 1e-12)))
