"""Whether somebody's choices point one way at all: a test that no single statement has to pass.

Were the choices made by tossing coins, then exchanging chosen and rejected in any of them would change nothing. So
the length of the mean choice, over all statements at once, is held against its length under every such exchange (a
sign-flip test, Fisher 1935). Whether choices point another way on one subject than on the rest is asked in the same
manner, of the difference of the two means. This file runs no model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["any_one_way_p", "apart_p", "one_way_p"]

_EXACT_UP_TO = 12
_DRAWN = 2_000


def one_way_p(cells: NDArray[np.float64], *, seed: int = 0) -> float:
    """Probability that coin tosses point one way as much as these choices do.

    Args:
        cells: shape (choices, statements), each column in units of its noise; NaN counts as undecided.
        seed: draws the exchanges where there are too many.

    Returns:
        p, at least 2 / 2^choices: exchanging all of them says as much as exchanging none.
    """
    lengths = _lengths(_flips(len(cells), seed), cells)
    return float(np.mean(lengths >= lengths[0] - 1e-9))


def any_one_way_p(groups: Sequence[Sequence[NDArray[np.float64]]], *, seed: int = 0) -> float:
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


def apart_p(cells: NDArray[np.float64], inside: NDArray[np.bool_], *, seed: int = 0) -> NDArray[np.float64]:
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
