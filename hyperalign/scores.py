"""The score matrix (what each hypothesis gains on each record), and the protocol of models that score texts.

Tests fill a ``ScoreMatrix`` once; selection, weighting and forgetting are pure functions of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict  # pydantic refuses the one in typing before Python 3.12

from .dependence import Fingerprint, group_dependent
from .records import order_by_time

__all__ = ["Message", "Row", "ScoreMatrix", "Scorer", "TextScore", "welch_t"]


class Message(TypedDict):
    """One turn of a chat, in OpenAI's form."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class TextScore:
    """The log-probability of a text under a model.

    Attributes:
        logprob: summed over the text's tokens, in nats; at most 0.
        tokens: the number of tokens.
    """

    logprob: float
    tokens: int

    @property
    def mean(self) -> float:
        """Nats per token; 0.0 for an empty text."""
        return self.logprob / self.tokens if self.tokens else 0.0


@runtime_checkable
class Scorer(Protocol):
    """A model that gives log-probabilities of texts: OpenVINO, vLLM or transformers."""

    @property
    def name(self) -> str:
        """The model with a hash of its weights, since scores are cached under this name."""
        ...

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Score each text as the assistant's whole next turn.

        The context is read once for all texts, and no text sees another.

        Args:
            context: the turns before, at least one; rendered with the model's chat template.
            texts: the possible next turns.

        Returns:
            One score per text, in order.

        Raises:
            ContextLengthError: the context with a text does not fit the model.
            ModelServerError: the model could not be reached.
        """
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a matrix.

    Attributes:
        record: the record's id.
        user: the record's user.
        paired: whether the cells compare the text that the person chose with the one they rejected.
        weight: how much the row counts; below 1 for old records.
        time: when the record came to be, if that is known.
        shares: what the record shares with others; None for one that shares nothing.
    """

    record: str
    user: str
    paired: bool = False
    weight: float = 1.0
    time: datetime | None = None
    shares: Fingerprint | None = None


