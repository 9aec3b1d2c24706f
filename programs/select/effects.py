"""What somebody's choices say of many statements at once, shrunken toward nothing.

Four choices are mostly noise, and statements that mean nearly the same are read nearly the same. So people's leanings
and the noise of single choices are taken to run along the same lines as answers differ: with M the second moment of all
cells, a person's leanings are N(0, between * M), one choice adds N(0, M) and the reading of it N(0, reading). All
is normal, so the leanings given the choices are too (the normal model of empirical Bayes, Efron and Morris 1973, with a
full covariance). M does not change where chosen and rejected are exchanged: it cannot see what was preferred.
This file runs no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Effects", "Prior", "effects"]


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


def effects(
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
