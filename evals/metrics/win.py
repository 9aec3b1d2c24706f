"""Which of two values is higher: what accuracies, win rates and own over other are shares of."""

from __future__ import annotations

__all__ = ["win"]


def win(own: float, other: float) -> float:
    """1 where the first is higher, 0 where the second is; a tie counts half."""
    return 0.5 if own == other else float(own > other)