@dataclass(frozen=True)
class ScoreMatrix:
    """The cells of one test: records by hypotheses. Immutable.

    A cell says how much better the hypothesis fits the record than its opposite (or the bare model) does, in the unit
    of the test; NaN marks an empty cell.

    Attributes:
        test: the test's name.
        scorer: the scorer's name, or ``measured``.
        rows: the person's and other people's records, in the order in which they came.
        columns: ids of hypotheses.
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
        # A frozen copy, so that nobody who holds the array can change the matrix.
        frozen = np.array(self.values, dtype=np.float64)
        frozen.setflags(write=False)
        object.__setattr__(self, "values", frozen)

    def of(self, column: str, keep: Callable[[Row], bool]) -> tuple[list[str], NDArray[np.float64]]:
        """The record ids and filled cells of one hypothesis, on the rows that ``keep`` accepts."""
        index = self.columns.index(column)
        picked = [i for i, row in enumerate(self.rows) if keep(row) and not np.isnan(self.values[i, index])]
        return [self.rows[i].record for i in picked], self.values[picked, index]

    def all_paired(self, user: str) -> bool:
        """Whether a person has rows, and all of them are paired."""
        own = [row.paired for row in self.rows if row.user == user]
        return bool(own) and all(own)

    def without(self, records: set[str]) -> ScoreMatrix:
        """The matrix without the rows of some records."""
        return self._keep_rows(row.record not in records for row in self.rows)

    def without_person(self, user: str, record: str | None = None) -> ScoreMatrix:
        """The matrix without a person's rows, or without that of one record."""
        return self._keep_rows(row.user != user or record not in (None, row.record) for row in self.rows)

    def without_names(self, user: str) -> ScoreMatrix:
        """The matrix with other people and their records numbered, so that a person's run names nobody else."""
        names = dict.fromkeys(row.user for row in self.rows)
        people = {name: f"other-{number}" for number, name in enumerate(names, 1)}
        rows = (
            row if row.user == user else replace(row, user=people[row.user], record=f"{people[row.user]}-{number}")
            for number, row in enumerate(self.rows, 1)
        )
        return replace(self, rows=tuple(rows))

    def aged(self, user: str, half_life: float) -> ScoreMatrix:
        """The matrix with a person's older rows counting less.

        Choices that share what they teach are one record here, as old as the newest of them.

        Args:
            user: the person.
            half_life: after how many newer records a row counts half.
        """
        ages = self._ages(user)
        rows = (
            replace(row, weight=0.5 ** (ages[at] / half_life)) if at in ages else row
            for at, row in enumerate(self.rows)
        )
        return replace(self, rows=tuple(rows))

    def newest(self, user: str, count: int) -> ScoreMatrix:
        """The matrix with at most ``count`` of a person's newest rows, and everybody else's."""
        own = self._own_by_time(user)
        gone = set(own[: max(0, len(own) - count)])
        return self._keep_rows(at not in gone for at in range(len(self.rows)))

    def arranged(self, user: str, records: Sequence[str]) -> ScoreMatrix:
        """The matrix with a person's rows in the order of these records, before everybody else's."""
        place = {record: at for at, record in enumerate(records)}
        last = len(place)
        order = sorted(range(len(self.rows)), key=lambda at: self._place(at, user, place, last))
        return replace(self, rows=tuple(self.rows[at] for at in order), values=self.values[order])

    def _place(self, at: int, user: str, place: dict[str, int], last: int) -> int:
        return place.get(self.rows[at].record, last) if self.rows[at].user == user else last

    def _ages(self, user: str) -> dict[int, int]:
        """By row of a person, how many newer records there are."""
        own = self._own_by_time(user)
        groups = group_dependent([self.rows[at].shares for at in own])
        ages = {group: age for age, group in enumerate(dict.fromkeys(reversed(groups)))}
        return {at: ages[group] for at, group in zip(own, groups, strict=True)}

    def _own_by_time(self, user: str) -> list[int]:
        """Where a person's rows are, from the oldest to the newest; they stand in the order in which they came."""
        own = [at for at, row in enumerate(self.rows) if row.user == user]
        order = order_by_time([self.rows[at].time for at in own], [self.rows[at].record for at in own])
        return [own[at] for at in order]

    def _keep_rows(self, keep: Iterable[bool]) -> ScoreMatrix:
        kept = [i for i, is_kept in enumerate(keep) if is_kept]
        return replace(self, rows=tuple(self.rows[i] for i in kept), values=self.values[kept])

    def only(self, columns: Collection[str]) -> ScoreMatrix:
        """The matrix with some columns only."""
        keep = [i for i, column in enumerate(self.columns) if column in columns]
        return replace(self, columns=tuple(self.columns[i] for i in keep), values=self.values[:, keep])

    def joined(self, other: ScoreMatrix) -> ScoreMatrix:
        """Rows and columns of this matrix and another of the same test.

        Args:
            other: its rows come after these; for a record in both, its filled cells count.

        Raises:
            ValueError: the other is from another test or scorer.
        """
        if (self.test, self.scorer) != (other.test, other.scorer):
            raise ValueError(f"cells of {self.test} by {self.scorer}, and of {other.test} by {other.scorer}")
        keys = list(dict.fromkeys((row.record, row.user) for row in (*self.rows, *other.rows)))
        place = {key: index for index, key in enumerate(keys)}
        columns = tuple(dict.fromkeys((*self.columns, *other.columns)))
        values = np.full((len(keys), len(columns)), np.nan)
        rows: dict[tuple[str, str], Row] = {}
        for part in (self, other):
            at = [columns.index(column) for column in part.columns]
            for row, cells in zip(part.rows, part.values, strict=True):
                key = (row.record, row.user)
                rows.setdefault(key, row)
                known = values[place[key], at]
                values[place[key], at] = np.where(np.isnan(cells), known, cells)
        return replace(self, rows=tuple(rows[key] for key in keys), columns=columns, values=values)

    def to_json(self) -> str:
        """The matrix as JSON, one row per line; an empty cell is null."""
        head = {"test": self.test, "scorer": self.scorer, "columns": list(self.columns)}
        rows = [
            {
                "record": row.record,
                "user": row.user,
                "paired": row.paired,
                **({"time": row.time.isoformat()} if row.time else {}),
                **({"shares": row.shares} if row.shares else {}),
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
            owners = tuple(
                Row(
                    row["record"],
                    row["user"],
                    row.get("paired", False),
                    time=datetime.fromisoformat(row["time"]) if "time" in row else None,
                    shares=Fingerprint(*row["shares"]) if "shares" in row else None,
                )
                for row in rows
            )
            return cls(data["test"], data["scorer"], owners, tuple(data["columns"]), values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a score matrix: {error!r}") from error


def welch_t(own: NDArray[np.float64], others: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Welch's t: the difference of two means over its standard error, with a variance for each side (Welch 1947).

    Args:
        own: the person's cells, at least two along ``axis``.
        others: other people's cells, at least two along ``axis``.
        axis: the axis of records.
    """
    difference = own.mean(axis=axis) - others.mean(axis=axis)
    variance = own.var(axis=axis, ddof=1) / own.shape[axis] + others.var(axis=axis, ddof=1) / others.shape[axis]
    # The floor keeps t finite where neither side has any spread.
    return np.asarray(difference / np.sqrt(np.maximum(variance, 1e-12)))
