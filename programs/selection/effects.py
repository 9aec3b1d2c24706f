"""What a person's choices say of many statements at once: shrunken effects, and permutation tests of all choices.

Four choices are mostly noise, and similar statements get similar cells. So effects are estimated jointly, by a normal
model of empirical Bayes (Efron and Morris 1973): with M the second moment of all cells, a person's effects are
N(0, between * M), one choice adds N(0, M), and its reading by a model N(0, reading). M is the same where chosen and
rejected are exchanged, so it holds nothing of what was preferred.

The permutation tests exchange chosen and rejected (sign flips, Fisher 1935), which changes nothing if choices are
random. They compare the squared length of the mean choice over all statements with its length under each exchange.

Choices about one question, or between the same texts, are no further evidence of what a person prefers in general:
their mean counts as one choice, and they are exchanged together.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hyperalign.dependence import Fingerprint, group_dependent
from hyperalign.profile import Hypothesis
from hyperalign.scores import ScoreMatrix

__all__ = [
    "Effects",
    "Floats",
    "Prior",
    "Table",
    "Tried",
    "any_permutation_p",
    "estimate_effects",
    "find_questions",
    "group_by_choices",
    "interaction_p",
    "permutation_p",
    "widest_table",
]

Floats = NDArray[np.float64]
Signs = NDArray[np.int8]
Tried = Sequence[tuple[Hypothesis, ScoreMatrix]]
"""Hypotheses, each with the matrix that has a column for it."""


def find_questions(matrices: Iterable[ScoreMatrix], user: str) -> dict[str, str]:
    """By record of a person, the question that it counts for: the lowest id of the records that share what they teach.

    Args:
        matrices: all that have rows of the person.
        user: the person.
    """
    shares: dict[str, Fingerprint | None] = {}
    for matrix in matrices:
        shares |= {row.record: row.shares for row in matrix.rows if row.user == user}
    names = sorted(shares)
    groups = group_dependent([shares[name] for name in names])
    return {name: names[group] for name, group in zip(names, groups, strict=True)}


@dataclass(frozen=True)
class Table:
    """Statements that were tested on the same choices of a person; only rows with a cell for each of them count.

    Attributes:
        hypotheses: the statements.
        matrix: has their cells.
        user: the person.
        questions: by record, the question that it counts for; each record for itself where it is not listed.
    """

    hypotheses: list[Hypothesis]
    matrix: ScoreMatrix
    user: str
    questions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def columns(self) -> list[str]:
        """Ids of the statements."""
        return [hypothesis.id for hypothesis in self.hypotheses]

    @cached_property
    def records(self) -> list[str]:
        """The questions that the person's choices answer, each named by one record."""
        return list(self._own_rows)

    @cached_property
    def own(self) -> Floats:
        """The person's cells, shape (questions, statements): the mean of the choices about a question."""
        means = [self._cells[rows].mean(axis=0) for rows in self._own_rows.values()]
        return np.array(means).reshape(len(means), len(self.hypotheses))

    @cached_property
    def weights(self) -> Floats:
        """The weight of each of those questions, shape (questions,)."""
        rows = self.matrix.rows
        return np.array([max(rows[at].weight for at in some) for some in self._own_rows.values()], dtype=np.float64)

    @cached_property
    def others(self) -> list[Floats]:
        """The cells of each other person, shape (choices, statements)."""
        return [self._cells[rows] for user, rows in self._rows.items() if rows and user != self.user]

    @property
    def reference(self) -> int:
        """How many choices of other people there are."""
        return sum(map(len, self.others))

    def question_of(self, record: str) -> str:
        """The question that a record counts for."""
        return self.questions.get(record, record)

    @cached_property
    def _own_rows(self) -> dict[str, list[int]]:
        """The rows of each question, both in an order that does not depend on that of the records."""
        found: dict[str, list[int]] = {}
        names = {at: self.matrix.rows[at].record for at in self._rows[self.user]}
        for at in sorted(names, key=lambda at: (self.question_of(names[at]), names[at])):
            found.setdefault(self.question_of(names[at]), []).append(at)
        return found

    @cached_property
    def _cells(self) -> Floats:
        return self.matrix.values[:, [self.matrix.columns.index(column) for column in self.columns]]

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {self.user: [], **{row.user: [] for row in self.matrix.rows}}
        for at in np.flatnonzero(~np.isnan(self._cells).any(axis=1)).tolist():
            rows[self.matrix.rows[at].user].append(at)
        return rows


