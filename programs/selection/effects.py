"""The cells of all statements that saw the same choices, as one table: what is asked of many statements at once.

It judges nothing, and runs no model.

What somebody's choices say of many statements at once, shrunken toward nothing.

Four choices are mostly noise, and statements that mean nearly the same are read nearly the same. So people's leanings
and the noise of single choices are taken to run along the same lines as answers differ: with M the second moment of all
cells, a person's leanings are N(0, between * M), one choice adds N(0, M) and the reading of it N(0, reading). All
is normal, so the leanings given the choices are too (the normal model of empirical Bayes, Efron and Morris 1973, with a
full covariance). M does not change where chosen and rejected are exchanged: it cannot see what was preferred.
This file runs no model.

Whether somebody's choices point one way at all: a test that no single statement has to pass.

Were the choices made by tossing coins, then exchanging chosen and rejected in any of them would change nothing. So
the length of the mean choice, over all statements at once, is held against its length under every such exchange (a
sign-flip test, Fisher 1935). Whether choices point another way on one subject than on the rest is asked in the same
manner, of the difference of the two means. This file runs no model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hyperalign.profile import Hypothesis
from hyperalign.scores import ScoreMatrix

__all__ = [
    "Effects",
    "Prior",
    "Table",
    "any_permutation_p",
    "estimate_effects",
    "interaction_p",
    "permutation_p",
    "widest_table",
]


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


@dataclass(frozen=True, slots=True)
class Prior:
    """How far people differ: set by hand, looking at development people, never at those that are reported.

    Attributes:
        between: variance of people's leanings, in variances of single choices.
        reading: variance of a model's reading of one choice, in the same unit, alike for all statements.
    """

    between: float = 0.3
    reading: float = 0.5


@dataclass(frozen=True)
class Effects:
    """Leanings by statement, in the unit of the cells.

    Attributes:
        raw: mean of the person's cells beyond other people's.
        noise: standard error of ``raw``.
        mean: what is to be believed of it.
        covariance: of that belief, shape (statements, statements).
        single: covariance of one choice and its reading about a leaning, of the same shape.
        scale: root mean square of everybody's cells.
    """

    raw: NDArray[np.float64]
    noise: NDArray[np.float64]
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    single: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def spread(self) -> NDArray[np.float64]:
        """Standard deviation of what is believed of each statement."""
        variances = np.diag(self.covariance) / self.scale**2
        return np.asarray(np.sqrt(np.maximum(variances, 1e-12)) * self.scale, dtype=np.float64)

    @property
    def positive(self) -> NDArray[np.float64]:
        """Probability that the person leans to each statement, rather than to its opposite."""
        return np.asarray(special.ndtr(self.mean / self.spread), dtype=np.float64)


def estimate_effects(
    own: NDArray[np.float64],
    others: list[NDArray[np.float64]],
    prior: Prior,
    weights: NDArray[np.float64] | None = None,
) -> Effects:
    """Leanings of one person.

    Args:
        own: their cells, shape (choices, statements), without gaps.
        others: the same for each other person.
        prior: how far people differ.
        weights: how much each choice of theirs counts, shape (choices,); all alike if None.
    """
    shares = np.full(len(own), 1 / len(own)) if weights is None else weights / weights.sum()
    everything = np.vstack([own, *others])
    scale = np.sqrt((everything**2).mean(axis=0))
    # What no choice tells apart has no scale, and no effect.
    scale = np.where(scale > 0, scale, 1.0)
    own, others, everything = own / scale, [cells / scale for cells in others], everything / scale
    moment = everything.T @ everything / len(everything)
    single = moment + prior.reading * np.eye(moment.shape[0])
    # As many choices of equal weight would be as sure (Kish 1965).
    raw, noise = shares @ own, single * float(shares @ shares)
    if others:
        raw = raw - np.mean([cells.mean(axis=0) for cells in others], axis=0)
        each = [prior.between * moment + single / len(cells) for cells in others]
        noise = noise + np.sum(each, axis=0) / len(others) ** 2
    leaning = prior.between * moment
    # Symmetric, so that solving from the left gives the transpose of what is wanted.
    pull = np.linalg.solve(leaning + noise, leaning).T
    units = np.outer(scale, scale)
    return Effects(
        raw * scale,
        np.sqrt(np.diag(noise)) * scale,
        pull @ raw * scale,
        (leaning - pull @ leaning) * units,
        single * units,
        scale,
    )


_EXACT_UP_TO = 12
_DRAWN = 2_000


def permutation_p(cells: NDArray[np.float64], *, seed: int = 0) -> float:
    """Probability that coin tosses point one way as much as these choices do.

    Args:
        cells: shape (choices, statements), each column in units of its noise; NaN counts as undecided.
        seed: draws the exchanges where there are too many.

    Returns:
        p, at least 2 / 2^choices: exchanging all of them says as much as exchanging none.
    """
    lengths = _lengths(_flips(len(cells), seed), cells)
    return float(np.mean(lengths >= lengths[0] - 1e-9))


def any_permutation_p(groups: Sequence[Sequence[NDArray[np.float64]]], *, seed: int = 0) -> float:
    """Probability that coin tosses point one way as much as the clearest of several groups of statements says.

    Each exchange is of one person's choices, so it is made in all groups at once; the clearest group counts in each, so
    that to ask several groups lets coins through no oftener than to ask one (min-p, Westfall and Young 1993).

    Args:
        groups: of each, its cells in one or more ways to see them, the same for all; each way must point one way, and
            the largest p counts. Each is of shape (choices, statements), with all of the person's choices in one order:
            what a group did not see is NaN.
        seed: draws the exchanges where there are too many.
    """
    if not groups:
        return 1.0
    flips = _flips(max(len(cells) for seen in groups for cells in seen), seed)
    ps = []
    # Each way by itself: coins exchange what a person chose, and not what others like, so that only the first way has a
    # p that is as small by coins as it says.
    for way in zip(*groups, strict=True):
        clearest = np.min([_exceeded(_lengths(flips, cells)) for cells in way], axis=0)
        ps.append(float(np.mean(clearest <= clearest[0] + 1e-9)))
    return max(ps)


def interaction_p(cells: NDArray[np.float64], inside: NDArray[np.bool_], *, seed: int = 0) -> NDArray[np.float64]:
    """For each of several subjects, how probably coin tosses set it apart from the rest as much as these choices do.

    All subjects are looked at in each exchange and the one that is furthest apart counts, so that the whole search
    finds something at a level as often as that level says (single-step max-T, Westfall and Young 1993).

    Args:
        cells: shape (choices, statements), each column in units of its noise; NaN counts as undecided.
        inside: shape (subjects, choices), at least one: which choices are on a subject; some are, and some are not.
        seed: draws the exchanges where there are too many.

    Returns:
        p by subject, shape (subjects,).
    """
    flips = _flips(len(cells), seed)
    shares = inside / inside.sum(axis=1, keepdims=True) - ~inside / (~inside).sum(axis=1, keepdims=True)
    # In units of what coins give on average, so that a small subject isn't far apart for being small.
    usual = [max(float((share**2) @ (np.nan_to_num(cells) ** 2).sum(axis=1)), 1e-12) for share in shares]
    apart = np.array([_lengths(flips * share, cells) / length for share, length in zip(shares, usual, strict=True)])
    return np.asarray(np.mean(apart.max(axis=0) >= apart[:, :1] - 1e-9, axis=1), dtype=np.float64)


def _exceeded(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each length, the share of all that are at least as long."""
    return 1.0 - np.searchsorted(np.sort(lengths), lengths - 1e-9) / len(lengths)


def _flips(count: int, seed: int) -> NDArray[np.float64]:
    """Ways to exchange chosen and rejected, shape (ways, choices), the first of which changes nothing."""
    if count <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=max(0, count - 1))))
        return np.hstack([np.ones((len(signs), 1)), signs]) if count else np.ones((1, 0))
    flips = np.random.default_rng(seed).choice((1.0, -1.0), size=(_DRAWN, count))
    flips[0] = 1.0
    return flips


def _lengths(weights: NDArray[np.float64], cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared length of the weighted sum of choices, for each row of weights."""
    known = np.nan_to_num(cells)
    # All that matters is how the choices agree with each other: lengths are quadratic forms of this.
    agreement = known @ known.T
    return np.asarray(np.einsum("fi,ij,fj->f", weights, agreement, weights), dtype=np.float64)
