"""Which contexts stay in memory, without a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hyperalign.backends.models.scorers.prefix_cache import PrefixCache


def states(tokens: list[int]) -> NDArray[np.float32]:
    """Numbers that tell which tokens they stand for."""
    return np.array(tokens, np.float32)[np.newaxis, np.newaxis, np.newaxis, :, np.newaxis]


def filled(room: int, *contexts: list[int]) -> PrefixCache:
    prefixes = PrefixCache(room)
    for tokens in contexts:
        prefixes.add(tokens, states(tokens))
    return prefixes


def kept(prefixes: PrefixCache, tokens: list[int]) -> list[int]:
    found = prefixes.nearest(tokens)
    return [] if found is None else found[0, 0, 0, :, 0].astype(int).tolist()


def test_the_beginning_that_is_shared_is_found() -> None:
    prefixes = filled(100, [1, 2, 3, 4], [1, 5, 6, 7])
    assert kept(prefixes, [1, 2, 3, 9]) == [1, 2, 3]
    assert kept(prefixes, [1, 5, 6, 7]) == [1, 5, 6, 7]
    assert kept(prefixes, [1, 5]) == [1, 5]
    assert kept(prefixes, [2]) == []
    assert kept(PrefixCache(9), [1]) == []


def test_a_context_that_is_mostly_like_another_takes_its_place() -> None:
    prefixes = filled(100, [1, 2, 3, 4], [1, 2, 8, 9, 10])
    assert prefixes.tokens == 5
    prefixes.add([1, 7, 7, 7], states([1, 7, 7, 7]))
    assert prefixes.tokens == 9
    prefixes.clear()
    assert prefixes.tokens == 0


def test_what_was_used_longest_ago_goes_first() -> None:
    prefixes = filled(10, [1] * 4, [2] * 4)
    assert kept(prefixes, [1]) == [1]
    prefixes.add([3] * 4, states([3] * 4))
    assert (kept(prefixes, [1]), kept(prefixes, [2]), kept(prefixes, [3])) == ([1], [], [3])
    prefixes.add([4] * 50, states([4] * 50))
    assert prefixes.tokens == 50, "one alone may be longer"
