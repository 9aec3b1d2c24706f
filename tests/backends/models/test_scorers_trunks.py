"""Which contexts stay in the cache, without a model."""

from __future__ import annotations

from hyperalign.backends.models.scorers.prefix_cache import Trunk, Trunks


def add(trunks: Trunks, tokens: list[int]) -> Trunk:
    trunk = trunks.add(len(tokens))
    assert trunk is not None
    trunk.tokens = tokens
    return trunk


def test_the_nearest_is_found_and_used_last() -> None:
    trunks = Trunks(3, 100)
    assert trunks.nearest([1, 2]) == (None, 0)
    first, second = add(trunks, [1, 2, 3]), add(trunks, [1, 5])
    assert (first.sequence, second.sequence) == (0, 1)
    assert trunks.nearest([1, 2, 9]) == (first, 2)
    assert trunks.shed(4) is second, "the other one is the oldest now"
    assert trunks.cells == 3


def test_who_is_used_last_never_goes() -> None:
    trunks = Trunks(2, 10)
    first, second = add(trunks, [1] * 4), add(trunks, [2] * 4)
    assert trunks.crowded(2) is first, "both sequences are taken"
    assert trunks.crowded(2) is None
    assert trunks.add(7) is None, "beside the other one there is no room"
    assert trunks.shed(1) is None
    assert trunks.cells == len(second.tokens)
    trunks.clear()
    assert trunks.add(50) is not None, "one alone may be longer"
