"""The interval that holds at any time: how often it errs, what it finds, and what it takes for a block."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hyperalign.errors import InputError
from hyperalign.evals.sequential import compare, interval, log_capital, pair_arms, should_switch_off


def deal(rng: np.random.Generator, n: int, on: float, off: float, holdout: float = 0.5) -> list[tuple[bool, float]]:
    arms = rng.random(n) >= holdout
    values = rng.random(n) < np.where(arms, on, off)
    return list(zip(arms.tolist(), values.astype(float).tolist(), strict=True))


def test_a_block_has_an_outcome_of_each_arm_in_their_order() -> None:
    assert pair_arms([(True, 1.0), (True, 0.0), (False, 0.25), (False, 0.0)]) == [0.25]
    assert pair_arms([(True, 1.0), (False, 0.25), (False, 0.0), (True, 0.0)]) == [0.75, 0.0]
    assert pair_arms([(True, 1.0)] * 9) == []
    assert pair_arms([]) == []


def test_few_outcomes_wait_where_the_arms_are_uneven() -> None:
    rng = np.random.default_rng(3)
    outcomes = deal(rng, 3000, 0.6, 0.5, holdout=0.2)
    differences = pair_arms(outcomes)
    off = sum(not is_on for is_on, _ in outcomes)
    assert len(differences) > 0.9 * off
    means = [np.mean([value for is_on, value in outcomes if is_on == arm]) for arm in (True, False)]
    assert abs(np.mean(differences) - (means[0] - means[1])) < 0.03


@pytest.mark.parametrize("holdout", [0.5, 0.2])
def test_watched_all_the_time_it_seldom_errs(holdout: float) -> None:
    rng = np.random.default_rng(5)
    needed = math.log(2 / 0.05)
    declared = 0
    for _ in range(200):
        differences = np.array(pair_arms(deal(rng, 600, 0.6, 0.6, holdout)))
        declared += max(log_capital(sign * differences, 0.0).max() for sign in (1.0, -1.0)) >= needed
    assert declared <= 10  # 5 %, and with these bets far fewer


def test_an_effect_is_found_and_the_interval_holds_it() -> None:
    rng = np.random.default_rng(7)
    found = [compare(deal(rng, 2000, 0.65, 0.5)) for _ in range(20)]
    assert sum(each.verdict == "helps" for each in found) >= 19
    assert all(each.low <= 0.15 <= each.high for each in found)
    assert all(each.low <= each.difference <= each.high for each in found)
    harmed = compare(deal(rng, 2000, 0.4, 0.6))
    assert harmed.verdict == "harms"
    assert should_switch_off(harmed).startswith("answers with it fared worse")


def test_the_interval_only_shrinks() -> None:
    rng = np.random.default_rng(9)
    differences = np.array(pair_arms(deal(rng, 800, 0.6, 0.5)))
    ends = [interval(differences[:n]) for n in range(0, len(differences), 40)]
    assert ends[0] == (-1.0, 1.0)
    for before, after in itertools.pairwise(ends):
        assert before[0] <= after[0]
        assert after[1] <= before[1]


def test_capital_is_a_fair_game_where_the_candidate_is_true() -> None:
    differences = np.array([[-1.0], [0.0], [1.0]])
    assert float(np.exp(log_capital(differences, 0.0)).mean()) == pytest.approx(1.0)
    assert float(np.exp(log_capital(np.full(40, 0.3), 0.0))[-1]) > 20


def test_choices_are_differences_by_themselves() -> None:
    won = compare([(None, 1.0)] * 30)
    assert won.verdict == "helps"
    assert won.difference == 1.0
    assert math.isnan(won.mean_on)
    assert compare([(None, 1.0), (None, -1.0)] * 30).verdict == "open"
    with pytest.raises(InputError):
        compare([(None, 2.0)])


def test_outcomes_of_two_kinds_are_compared_within_each_in_their_order() -> None:
    outcomes = [(True, 1.0), (False, 0.5), (None, -1.0), (False, 0.0), (True, 0.25)]
    strata = ["thumb", "edit", "choice", "thumb", "edit"]
    assert pair_arms(outcomes, strata) == [-1.0, 1.0, -0.25]
    assert pair_arms(outcomes) == [0.5, -1.0, 0.25]
    found = compare(outcomes, strata)
    assert (found.n_on, found.n_off) == (3, 3)
    assert found.difference == pytest.approx(-0.25 / 3)
    # What came later changes nothing of what was seen before.
    later = compare([*outcomes, (None, 1.0)], [*strata, "choice"])
    assert later.low >= found.low
    assert later.high <= found.high


def test_nothing_is_claimed_of_nothing() -> None:
    found = compare([])
    assert (found.verdict, found.low, found.high) == ("open", -1.0, 1.0)
    assert math.isnan(found.difference)
    assert should_switch_off(found) == ""
    with pytest.raises(InputError):
        compare([(True, 1.5)])


def test_a_profile_that_surely_helps_little_is_switched_off() -> None:
    same = [(bool(at % 2), 0.5) for at in range(4000)]
    found = compare(same)
    assert found.verdict == "open"
    assert should_switch_off(found).startswith("it helps by less than")
