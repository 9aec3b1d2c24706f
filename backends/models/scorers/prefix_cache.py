"""Which contexts stay in memory, as the keys and values of their tokens.

Questions come in turns, such as every profile before the same choice: keeping the last context alone would mean
reading each of them anew every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PrefixCache"]


class _Prefix(NamedTuple):
    """A context that was read: its tokens, and their keys and values."""

    tokens: list[int]
    states: NDArray[np.float32]


class PrefixCache:
    """The contexts that stay, in the order of their last use.

    Args:
        room: tokens that they may hold together; one alone may be longer.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: list[_Prefix] = []

    @property
    def tokens(self) -> int:
        """How many tokens lie in the cache: what contexts share counts for each of them."""
        return sum(len(prefix.tokens) for prefix in self._kept)

    def nearest(self, tokens: Sequence[int]) -> NDArray[np.float32] | None:
        """What is kept of the beginning of a context; the one that shares most with it counts as just used.

        Args:
            tokens: the context's.

        Returns:
            Keys and values of its first tokens, shape (layers, 2, groups, kept, size of a head); None if there are
            none.
        """
        best, common = None, 0
        for prefix in self._kept:
            shared = _common(prefix.tokens, tokens)
            if shared >= max(1, common):
                best, common = prefix, shared
        if best is None:
            return None
        self._kept.remove(best)
        self._kept.append(best)
        return best.states[..., :common, :]

    def add(self, tokens: Sequence[int], states: NDArray[np.float32]) -> None:
        """Keep a context; one that is mostly like it goes, and of the others those that were used longest ago.

        Args:
            tokens: the context's.
            states: their keys and values, shape (layers, 2, groups, tokens, size of a head).
        """
        self._kept = [old for old in self._kept if 2 * _common(old.tokens, tokens) < len(old.tokens)]
        self._kept.append(_Prefix(list(tokens), states))
        while len(self._kept) > 1 and self.tokens > self._room:
            self._kept.pop(0)

    def clear(self) -> None:
        """Forget all contexts."""
        self._kept.clear()


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
