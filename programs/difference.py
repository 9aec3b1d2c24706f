"""How far a person's cells lie above other people's, in standard errors: what screening and selection both ask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["studentized"]


def studentized(own: NDArray[np.float64], others: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
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
