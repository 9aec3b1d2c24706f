"""Choice metrics by hand: gains, own over other, and votes that need no model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperalign.evals.metrics.choice import FEATURES, Letters, Margin, margin, vote, win
from hyperalign.records import Pair, Record, Sample
from hyperalign.scores import TextScore

SHORT, LONG = "Fine.", "Well, that would be perfectly fine with me, thank you."


def pair(chosen: str, rejected: str) -> Pair:
    return Pair(user="ada", prompt="?", chosen=chosen, rejected=rejected)


def test_margins_are_sums_and_means() -> None:
    bare = margin(TextScore(-10.0, 5), TextScore(-4.0, 4))
    told = margin(TextScore(-8.0, 5), TextScore(-6.0, 4))
    assert bare == Margin(-6.0, -1.0)
    assert (told - bare).total == pytest.approx(4.0)
    assert (told - bare).mean == pytest.approx(0.9)


def test_ties_count_half() -> None:
    assert [win(gain, 0.0) for gain in (0.2, 0.0, -0.2)] == [1.0, 0.5, 0.0]
    assert [win(own, 1.0) for own in (1.5, 1.0, 0.5)] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("name", sorted(FEATURES))
def test_a_vote_follows_the_history_and_nothing_else(name: str) -> None:
    texts = {
        "length": ("I see it. It is so.", "No."),
        "word-length": ("Extraordinary circumstances.", "It is so."),
        "readability": ("The cat sat. It was fun.", "Institutional considerations necessitate deliberation."),
    }
    high, low = texts[name]
    likes_high: list[Record] = [pair(high, low)] * 3
    likes_low: list[Record] = [pair(low, high)] * 3
    assert vote(name, likes_high, high, low) == vote(name, likes_low, low, high) == 1.0
    assert vote(name, likes_high, low, high) == vote(name, likes_low, high, low) == 0.0
    undecided: list[Record] = [pair(high, low), pair(low, high)]
    assert vote(name, undecided, high, low) == vote(name, [], high, low) == vote(name, likes_high, high, high) == 0.5


def test_samples_vote_by_nearness() -> None:
    brief: list[Record] = [Sample(user="ada", text="Quite so. Yes.")] * 2
    assert vote("length", brief, SHORT, LONG) == 1.0
    assert vote("length", brief, LONG, SHORT) == 0.0


@pytest.mark.parametrize(
    ("first", "second", "accuracy", "consistency"),
    [
        (1.0, 1.0, 1.0, 1.0),
        (0.0, 0.0, 0.0, 1.0),
        (1.0, 0.0, 0.5, 0.0),
        (0.0, 1.0, 0.5, 0.0),
        (0.9, 0.4, 1.0, 0.0),
        (0.6, 0.1, 0.0, 0.0),
        (0.5, 0.9, 1.0, 0.5),
        (0.5, 0.5, 0.5, 0.5),
    ],
)
def test_letters_by_hand(first: float, second: float, accuracy: float, consistency: float) -> None:
    found = Letters(first, second)
    assert (found.accuracy, found.consistency) == (accuracy, consistency)
    assert found.chosen == pytest.approx((first + second) / 2)


@given(st.floats(0.0, 1.0))
def test_a_model_that_only_sees_positions_is_a_coin(share_of_a: float) -> None:
    """The probability of A, whatever stands there: as it is in one order, and what is left of it in the other."""
    found = Letters(share_of_a, 1.0 - share_of_a)
    assert found.accuracy == 0.5
    assert found.consistency in ({0.5} if share_of_a == 0.5 else {0.0, 0.5})


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_orders_are_alike(first: float, second: float) -> None:
    one, other = Letters(first, second), Letters(second, first)
    assert (one.accuracy, one.consistency) == (other.accuracy, other.consistency)
