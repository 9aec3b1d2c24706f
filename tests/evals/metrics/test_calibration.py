"""Calibration against figures worked out by hand, and on simulated choices."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hyperalign.evals.cases import Case
from hyperalign.evals.metrics.calibration import (
    Calibration,
    calibrate,
    expected_calibration_error,
    expected_error_if_calibrated,
    fit_slope,
    log_loss,
    reliability,
    to_log_odds,
    to_probability,
)


def test_an_error_worked_out_by_hand() -> None:
    # Two bins. Confidences .6 (right), .6 (wrong) | .8 (right), .9 (wrong).
    given = [0.6, 0.4, 0.8, 0.1]
    low, high = reliability(given, bins=2)
    assert (low.confidence, low.accuracy, low.share) == pytest.approx((0.6, 0.5, 0.5))
    assert (high.confidence, high.accuracy, high.share) == pytest.approx((0.85, 0.5, 0.5))
    assert expected_calibration_error(given, bins=2) == pytest.approx(0.5 * 0.1 + 0.5 * 0.35)


def test_weights_count_as_repeated_cases_do() -> None:
    once, twice = [0.7, 0.2, 0.9], [0.7, 0.7, 0.2, 0.2, 0.9, 0.9]
    assert expected_calibration_error(once, [1, 1, 1], bins=1) == pytest.approx(
        expected_calibration_error(twice, bins=1)
    )
    # (2 * |.7 - 1| + 0) with the weight of two of the first and none of the others.
    assert expected_calibration_error(once, [2, 0, 0], bins=1) == pytest.approx(0.3)


def test_equal_confidences_share_a_bin() -> None:
    # All right people first: bins by place would tell them from the others.
    given = [0.75] * 30 + [0.25] * 10
    (only,) = reliability(given)
    assert (only.confidence, only.accuracy, only.share) == pytest.approx((0.75, 0.75, 1.0))
    assert expected_calibration_error(given) == pytest.approx(0.0)


def test_a_coin_is_calibrated() -> None:
    assert expected_calibration_error([0.5] * 40) == 0.0
    assert log_loss(0.5) == pytest.approx(math.log(2))
    assert math.isfinite(log_loss(0.0))


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_a_slope_undoes_what_was_too_sure_or_too_shy(sharpness: float) -> None:
    draw = np.random.default_rng(3)
    odds = draw.normal(0, 1.5, 4000)
    chosen = draw.random(4000) < 1 / (1 + np.exp(-odds))
    right = np.where(chosen, odds, -odds)
    slope = fit_slope(sharpness * right)
    assert slope == pytest.approx(1 / sharpness, rel=0.1)
    probabilities = [to_probability(slope * sharpness * value) for value in right]
    error = expected_calibration_error(probabilities)
    assert error < 0.03
    assert error < 2.5 * expected_error_if_calibrated(probabilities)
    assert to_log_odds(to_probability(1.5)) == pytest.approx(1.5)


def test_scores_that_predict_the_contrary_or_nothing_have_no_slope() -> None:
    assert fit_slope([-1.0, -2.0, -0.5]) == pytest.approx(0.0, abs=1e-3)
    assert fit_slope([0.0, 0.0]) == 0.0
    assert fit_slope([]) == 0.0


def test_scores_that_were_never_wrong_are_not_held_to_be_sure() -> None:
    assert [round(to_probability(fit_slope([1.0] * count)), 2) for count in (1, 9, 99)] == [0.75, 0.95, 0.99]
    assert fit_slope([1.0] * 9, [2.0] * 9) == pytest.approx(fit_slope([1.0] * 18), abs=1e-3)


def test_few_cases_have_an_error_by_chance_alone() -> None:
    few, many = ([0.8] * count for count in (20, 2000))
    assert expected_error_if_calibrated(few) > 0.05
    assert expected_error_if_calibrated(many) < 0.01


def _cases(count: int, *, dev: bool = True) -> list[Case]:
    return [
        Case(id=str(n), user=f"u{n // 4}", cluster=f"u{n // 4}", prompt="?", records=(), dev=dev) for n in range(count)
    ]


def test_a_slope_is_learned_on_other_dev_people() -> None:
    cases = _cases(80)
    draw = np.random.default_rng(0)
    # Scores in an odd unit, right in three of four cases.
    scores = {case.id: float(draw.choice([100.0, -100.0], p=[0.75, 0.25])) for case in cases}
    found = calibrate(cases, scores, are_log_odds=False)
    assert found.dev["log_loss_after"] < np.log(2) < found.dev["log_loss_before"]
    assert found.dev["ece_after"] < found.dev["ece_before"]
    share = np.mean([score > 0 for score in scores.values()])
    (other,) = _cases(1, dev=False)
    assert found.probability(other, 100.0) == pytest.approx(share, abs=0.02)
    # A dev person's slope comes from the others: it changes with them, and not with their own score.
    changed = {**scores, **{case.id: -100.0 for case in cases[:4]}}
    again = calibrate(cases, changed, are_log_odds=False)
    assert again.probability(cases[0], 100.0) == found.probability(cases[0], 100.0)
    assert again.probability(other, 100.0) != found.probability(other, 100.0)


def test_probabilities_that_hold_stay_as_they_are() -> None:
    cases = _cases(400)
    draw = np.random.default_rng(1)
    odds = draw.normal(0, 1, 400)
    right = np.where(draw.random(400) < 1 / (1 + np.exp(-odds)), odds, -odds)
    good = {case.id: float(value) for case, value in zip(cases, right, strict=True)}
    assert calibrate(cases, good, are_log_odds=True).slope == 1.0
    sure = {name: 3 * score for name, score in good.items()}
    assert calibrate(cases, sure, are_log_odds=True).slope == pytest.approx(1 / 3, abs=0.06)
    assert calibrate([], {}, are_log_odds=True) == Calibration(1.0)
