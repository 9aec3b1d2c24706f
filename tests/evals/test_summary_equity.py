"""Whom a strategy helps and harms, by hand."""

from __future__ import annotations

import math

import pytest

from hyperalign.evals.summary import Equity, equity


def test_by_hand() -> None:
    scores = {"ada": [1.0, 0.0], "bob": [1.0], "cal": [0.0, 0.0, 0.0], "dan": [0.5]}
    found = equity(scores, 0.5)
    # Means 0.5, 1, 0 and 0.5: each a quarter of a unit squared from 0.5 where it is not there, over three.
    assert found.spread == pytest.approx(math.sqrt((0.25 + 0.25) / 3))
    assert (found.n_users, found.worst_decile) == (4, 0.0)
    assert found.made_worse == 0.25, "below, not equal"


def test_people_weigh_the_same_however_many_cases_they_have() -> None:
    few = equity({"ada": [1.0], "bob": [0.0]}, 0.5)
    many = equity({"ada": [1.0] * 50, "bob": [0.0]}, 0.5)
    assert few == many


def test_made_worse_is_against_each_person_s_own() -> None:
    scores = {"ada": [2.0], "bob": [2.0], "cal": [2.0]}
    without = {"ada": [3.0, 2.0], "bob": [2.0], "cal": [1.0], "zoe": [9.0]}
    assert equity(scores, without).made_worse == pytest.approx(1 / 3)
    assert equity(scores, {"ada": [3.0]}).made_worse == 1.0, "over those who have one"
    assert math.isnan(equity(scores, {}).made_worse), "nobody has one"


@pytest.mark.parametrize(
    ("people", "worst"), [(1, 0.0), (9, 0.0), (10, 0.0), (11, 0.5), (20, 0.5), (21, 1.0), (30, 1.0)]
)
def test_the_worst_tenth_has_at_least_one_person_and_is_rounded_up(people: int, worst: float) -> None:
    found = equity({f"u{number:02}": [float(number)] for number in reversed(range(people))}, 0.0)
    assert found.worst_decile == worst


def test_one_person_has_no_spread_and_nobody_has_no_figure() -> None:
    assert equity({"ada": [0.25, 0.75]}, 0.4) == Equity(1, 0.0, 0.5, 0.0)
    nobody = equity({"ada": []}, 0.5)
    assert (nobody.n_users, nobody.spread) == (0, 0.0)
    assert math.isnan(nobody.worst_decile)
    assert math.isnan(nobody.made_worse)
