"""What is kept, and what so many people would have shown: never nought."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from scipy import stats

from hyperalign.errors import InputError
from hyperalign.programs.optimize.metric import ExampleScore
from hyperalign.programs.optimize.verdict import decide, decide_unchanged


def measured(scores: Sequence[float], each: int = 1) -> list[ExampleScore]:
    return [ExampleScore(f"p{who}", score, "", 10) for who, score in enumerate(scores) for _ in range(each)]


def test_where_nothing_was_found_the_spread_of_people_bounds_what_they_would_have_shown() -> None:
    verdict = decide_unchanged(measured([0.2, 0.4, 0.6, 0.8]), "no improvement found")
    error = math.sqrt(2) * stats.tstd([0.2, 0.4, 0.6, 0.8]) / 2
    assert verdict.minimum_detectable_effect == pytest.approx((stats.t.ppf(0.975, 3) + stats.t.ppf(0.8, 3)) * error)
    assert verdict.bound
    assert not verdict.compared
    assert "at most 0.760" in verdict.power
    assert decide(measured([0.2, 0.4]), measured([0.2, 0.4]), []).bound, "equal scores show no spread of differences"


def test_where_nothing_can_be_said_that_is_said() -> None:
    verdict = decide_unchanged(measured([0.5, 0.5, 0.5]), "no improvement found")
    assert verdict.minimum_detectable_effect is None
    assert "unknown: all their scores are equal" in verdict.power


def test_what_was_compared_has_the_power_of_its_differences() -> None:
    verdict = decide(measured([0.2, 0.4, 0.6]), measured([0.3, 0.6, 0.7]), [])
    assert not verdict.bound
    assert verdict.minimum_detectable_effect is not None
    assert f"of 3 people (80 % power) is {verdict.minimum_detectable_effect:.3f}." in verdict.power
    tiny = decide(measured([0.2, 0.4]), measured([0.2, 0.4 + 1e-6]), [])
    assert "0.000" not in tiny.power


def test_all_means_are_over_people() -> None:
    before = [*measured([0.0], each=9), ExampleScore("other", 1.0, "")]
    after = [*measured([0.2], each=9), ExampleScore("other", 1.0, "")]
    verdict = decide(before, after, [])
    assert (verdict.before, verdict.after) == (pytest.approx(0.5), pytest.approx(0.6))
    assert verdict.difference == pytest.approx(verdict.after - verdict.before)


@pytest.mark.parametrize("scores", [[], [0.4]])
def test_one_person_has_no_interval(scores: list[float]) -> None:
    with pytest.raises(InputError, match="to compare prompts on"):
        decide(measured(scores), measured(scores), [])
    with pytest.raises(InputError, match="to compare prompts on"):
        decide_unchanged(measured(scores), "no improvement found")
