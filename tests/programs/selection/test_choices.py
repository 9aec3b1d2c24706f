"""Selection from choices: effects are found, random choices are not, and redundant statements are dropped."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperalign.profile import Hypothesis
from hyperalign.programs.selection import Rules, Selection, select
from hyperalign.programs.selection.effects import Prior, any_permutation_p, estimate_effects, permutation_p

from ..toys import make_hypothesis
from .simulated_people import MIXING, SPACE, USER, Cells, Person, as_matrix, draw_cells, draw_others

NAMES = [h.id for h in SPACE]


def selected(
    own: Cells, others: list[Cells], hypotheses: list[Hypothesis] | None = None, rules: Rules | None = None
) -> Selection:
    hypotheses = hypotheses or SPACE
    return select(hypotheses, [as_matrix(Person(own, others), hypotheses, paired=True)], USER, rules)


def test_the_way_that_choices_point_is_found_and_its_opposite_is_turned() -> None:
    rng = np.random.default_rng(1)
    leaning = np.array([3.0, 0, 0, 0, 0])
    chosen = selected(draw_cells(rng, 8, leaning), draw_others(rng))
    assert 1 <= len(chosen.kept) <= Rules().max_chosen == 8
    truth = dict(zip(NAMES, leaning @ MIXING, strict=True))
    right = [(h.statement == f"Is {h.id}.") == (truth[h.id] > 0) for h in chosen.kept]
    assert sum(right) >= len(right) - 1, "three in ten may be wrong"
    for hypothesis in chosen.kept:
        high = hypothesis.statement == f"Is {hypothesis.id}."
        assert high or hypothesis.statement == f"Is not {hypothesis.id}."
        assert (chosen.direction[hypothesis.id] > 0.5) == high
        assert hypothesis.test is not None
        assert hypothesis.test.gain > 0
        assert hypothesis.test.records == [f"r{i}" for i in range(8)]
        assert hypothesis.test.reference_records == 12
        assert 0 < hypothesis.weight <= 1
    assert len(chosen.kept) + len(chosen.dropped) == 24
    assert all(h.dropped_because for h in chosen.dropped)


def test_what_everybody_prefers_says_nothing_of_a_person() -> None:
    rng = np.random.default_rng(4)
    common = np.array([2.0, 0, 0, 0, 0])
    kept = [
        len(selected(draw_cells(rng, 8, common), [draw_cells(rng, 8, common) for _ in range(8)]).kept)
        for _ in range(40)
    ]
    alone = [len(selected(draw_cells(rng, 8, common), draw_others(rng, 8)).kept) for _ in range(40)]
    assert np.mean(kept) < 0.5 * np.mean(alone)


def test_a_statement_that_says_the_same_is_said_once() -> None:
    rng = np.random.default_rng(5)
    own, others = draw_cells(rng, 8, np.array([3.0, 0, 0, 0, 0])), draw_others(rng)
    telling = int(np.abs(MIXING[0]).argmax())
    twice = [cells[:, [telling, telling]] for cells in (own, *others)]
    chosen = selected(twice[0], twice[1:], [SPACE[0], SPACE[1]])
    assert len(chosen.kept) == 1
    assert chosen.dropped[0].dropped_because == f"says much the same as '{chosen.kept[0].statement}'"


def test_too_few_choices_and_nobody_else_are_said() -> None:
    rng = np.random.default_rng(6)
    assert "only 2 of the person's choices" in selected(draw_cells(rng, 2), draw_others(rng)).dropped[0].dropped_because
    assert "only 0 choices of other people" in selected(draw_cells(rng, 8), []).dropped[0].dropped_because


def test_a_hypothesis_is_not_judged_by_the_choices_that_it_was_made_from() -> None:
    rng = np.random.default_rng(7)
    own = draw_cells(rng, 8, np.array([3.0, 0, 0, 0, 0]))
    own[::2, 0] = np.nan
    free = [make_hypothesis("h0"), *SPACE[1:]]
    chosen = selected(own, draw_others(rng), free)
    (tested,) = [h for h in [*chosen.kept, *chosen.dropped] if h.id == "h0"]
    assert tested.test is not None
    assert tested.test.records == ["r1", "r3", "r5", "r7"]
    assert "h0" not in chosen.direction, "only the space has directions"


def test_random_choices_pass_no_oftener_where_half_of_them_made_the_statements() -> None:
    rng = np.random.default_rng(13)
    found = 0
    for _ in range(200):
        # Sixteen random choices, half of which are left to test what the other half made.
        own = draw_cells(rng, 16) * rng.choice([-1.0, 1.0], size=(16, 1))
        own[::2] = np.nan
        free = [make_hypothesis(f"h{i}") for i in range(own.shape[1])]
        found += bool(selected(own, draw_others(rng), free, Rules(permutations=999)).kept)
    assert found <= 0.1 * 200, "one in twenty, as with sixteen choices that test"


def test_what_half_the_choices_show_plainly_needs_nothing_of_statements_on_random_choices() -> None:
    rng = np.random.default_rng(12)
    # Every second choice agrees with itself, for two free statements; the space, on all of them, sees random choices.
    own = np.hstack([draw_cells(rng, 16) * rng.choice([-1.0, 1.0], size=(16, 1)), np.full((16, 2), 3.0)])
    own[::2, -2:] = np.nan
    others = [np.hstack([cells, rng.normal(size=(2, 2))]) for cells in draw_others(rng)]
    chosen = selected(own, others, [*SPACE, make_hypothesis("free"), make_hypothesis("other")])
    assert [h.id for h in chosen.kept] == ["free", "other"]
    assert any("do not point one way" in h.dropped_because for h in chosen.dropped)


def test_the_clearest_of_several_groups_is_as_rare_as_its_p_says() -> None:
    rng = np.random.default_rng(15)
    ps = np.array(
        [
            any_permutation_p([[rng.normal(size=(10, 4))], [rng.normal(size=(10, 1))], [np.zeros((10, 2))]])
            for _ in range(400)
        ]
    )
    for level in (0.05, 0.2, 0.5):
        assert np.mean(ps <= level) == pytest.approx(level, abs=0.06)
    agreeing = np.ones((8, 2))
    assert any_permutation_p([[agreeing]]) == permutation_p(agreeing) == 1 / 128
    assert any_permutation_p([[agreeing], [np.zeros((8, 3))]]) == 1 / 128, "what says nothing costs nothing"
    assert any_permutation_p([]) == 1.0


def test_effects_are_shrunken_and_more_so_with_less_to_go_on() -> None:
    rng = np.random.default_rng(8)
    own, others = draw_cells(rng, 16, np.ones(5)), draw_others(rng)
    few, many = estimate_effects(own[:4], others, Prior()), estimate_effects(own, others, Prior())
    assert (few.spread > many.spread).all()
    assert np.linalg.norm(few.mean) < np.linalg.norm(few.raw)
    nothing = estimate_effects(np.zeros((4, 3)), [np.zeros((2, 3))], Prior())
    assert np.isfinite(nothing.positive).all()
    assert nothing.positive == pytest.approx(0.5)


def test_random_choices_agree_as_often_as_p_says() -> None:
    rng = np.random.default_rng(9)
    ps = np.array([permutation_p(draw_cells(rng, 8) * rng.choice([-1.0, 1.0], size=(8, 1))) for _ in range(400)])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(ps <= level) == pytest.approx(level, abs=0.06)
    assert permutation_p(np.ones((4, 2))) == 1 / 8, "four that agree: one of eight ways to exchange them"
    assert permutation_p(np.zeros((4, 2))) == 1.0
    assert permutation_p(np.ones((30, 2))) < 0.01


CELL = st.floats(-50, 50) | st.just(0.0) | st.just(1e-300)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_choices_are_judged(data: st.DataObject) -> None:
    count, width = data.draw(st.integers(0, 6)), data.draw(st.integers(1, 4))
    shape = list(itertools.product(range(count), range(width)))
    own = np.array([data.draw(CELL) for _ in shape]).reshape(count, width)
    other = np.array([data.draw(CELL) for _ in shape]).reshape(count, width)
    chosen = selected(own, [other], SPACE[:width])
    for hypothesis in [*chosen.kept, *chosen.dropped]:
        assert Hypothesis.model_validate_json(hypothesis.model_dump_json()) == hypothesis
    assert len(chosen.kept) + len(chosen.dropped) == width
