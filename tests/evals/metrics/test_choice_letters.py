"""Letters in both orders, by hand: the surer order decides, and a tie counts half."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperalign.evals.metrics.choice import Letters


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
def test_by_hand(first: float, second: float, accuracy: float, consistency: float) -> None:
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
