"""Choices as examples: all but the odd one out are shown, and none where no statement is kept."""

from __future__ import annotations

import numpy as np

from hyperalign.profile import Evidence, Hypothesis
from hyperalign.programs.selection import Rules, Selection, select
from hyperalign.programs.selection.effects import Prior
from hyperalign.programs.selection.samples import leave_one_out

from .simulated_people import SPACE, USER, Cells, Person, as_matrix, draw_cells, draw_others

LEANING = np.array([3.0, 0, 0, 0, 0])


def shown(count: int) -> list[Hypothesis]:
    return [
        Hypothesis(
            id=f"example-r{i}",
            statement=f"Answer {i}.",
            aspect="style",
            kind="example",
            source="example",
            evidence=[Evidence(quote="Answer", record=f"r{i}")],
        )
        for i in range(count)
    ]


def selected(own: Cells, others: list[Cells], rules: Rules | None = None) -> Selection:
    matrix = as_matrix(Person(own, others), SPACE, paired=True)
    return select([*SPACE, *shown(len(own))], [matrix], USER, rules)


def examples(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    return [hypothesis for hypothesis in hypotheses if hypothesis.kind == "example"]


def test_the_odd_one_out_is_not_shown() -> None:
    rng = np.random.default_rng(1)
    refused: list[list[str]] = []
    for _ in range(30):
        own = draw_cells(rng, 8, LEANING)
        own[5] *= -1
        refused.append(
            [h.id for h in examples(selected(own, draw_others(rng), Rules(max_examples=8, null_alpha=1.0)).dropped)]
        )
    odd = np.mean(["example-r5" in ids for ids in refused])
    rest = np.mean([len(set(ids) - {"example-r5"}) / 7 for ids in refused])
    assert odd > 0.5
    assert rest < 0.02


def test_the_best_borne_out_come_first_and_say_what_bears_them_out() -> None:
    rng = np.random.default_rng(2)
    chosen = selected(draw_cells(rng, 8, LEANING), draw_others(rng))
    kept = examples(chosen.kept)
    assert len(kept) == Rules().max_examples == 4
    assert [h.test.p for h in kept if h.test] == sorted(h.test.p for h in kept if h.test)
    for example in kept:
        assert example.test is not None
        assert example.test.p <= Rules().odd_one_out
        assert example.evidence[0].record not in example.test.records, "a choice does not bear itself out"
        assert len(example.test.records) == 7
    assert "4 surer ones were kept" in {h.dropped_because for h in examples(chosen.dropped)}


def test_examples_give_random_choices_no_profile() -> None:
    rng = np.random.default_rng(3)
    empty = 0
    for _ in range(40):
        chosen = selected(draw_cells(rng, 16), draw_others(rng))
        if not any(h.kind == "statement" for h in chosen.kept):
            empty += 1
            assert chosen.kept == []
            assert {h.dropped_because for h in examples(chosen.dropped)} == {
                "nothing that the choices say was kept for all prompts"
            }
    assert empty >= 34


def test_three_choices_are_too_few_to_bear_each_other_out() -> None:
    rng = np.random.default_rng(4)
    chosen = selected(np.abs(draw_cells(rng, 3, LEANING)), draw_others(rng), Rules(null_alpha=1.0))
    assert any(h.kind == "statement" for h in chosen.kept)
    (reason,) = {h.dropped_because for h in examples(chosen.dropped)}
    assert reason == "only 2 of the person's other choices could test it (needs 3)"


def test_exchanging_an_answer_with_the_other_exchanges_what_speaks_for_it() -> None:
    rng = np.random.default_rng(5)
    own, others = draw_cells(rng, 6, LEANING), draw_others(rng)
    turned = own.copy()
    turned[2] *= -1
    gain, spread = leave_one_out(own, others, 2, Prior())
    other_gain, other_spread = leave_one_out(turned, others, 2, Prior())
    assert np.isclose(gain, -other_gain)
    assert np.isclose(spread, other_spread)
