"""Intervals keep their promise with few people, and nothing is found where there is nothing."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperalign.errors import InputError
from hyperalign.evals.statistics import (
    clusters_needed,
    difference,
    estimate,
    holm,
    mcnemar,
    ratio,
    share_of_way,
    sign_flip_p,
)
from hyperalign.evals.summary import Tables, _verdicts

RUNS = 1_000


def people(rng: np.random.Generator, clusters: int, kind: str) -> tuple[dict[str, list[float]], float]:
    """Scores of people with 2 to 8 cases each, and their true mean."""
    sizes = rng.integers(2, 9, clusters)
    if kind == "accuracy":
        rates = rng.beta(4, 2.5, clusters)
        drawn = [rng.binomial(1, rate, size) for rate, size in zip(rates, sizes, strict=True)]
        return {str(i): list(map(float, values)) for i, values in enumerate(drawn)}, 4 / 6.5
    centers = rng.normal(0, 1, clusters)
    noisy = [center + rng.normal(0, 1.5, size) for center, size in zip(centers, sizes, strict=True)]
    return {str(i): list(values) for i, values in enumerate(noisy)}, 0.0


@pytest.mark.parametrize("kind", ["normal", "accuracy"])
@pytest.mark.parametrize("clusters", [6, 10, 20, 40])
def test_intervals_cover_the_truth_as_often_as_they_say(kind: str, clusters: int) -> None:
    rng = np.random.default_rng(100 + clusters)
    held = 0
    for _ in range(RUNS):
        scores, truth = people(rng, clusters, kind)
        found = estimate(scores)
        held += found.low <= truth <= found.high
    assert 0.93 <= held / RUNS <= 0.97


@pytest.mark.parametrize("clusters", [8, 12, 20])
def test_four_strategies_that_do_nothing_seldom_win_even_once(clusters: int) -> None:
    rng = np.random.default_rng(7)
    wins = 0
    for _ in range(RUNS):
        rates, sizes = rng.beta(4, 2.5, clusters), rng.integers(2, 9, clusters)
        # All four are compared with one baseline, so they are not independent of each other.
        conditions: Tables = {
            name: {
                "accuracy": {
                    str(i): rng.binomial(1, rate, size).astype(float).tolist()
                    for i, (rate, size) in enumerate(zip(rates, sizes, strict=True))
                }
            }
            for name in ("none", *"abcd")
        }
        found = _verdicts(conditions, "accuracy")
        assert set(found) == set("abcd")
        wins += any(each["beats_all"] for each in found.values())
    assert wins / RUNS <= 0.065


def test_a_person_with_many_cases_weighs_no_more() -> None:
    found = estimate({"a": [1.0] * 98, "b": [0.0], "c": [0.0]})
    assert found.mean == pytest.approx(1 / 3)
    assert (found.n_clusters, found.n_cases) == (3, 100)


def test_the_interval_by_hand() -> None:
    found = estimate({"a": [1.0, 3.0], "b": [4.0], "c": [6.0]})
    # means 2, 4, 6; standard deviation 2; t(0.975, 2) = 4.302653
    assert found.mean == 4.0
    assert found.high - found.mean == pytest.approx(4.302653 * 2 / math.sqrt(3), rel=1e-6)
    assert math.isnan(estimate({"a": [1.0]}).low)


def test_differences_are_paired() -> None:
    ours = {"a": [1.0, 2.0], "b": [5.0, 5.0], "c": [9.0]}
    theirs = {"a": [0.0, 1.0], "b": [4.0, 4.0], "c": [8.0]}
    found = difference(ours, theirs)
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)
    assert sign_flip_p(ours, theirs) == pytest.approx(1 / 8)
    assert sign_flip_p(theirs, ours) == 1.0
    for other in ({"a": [1.0], "b": [5.0, 5.0], "c": [9.0]}, {"a": [1.0, 2.0]}):
        with pytest.raises(InputError, match="same cases"):
            difference(ours, other)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-5, 5), min_size=15, max_size=20))
def test_drawn_flips_count_the_data_s_own(values: list[float]) -> None:
    ours = {str(i): [value] for i, value in enumerate(values)}
    p = sign_flip_p(ours, {name: [0.0] for name in ours})
    assert 1 / 10_000 <= p <= 1


@pytest.mark.parametrize("clusters", [3, 14, 15, 300])
def test_p_is_that_of_all_flips_at_once(clusters: int) -> None:
    rng = np.random.default_rng(clusters)
    values = rng.normal(0.1, 1, size=clusters)
    if clusters <= 14:
        signs = 1.0 - 2.0 * ((np.arange(2**clusters)[:, None] >> np.arange(clusters)) & 1)
    else:
        drawn = np.random.default_rng(7).integers(0, 2, size=(9_999, clusters))
        signs = np.vstack([np.ones(clusters), 1.0 - 2.0 * drawn])
    ours = {str(at): [value] for at, value in enumerate(values.tolist())}
    p = sign_flip_p(ours, {name: [0.0] for name in ours}, seed=7)
    assert p == np.mean(signs @ values >= values.sum() - 1e-9)


def test_flips_of_many_clusters_take_little_memory() -> None:
    ours = {str(at): [float(at % 3)] for at in range(5_000)}
    theirs = {name: [0.9] for name in ours}
    tracemalloc.start()
    p = sign_flip_p(ours, theirs, seed=11)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert p == 1e-4, "its own flip counts, though sums of so many are rounded"
    # One number for each flip of each cluster would be 400 MB.
    assert peak < 100e6


def test_holm_by_hand() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_how_many_people_would_settle_it() -> None:
    open_question = estimate({str(i): [value] for i, value in enumerate([-1.0, 0.0, 1.0, 1.0])})
    needed = clusters_needed(open_question, 0.25)
    assert needed is not None
    assert needed > 4
    rng = np.random.default_rng(3)
    drawn = rng.normal(0.25, math.sqrt(11 / 12), size=(400, needed))
    settled = np.mean([estimate({str(i): [v] for i, v in enumerate(row)}).low > 0 for row in drawn])
    assert 0.7 <= settled <= 0.9
    assert clusters_needed(estimate({"a": [1.0], "b": [-1.0]}), 0.5) is None


@pytest.mark.parametrize(
    ("differences", "p", "claims", "sided", "needed"),
    [
        ([3.0, 1.0, 2.0], 0.125, 1, 1, 5),  # of four p is 1/16 at the least
        ([3.0, 1.0, 2.0], 0.25, 1, 2, 6),
        ([3.0, 1.0, 2.0], 0.5, 4, 1, 7),
        ([1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0], 0.06, 1, 1, 8),  # open, so more than there were
        ([1.0, 1.1, 0.9, 1.0, 1.2, 0.8, 1.0], 0.01, 1, 1, None),  # settled
        ([-0.5, -0.3, -0.4, -0.5, -0.3, -0.4], 1.0, 1, 1, None),  # what is worse is not going to win
    ],
)
def test_what_settles_it_can_settle_it(
    differences: list[float], p: float, claims: int, sided: int, needed: int | None
) -> None:
    found = estimate({str(i): [value] for i, value in enumerate(differences)})
    assert clusters_needed(found, p, claims=claims, sided=sided) == needed


def test_no_case_is_an_error() -> None:
    with pytest.raises(InputError, match="no case"):
        estimate({"a": []})


@pytest.mark.parametrize("clusters", [6, 10, 20, 40])
def test_intervals_of_shares_cover_the_truth_as_often_as_they_say(clusters: int) -> None:
    rng = np.random.default_rng(100 + clusters)
    held = 0
    for _ in range(RUNS):
        scores, truth = people(rng, clusters, "accuracy")
        found = estimate(scores, share=True)
        assert 0 <= found.low <= found.mean <= found.high <= 1
        held += found.low <= truth <= found.high
    assert 0.93 <= held / RUNS <= 0.97


def test_the_interval_of_a_share_is_cut_where_shares_end() -> None:
    scores = {"a": [1.0], "b": [1.0], "c": [0.0]}
    free, cut = estimate(scores), estimate(scores, share=True)
    assert (free.low < 0, free.high > 1) == (True, True)
    assert (cut.low, cut.high) == (0.0, 1.0)
    assert cut.mean == free.mean
    inside = {str(i): [0.4 + i / 100] for i in range(8)}
    assert estimate(inside, share=True) == estimate(inside)


@pytest.mark.parametrize("clusters", [2, 3, 8, 30])
def test_all_at_one_end_is_no_certainty(clusters: int) -> None:
    """The exact interval of n of n: its lower end is the nth root of 0.025 (Clopper and Pearson)."""
    end = 0.025 ** (1 / clusters)
    ones = estimate({str(i): [1.0, 1.0] for i in range(clusters)}, share=True)
    assert (ones.mean, ones.high) == (1.0, 1.0)
    assert ones.low == pytest.approx(end)
    zeros = estimate({str(i): [0.0] for i in range(clusters)}, share=True)
    assert (zeros.mean, zeros.low) == (0.0, 0.0)
    assert zeros.high == pytest.approx(1 - end)
    assert estimate({str(i): [1.0] for i in range(clusters)}, share=True, level=0.5).low > ones.low
    # Not near the end but at it; and a mean that is no share has no such end.
    assert estimate({str(i): [1.0] for i in range(clusters)}).low == 1.0


def test_one_cluster_has_no_interval_even_at_the_end() -> None:
    found = estimate({"a": [1.0, 1.0]}, share=True)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize(("gains", "loses"), [(0.0, 0.0), (0.02, 0.01), (0.05, 0.25), (0.3, 0.3)])
def test_changes_of_yes_and_no_are_covered_even_where_few_change(gains: float, loses: float) -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(RUNS):
        draw = rng.random(60)
        before = [bool(value < loses or value > 0.7) for value in draw]
        after = [bool(value > 0.7 or loses <= value < loses + gains) for value in draw]
        found = mcnemar(after, before)
        held += found.low <= gains - loses <= found.high
    assert held / RUNS >= 0.93


def test_mcnemar_counts_what_changed() -> None:
    found = mcnemar([True] * 8 + [False] * 2, [False] * 8 + [True, False])
    assert (found.gained, found.lost, found.n_cases) == (8, 1, 10)
    assert found.mean == pytest.approx(0.7)
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9, abs=1e-5)
    assert mcnemar([True, False], [True, False]).p == 1.0
    with pytest.raises(InputError, match="not the same"):
        mcnemar([True], [])


def test_a_ratio_s_interval_holds_what_can_not_be_told_from_it() -> None:
    ours = {"a": [0.3, 0.5], "b": [0.1], "c": [0.4], "d": [0.2]}
    whole = {"d": [0.5], "a": [0.5, 0.5], "b": [0.3], "c": [0.4]}
    found = ratio(ours, whole)
    assert found.mean == pytest.approx(1.1 / 1.7)
    assert found.low < found.mean < found.high
    assert (found.n_clusters, found.n_cases) == (4, 5)
    # By definition: at either end the covered part is just not told from that share of the whole.
    for end, sign in ((found.low, 1), (found.high, -1)):
        left = {name: [a - end * b for a, b in zip(ours[name], whole[name], strict=True)] for name in ours}
        edge = estimate(left)
        assert (edge.low if sign > 0 else edge.high) == pytest.approx(0, abs=1e-12)


def test_a_ratio_to_what_may_be_nothing_has_no_finite_interval() -> None:
    found = ratio({"a": [0.2], "b": [0.3]}, {"a": [0.5], "b": [-0.1]})
    assert found.mean == pytest.approx(0.5 / 0.4)
    assert math.isnan(found.low) and math.isnan(found.high)
    alone = ratio({"a": [0.2]}, {"a": [0.4]})
    assert alone.mean == pytest.approx(0.5)
    assert math.isnan(alone.low)
    with pytest.raises(InputError, match="denominator is zero"):
        ratio({"a": [0.2]}, {"a": [0.0]})
    with pytest.raises(InputError, match="same cases"):
        ratio({"a": [0.2]}, {"b": [0.2]})


def test_the_share_of_a_way_is_the_ratio_of_what_was_gained() -> None:
    start, end = {"a": [1.0, 2.0], "b": [3.0], "c": [0.0]}, {"a": [3.0, 4.0], "b": [6.0], "c": [4.0]}
    ours = {"c": [1.0], "b": [5.0], "a": [2.0, 2.0]}
    found = share_of_way(ours, start, end)
    # Gains of 0.5, 2 and 1 on ways of 2, 3 and 4.
    assert found == ratio({"a": [1.0, 0.0], "b": [2.0], "c": [1.0]}, {"a": [2.0, 2.0], "b": [3.0], "c": [4.0]})
    assert found is not None and found.mean == pytest.approx(3.5 / 9)
    ends = [share_of_way(each, start, end) for each in (start, end)]
    assert [each and each.mean for each in ends] == [0.0, 1.0]
    assert share_of_way(ours, end, start) is None, "the end is lower than the start"
    assert share_of_way(ours, start, start) is None, "there is no way"
    assert share_of_way({"a": [1.0, 1.0], "b": [1.0]}, start, end) is None, "other cases"


def test_ratios_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(RUNS):
        whole = rng.normal(0.35, 0.2, 12)
        part = 0.8 * whole + rng.normal(0, 0.15, 12)
        found = ratio({str(i): [v] for i, v in enumerate(part)}, {str(i): [v] for i, v in enumerate(whole)})
        held += math.isnan(found.low) or found.low <= 0.8 <= found.high
    assert 0.93 <= held / RUNS <= 0.97
