"""Whether somebody's choices point one way at all: a test that no single statement has to pass.

Were the choices made by tossing coins, then exchanging chosen and rejected in any of them would change nothing. So
the length of the mean choice, over all statements at once, is held against its length under every such exchange (a
sign-flip test, Fisher 1935). This file runs no model.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["one_way_p"]

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
    known = np.nan_to_num(cells)
    # All that matters is how the choices agree with each other: lengths are quadratic forms of this.
    agreement = known @ known.T
    count = len(known)
    if count <= _EXACT_UP_TO:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=max(0, count - 1))))
        flips = np.hstack([np.ones((len(signs), 1)), signs]) if count else np.ones((1, 0))
    else:
        flips = np.random.default_rng(seed).choice((1.0, -1.0), size=(_DRAWN, count))
        flips[0] = 1.0
    lengths = np.einsum("fi,ij,fj->f", flips, agreement, flips)
    return float(np.mean(lengths >= lengths[0] - 1e-9))
