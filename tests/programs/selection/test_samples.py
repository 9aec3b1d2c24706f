"""Choosing from score matrices: effects are kept, noise is not, and every reason is said."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis
from hyperalign.programs.selection import Rules, Selection, select
from hyperalign.programs.selection.samples import false_discovery_qs
from hyperalign.scores import Row, ScoreMatrix

from ..toys import make_hypothesis


def matrix(own: NDArray[np.float64], others: NDArray[np.float64], names: Sequence[str]) -> ScoreMatrix:
    """One matrix: shapes (records, hypotheses) of the person and of the others."""
    rows = [Row(f"r{i}", "ada") for i in range(len(own))] + [Row(f"o{i}", f"p{i % 2}") for i in range(len(others))]
    return ScoreMatrix("likelihood", "model@1", tuple(rows), tuple(names), np.vstack([own, others]))


def judged(
    own: Sequence[float], others: Sequence[float], hypothesis: Hypothesis | None = None, **rules: float
) -> Selection:
    hypothesis = hypothesis or make_hypothesis("h")
    cells = matrix(np.array(own)[:, None], np.array(others)[:, None], [hypothesis.id])
    return select([hypothesis], [cells], "ada", Rules(**rules))  # type: ignore[arg-type]


def test_a_planted_effect_is_kept_among_noise() -> None:
    rng = np.random.default_rng(1)
    names = [f"h{i}" for i in range(20)]
    own, others = rng.normal(size=(8, 20)), rng.normal(size=(8, 20))
    own[:, 3] += 4
    chosen = select([make_hypothesis(name) for name in names], [matrix(own, others, names)], "ada")
    assert "h3" in [h.id for h in chosen.kept]
    (kept,) = [h for h in chosen.kept if h.id == "h3"]
    assert kept.test is not None
    assert kept.test.low > 0
    assert kept.test.low <= kept.test.gain <= kept.test.high
    assert kept.test.q <= 0.1
    assert kept.weight == pytest.approx(kept.test.low / kept.test.gain, abs=1e-4)
    assert kept.test.records == [f"r{i}" for i in range(8)]
    assert len(chosen.kept) + len(chosen.dropped) == 20


def test_noise_is_kept_at_most_at_the_stated_rate() -> None:
    rng = np.random.default_rng(2)
    hypotheses = [make_hypothesis(f"h{i}", "space" if i % 2 else "inferred") for i in range(4)]
    names = [h.id for h in hypotheses]
    deceived = 0
    for _ in range(200):
        cells = matrix(rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), names)
        deceived += bool(select(hypotheses, [cells], "ada").kept)
    # All are null, so a false-discovery rate of 0.1 is the chance that a person gets any: 20 of 200, within 3 sigma.
    assert deceived <= 20 + 3 * math.sqrt(200 * 0.1 * 0.9)


def test_p_is_exact_where_all_relabelings_can_be_counted() -> None:
    # 3 of 6 can be chosen in 20 ways, and only the true one puts the three highest together.
    chosen = judged([10, 11, 12], [0, 1, 2.5])
    assert chosen.kept[0].test is not None
    assert chosen.kept[0].test.p == pytest.approx(1 / 20)
    # With the highest two swapped between groups, the labelings that do as well are counted by hand below.
    own, others = [5.0, 1.0, 4.0], [3.0, 0.0, 2.0]
    assert result_p(judged(own, others)) == pytest.approx(by_hand(own, others), abs=1e-5)


def result_p(chosen: Selection) -> float:
    (hypothesis,) = [*chosen.kept, *chosen.dropped]
    assert hypothesis.test is not None
    return hypothesis.test.p


def by_hand(own: list[float], others: list[float]) -> float:
    """The share of relabelings whose studentized difference is at least the observed one."""
    from itertools import combinations

    def t(a: list[float], b: list[float]) -> float:
        mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
        var_a = sum((x - mean_a) ** 2 for x in a) / (len(a) - 1)
        var_b = sum((x - mean_b) ** 2 for x in b) / (len(b) - 1)
        return (mean_a - mean_b) / math.sqrt(var_a / len(a) + var_b / len(b))

    everything = own + others
    ways = [set(way) for way in combinations(range(len(everything)), len(own))]
    values = [
        t([everything[i] for i in way], [everything[i] for i in range(len(everything)) if i not in way]) for way in ways
    ]
    return sum(value >= t(own, others) - 1e-9 for value in values) / len(ways)


def test_a_statement_of_the_space_is_turned_to_the_pole_that_fits_and_pays_for_it() -> None:
    chosen = judged([0, 1, 2.5, 1.5], [10, 11, 12, 13], make_hypothesis("warm", "space", opposite="Is cold."))
    (kept,) = chosen.kept
    assert (kept.statement, kept.opposite) == ("Is cold.", "Is warm.")
    assert kept.test is not None
    assert kept.test.gain > 0
    assert kept.test.p == pytest.approx(2 / 70, abs=1e-5)


def test_cells_that_are_all_alike_on_one_side() -> None:
    (kept,) = judged([0.5, 0.25, 0.5], [-0.5] * 6).kept
    assert kept.test is not None
    assert 0 < kept.test.low < kept.test.gain < kept.test.high
    (kept,) = judged([0.5] * 4, [-0.5] * 6).kept
    assert kept.weight == 1.0


def test_a_free_hypothesis_is_never_turned() -> None:
    chosen = judged([0, 1, 2], [10, 11, 12])
    assert chosen.kept == []
    assert chosen.dropped[0].statement == "Is h."
    assert chosen.dropped[0].dropped_because == "fits other people at least as well"


@pytest.mark.parametrize(
    ("own", "others", "reason"),
    [
        ([5, 6], [0, 1, 2], "only 2 of the person's records"),
        ([5, 6, math.nan, math.nan], [0, 1, 2], "only 2 of the person's records"),
        ([5, 6, 7], [0, 1], "only 2 records of other people"),
        ([1, 1, 1], [1, 1, 1], "fits other people at least as well"),
        ([0, 1, 5], [0, 1, 2], "may be chance: the interval"),
    ],
)
def test_what_is_dropped_says_why(own: list[float], others: list[float], reason: str) -> None:
    chosen = judged(own, others)
    assert chosen.kept == []
    assert reason in chosen.dropped[0].dropped_because
    assert chosen.dropped[0].weight == 0


def test_many_candidates_make_a_weak_one_chance() -> None:
    names = [f"h{i}" for i in range(10)]
    own, others = np.tile([[0.0], [1], [2]], 10), np.tile([[0.0], [1], [2]], 10)
    own[:, 0] = [10, 11, 12]
    chosen = select([make_hypothesis(name) for name in names], [matrix(own, others, names)], "ada")
    reasons = {h.id: h.dropped_because for h in chosen.dropped}
    assert reasons["h0"] == "may be chance among so many candidates (q 0.50, needs 0.10)"


def test_what_no_test_has_a_column_for_is_dropped() -> None:
    chosen = select([make_hypothesis("lonely")], [], "ada")
    assert [h.dropped_because for h in chosen.dropped] == ["no test could judge it"]


def test_budgets_keep_the_surest_of_each_kind() -> None:
    rng = np.random.default_rng(3)
    names = ["a", "b", "c", "x", "y"]
    own, others = rng.normal(size=(6, 5)) + 8, rng.normal(size=(6, 5))
    hypotheses = [
        make_hypothesis(name).model_copy(update={"kind": "example" if name in "xy" else "statement"}) for name in names
    ]
    chosen = select(hypotheses, [matrix(own, others, names)], "ada", Rules(max_statements=2, max_examples=1))
    assert sorted(h.kind for h in chosen.kept) == ["example", "statement", "statement"]
    assert sorted(h.dropped_because for h in chosen.dropped) == ["1 surer ones were kept", "2 surer ones were kept"]
    weights = {h.id: h.test.low / h.test.gain for h in [*chosen.kept, *chosen.dropped] if h.test}
    assert min(weights[h.id] for h in chosen.kept if h.kind == "statement") >= max(
        weights[h.id] for h in chosen.dropped if h.kind == "statement"
    )


def test_the_first_matrix_with_a_column_judges() -> None:
    low = matrix(np.zeros((3, 1)), np.ones((3, 1)), ["h"])
    high = matrix(np.array([[9.0], [10], [11]]), np.array([[0.0], [1], [2]]), ["h"])
    assert select([make_hypothesis("h")], [high, low], "ada").kept
    assert not select([make_hypothesis("h")], [low, high], "ada").kept


def test_rules_without_a_spread_are_refused() -> None:
    with pytest.raises(InputError, match="min_records is 1"):
        Rules(min_records=1)


CELLS = st.lists(st.floats(-50, 50) | st.just(math.nan) | st.just(0.0) | st.just(1e-9), min_size=0, max_size=6)


@settings(max_examples=60, deadline=None)
@given(own=CELLS, others=CELLS, source=st.sampled_from(["space", "inferred"]))
@example(own=[0.0, 0.0, 0.0], others=[0.0, 0.0, 1.7e-289], source="space")
@example(own=[0.0, 0.0, 0.0], others=[0.0, 0.0, 1.1e-160], source="space")
def test_any_cells_are_judged(own: list[float], others: list[float], source: str) -> None:
    chosen = judged(own, others, make_hypothesis("h", source), permutations=200)
    (hypothesis,) = [*chosen.kept, *chosen.dropped]
    assert bool(chosen.kept) == (not hypothesis.dropped_because)
    assert Hypothesis.model_validate_json(hypothesis.model_dump_json()) == hypothesis


def test_measured_style_leaves_room_for_the_rest() -> None:
    rng = np.random.default_rng(4)
    hypotheses = [make_hypothesis(f"m{i}", "measured") for i in range(6)] + [make_hypothesis(f"h{i}") for i in range(6)]
    names = [h.id for h in hypotheses]
    cells = matrix(rng.normal(5, 0.1, size=(8, 12)), rng.normal(size=(8, 12)), names)
    chosen = select(hypotheses, [cells], "ada")
    assert len(chosen.kept) == 8
    assert sum(h.source == "measured" for h in chosen.kept) == 4
    assert {h.dropped_because for h in chosen.dropped} == {"4 surer measurements were kept", "8 surer ones were kept"}


def test_examples_are_judged_among_examples() -> None:
    example = make_hypothesis("e").model_copy(update={"kind": "example", "source": "example"})
    noise = [make_hypothesis(f"n{i}") for i in range(30)]
    rng = np.random.default_rng(5)
    shown = matrix(np.array([[3.0], [3.1], [3.2]]), np.array([[0.0], [0.1], [0.3]]), ["e"])
    others = matrix(rng.normal(size=(8, 30)), rng.normal(size=(8, 30)), [h.id for h in noise])
    assert "e" in [h.id for h in select([example, *noise], [shown, others], "ada").kept]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_rates_of_false_discovery_are_scipys(ps: list[float]) -> None:
    assert np.allclose(false_discovery_qs(ps), false_discovery_control(ps), rtol=1e-12, atol=0)


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1])
def test_what_is_no_probability_has_no_rate(wrong: float) -> None:
    with pytest.raises(ValueError, match="no probabilities"):
        false_discovery_qs([0.5, wrong])