def group_by_choices(tried: Tried, user: str, *, own_only: bool = False) -> list[Table]:
    """Group hypotheses of one matrix by the choices that they were tested on.

    Args:
        tried: the hypotheses.
        user: the person.
        own_only: groups by the person's choices alone, whatever other people's choices were tested.
    """
    questions = find_questions({id(matrix): matrix for _, matrix in tried}.values(), user)
    own: dict[int, NDArray[np.bool_]] = {}
    tables: dict[tuple[int, bytes], Table] = {}
    for hypothesis, matrix in tried:
        if id(matrix) not in own:
            own[id(matrix)] = np.array([row.user == user or not own_only for row in matrix.rows], dtype=np.bool_)
        filled = ~np.isnan(matrix.values[:, matrix.columns.index(hypothesis.id)]) & own[id(matrix)]
        tables.setdefault((id(matrix), filled.tobytes()), Table([], matrix, user, questions)).hypotheses.append(
            hypothesis
        )
    return list(tables.values())


def widest_table(tried: Tried, user: str) -> Table | None:
    """The table of statements of the space with the most of them; None where none was tried."""
    space = [(hypothesis, matrix) for hypothesis, matrix in tried if hypothesis.source == "space"]
    tables = group_by_choices(space, user, own_only=True)
    return max(tables, key=lambda table: len(table.hypotheses), default=None)


@dataclass(frozen=True, slots=True)
class Prior:
    """How far people differ; set by hand on people of the dev split.

    Attributes:
        between: variance of people's effects, in variances of single choices.
        reading: variance of a model's reading of one choice, in the same unit, equal for all statements.
    """

    between: float = 0.3
    reading: float = 0.5


@dataclass(frozen=True)
class Effects:
    """A person's effects by statement, in the unit of the cells.

    Attributes:
        raw: mean of the person's cells minus the mean of other people's.
        noise: standard error of ``raw``.
        mean: posterior mean.
        covariance: posterior covariance, shape (statements, statements).
        single: covariance of one choice and its reading about an effect, of the same shape.
        scale: root mean square of everybody's cells.
    """

    raw: Floats
    noise: Floats
    mean: Floats
    covariance: Floats
    single: Floats
    scale: Floats

    @property
    def spread(self) -> Floats:
        """Posterior standard deviation of each effect."""
        variances = np.diag(self.covariance) / self.scale**2
        return np.asarray(np.sqrt(np.maximum(variances, 1e-12)) * self.scale, dtype=np.float64)

    @property
    def positive(self) -> Floats:
        """Posterior probability that each effect is above zero: that the statement holds rather than its opposite."""
        return np.asarray(special.ndtr(self.mean / self.spread), dtype=np.float64)


def estimate_effects(own: Floats, others: list[Floats], prior: Prior, weights: Floats | None = None) -> Effects:
    """Estimate one person's effects.

    Args:
        own: their cells, shape (choices, statements), without gaps.
        others: the same for each other person.
        prior: how far people differ.
        weights: of the person's choices, shape (choices,); equal if None.
    """
    shares = np.full(len(own), 1 / len(own)) if weights is None else weights / weights.sum()
    everything = np.vstack([own, *others])
    scale = np.sqrt((everything**2).mean(axis=0))
    # A statement whose cells are all zero has no scale, and no effect.
    scale = np.where(scale > 0, scale, 1.0)
    own, others, everything = own / scale, [cells / scale for cells in others], everything / scale
    moment = everything.T @ everything / len(everything)
    single = moment + prior.reading * np.eye(moment.shape[0])
    # The sum of squared shares is one over the effective sample size (Kish 1965).
    raw, noise = shares @ own, single * float(shares @ shares)
    if others:
        raw = raw - np.mean([cells.mean(axis=0) for cells in others], axis=0)
        each = [prior.between * moment + single / len(cells) for cells in others]
        noise = noise + np.sum(each, axis=0) / len(others) ** 2
    between = prior.between * moment
    # Both matrices are symmetric, so solving from the left gives the transpose of the gain matrix.
    gain = np.linalg.solve(between + noise, between).T
    units = np.outer(scale, scale)
    return Effects(
        raw * scale,
        np.sqrt(np.diag(noise)) * scale,
        gain @ raw * scale,
        (between - gain @ between) * units,
        single * units,
        scale,
    )


_EXACT_UP_TO = 12
_SAMPLED = 2_000
_BATCH = 100
"""Exchanges in memory as numbers at one time; all of them are kept as signs."""


