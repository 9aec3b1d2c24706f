"""Which contexts stay in the cache, without a model."""

from __future__ import annotations

from hyperalign.backends.models.scorers.prefix_cache import CachedPrefix, PrefixCache


def add(prefixes: PrefixCache, tokens: list[int]) -> CachedPrefix:
    prefix = prefixes.add(len(tokens))
    assert prefix is not None
    prefix.tokens = tokens
    return prefix


def test_the_nearest_is_found_and_used_last() -> None:
    prefixes = PrefixCache(3, 100)
    assert prefixes.nearest([1, 2]) == (None, 0)
    first, second = add(prefixes, [1, 2, 3]), add(prefixes, [1, 5])
    assert (first.sequence, second.sequence) == (0, 1)
    assert prefixes.nearest([1, 2, 9]) == (first, 2)
    assert prefixes.shed(4) is second, "the other one is the oldest now"
    assert prefixes.cells == 3


def test_who_is_used_last_never_goes() -> None:
    prefixes = PrefixCache(2, 10)
    first, second = add(prefixes, [1] * 4), add(prefixes, [2] * 4)
    assert prefixes.crowded(2) is first, "both sequences are taken"
    assert prefixes.crowded(2) is None
    assert prefixes.add(7) is None, "beside the other one there is no room"
    assert prefixes.shed(1) is None
    assert prefixes.cells == len(second.tokens)
    prefixes.clear()
    assert prefixes.add(50) is not None, "one alone may be longer"
