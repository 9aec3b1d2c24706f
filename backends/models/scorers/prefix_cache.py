"""Which contexts stay in a key-value cache, and in which sequence each of them lies.

Questions come in turns, such as every profile before the same choice: keeping the last context alone would mean
reading each of them anew every time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CachedPrefix", "PrefixCache"]


@dataclass
class CachedPrefix:
    """A context that was read.

    Attributes:
        sequence: where it lies.
        tokens: what it is.
        after: log-probabilities of the token that follows, shape (vocabulary,), in nats; None until it is read.
    """

    sequence: int
    tokens: list[int] = field(default_factory=list)
    after: NDArray[np.float32] | None = None


class PrefixCache:
    """The contexts that stay, in the order of their last use.

    Args:
        count: at most so many, each in a sequence from 0 on.
        room: tokens that they may hold together; one alone may be longer.
    """

    def __init__(self, count: int, room: int) -> None:
        self._count = count
        self._room = room
        self._kept: list[CachedPrefix] = []

    @property
    def cells(self) -> int:
        """At most so many tokens lie in the cache: what prefixes share counts for each of them."""
        return sum(len(prefix.tokens) for prefix in self._kept)

    def nearest(self, prompt: Sequence[int]) -> tuple[CachedPrefix | None, int]:
        """The prefix that shares the longest beginning with a prompt, and that length; it counts as just used."""
        best, common = None, 0
        for prefix in self._kept:
            shared = _common_prefix(prefix.tokens, prompt)
            if shared >= common:
                best, common = prefix, shared
        if best is not None:
            self._kept.remove(best)
            self._kept.append(best)
        return best, common

    def crowded(self, need: int) -> CachedPrefix | None:
        """Remove and return a prefix to make room for one of ``need`` tokens; None if there is room."""
        if len(self._kept) >= self._count or self.cells + need > self._room:
            return self._oldest()
        return None

    def shed(self, limit: int) -> CachedPrefix | None:
        """Remove and return a prefix while all hold more than ``limit`` tokens; None if they do not."""
        return self._oldest() if self.cells > limit else None

    def add(self, need: int) -> CachedPrefix | None:
        """A new prefix in a free sequence, for ``need`` tokens; None if there is no room for one."""
        taken = {prefix.sequence for prefix in self._kept}
        free = next((number for number in range(self._count) if number not in taken), None)
        if free is None or (self._kept and self.cells + need > self._room):
            return None
        self._kept.append(CachedPrefix(free))
        return self._kept[-1]

    def _oldest(self) -> CachedPrefix | None:
        # The one that was used last is in use.
        return self._kept.pop(0) if len(self._kept) > 1 else None

    def clear(self) -> None:
        """Forget all prefixes."""
        self._kept.clear()


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