def permutation_p(cells: Floats, *, seed: int = 0) -> float:
    """p of the null hypothesis that the choices are random: how often they would agree with each other as much.

    Args:
        cells: shape (choices, statements), each column in units of its noise; NaN counts as undecided.
        seed: samples the exchanges where there are too many to try all.

    Returns:
        p, at least 2 / 2^choices: exchanging all choices has the same length as exchanging none.
    """
    lengths = _lengths(_flips(len(cells), seed), cells)
    return float(np.mean(lengths >= lengths[0] - 1e-9))


def any_permutation_p(groups: Sequence[Sequence[Floats]], *, seed: int = 0) -> float:
    """p of the most significant of several groups of statements, corrected for looking at all of them.

    Each exchange is made in all groups at once and the smallest p counts in each, so several groups pass no more often
    under random choices than one (min-p, Westfall and Young 1993).

    Args:
        groups: one or more versions of each group's cells, as many for all; the largest p over versions counts. Each
            has shape (choices, statements) and all of the person's choices in one order; NaN where a group has no cell.
        seed: samples the exchanges where there are too many to try all.
    """
    if not groups:
        return 1.0
    flips = _flips(max(len(cells) for versions in groups for cells in versions), seed)
    ps = []
    # Exchanges make the null of the first version only: they do not exchange what other people prefer, which the second
    # version subtracts. So each version has a min-p of its own.
    for version in zip(*groups, strict=True):
        smallest = np.min([_exceeded(_lengths(flips, cells)) for cells in version], axis=0)
        ps.append(float(np.mean(smallest <= smallest[0] + 1e-9)))
    return max(ps)


def interaction_p(cells: Floats, inside: NDArray[np.bool_], *, seed: int = 0) -> Floats:
    """p for each of several subjects: how often random choices differ as much between the subject and the rest.

    The largest difference over all subjects counts in each exchange, so the whole search has the stated error rate
    (single-step max-T, Westfall and Young 1993).

    Args:
        cells: shape (choices, statements), each column in units of its noise; NaN counts as undecided.
        inside: shape (subjects, choices), with at least one subject: True where a choice is on it; each subject covers
            some choices and leaves out some.
        seed: samples the exchanges where there are too many to try all.

    Returns:
        Shape (subjects,).
    """
    flips = _flips(len(cells), seed)
    shares = inside / inside.sum(axis=1, keepdims=True) - ~inside / (~inside).sum(axis=1, keepdims=True)
    known = np.nan_to_num(cells)
    # In units of the expectation under random choices, so that a subject with few choices has no head start.
    expected = [max(float((share**2) @ (known**2).sum(axis=1)), 1e-12) for share in shares]
    apart = np.array(
        [_lengths(flips, share[:, None] * known) / length for share, length in zip(shares, expected, strict=True)]
    )
    return np.asarray(np.mean(apart.max(axis=0) >= apart[:, :1] - 1e-9, axis=1), dtype=np.float64)


def _exceeded(lengths: Floats) -> Floats:
    """For each length, the share of all that are at least as long."""
    return 1.0 - np.searchsorted(np.sort(lengths), lengths - 1e-9) / len(lengths)


@lru_cache(maxsize=4)
def _flips(count: int, seed: int) -> Signs:
    """Ways to exchange chosen and rejected, shape (ways, choices); the first changes nothing."""
    if count <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((1, -1), repeat=max(0, count - 1))), dtype=np.int8)
        flips = np.hstack([np.ones((len(signs), 1), dtype=np.int8), signs]) if count else np.ones((1, 0), dtype=np.int8)
    else:
        rng = np.random.default_rng(seed)
        sizes = [(min(_BATCH, _SAMPLED - start), count) for start in range(0, _SAMPLED, _BATCH)]
        flips = np.vstack([rng.choice((1.0, -1.0), size=size).astype(np.int8) for size in sizes])
        flips[0] = 1
    flips.setflags(write=False)
    return flips


def _lengths(flips: Signs, cells: Floats) -> Floats:
    """Squared length of the sum of choices, for each way to exchange them."""
    known = np.nan_to_num(cells)
    # With fewer choices than statements, the lengths are quadratic forms of how the choices agree, a small matrix.
    is_wide = known.shape[0] < known.shape[1]
    agreement = known @ known.T if is_wide else known
    lengths = []
    for start in range(0, len(flips), _BATCH):
        some = flips[start : start + _BATCH].astype(np.float64)
        sums = some @ agreement
        lengths.append(np.einsum("fi,fi->f", sums, some if is_wide else sums))
    return np.asarray(np.concatenate(lengths), dtype=np.float64)
