"""Scopes are found where choices turn with the subject, and under random choices no oftener than anything else."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.programs.selection import Rules, Selection, select
from hyperalign.programs.selection.effects import interaction_p
from hyperalign.scores import Row, ScoreMatrix

from ..toys import make_hypothesis
from .simulated_people import MIXING, SPACE, draw_cells, draw_others

NAMES = [hypothesis.id for hypothesis in SPACE]

HALF = {"letter": {f"r{i}" for i in range(8)}}
WAY = np.array([2.0, 0, 0, 0, 0])


def selected(
    own: NDArray[np.float64],
    others: list[NDArray[np.float64]],
    subjects: Mapping[str, Collection[str]] | None = None,
    *,
    hypotheses: list[Hypothesis] | None = None,
    rules: Rules | None = None,
) -> Selection:
    rows = [Row(f"r{i}", "ada", True) for i in range(len(own))]
    rows += [Row(f"o{n}-{i}", f"p{n}", True) for n, cells in enumerate(others) for i in range(len(cells))]
    hypotheses = hypotheses or SPACE
    columns = tuple(hypothesis.id for hypothesis in hypotheses)
    matrix = ScoreMatrix("likelihood", "m@1", tuple(rows), columns, np.vstack([own, *others]))
    return select(hypotheses, [matrix], "ada", rules, subjects)


def turning(
    rng: np.random.Generator, way: NDArray[np.float64], inside: int = 8, outside: int = 8
) -> NDArray[np.float64]:
    """Choices that point one way on the first of them, and the other way on the rest."""
    return np.vstack([draw_cells(rng, inside, way), draw_cells(rng, outside, -way)])


def drawn(rng: np.random.Generator, count: int) -> dict[str, set[str]]:
    """Four subjects, each on some of the choices."""
    sizes = rng.integers(4, count - 3, size=4)
    return {f"s{n}": {f"r{i}" for i in rng.choice(count, size, replace=False)} for n, size in enumerate(sizes)}


def test_what_turns_with_the_subject_is_kept_for_it() -> None:
    rng = np.random.default_rng(1)
    own, others = turning(rng, WAY), draw_others(rng)
    assert not selected(own, others).kept, "on all choices together nothing holds"
    chosen = selected(own, others, HALF)
    assert 1 <= len(chosen.kept) <= 2
    for hypothesis in chosen.kept:
        leans = (WAY @ MIXING)[NAMES.index(hypothesis.id)] > 0
        assert hypothesis.statement == (f"Is {hypothesis.id}." if leans else f"Is not {hypothesis.id}.")
        assert hypothesis.scope == "letter"
        assert hypothesis.test is not None
        assert hypothesis.test.records == [f"r{i}" for i in range(8)]
    assert len(chosen.kept) + len(chosen.dropped) == 24, "each is kept or dropped, once"


def test_looking_for_scopes_deceives_nobody() -> None:
    rng = np.random.default_rng(2)
    deceived = scoped = 0
    for _ in range(300):
        own = draw_cells(rng, 16, rng.normal(size=5)) * rng.choice([-1.0, 1.0], size=(16, 1))
        kept = selected(own, draw_others(rng), drawn(rng, 16)).kept
        deceived += bool(kept)
        scoped += any(hypothesis.scope for hypothesis in kept)
    assert deceived / 300 <= 0.07, "one in twenty, and the noise of 300 draws"
    assert scoped / 300 <= 0.03, "a fifth of that, and its noise"


def test_with_choices_enough_most_scopes_are_found_and_few_others() -> None:
    rng = np.random.default_rng(3)
    found = astray = right = 0
    for _ in range(60):
        way = rng.normal(size=5)
        kept = selected(turning(rng, way), draw_others(rng), HALF | drawn(rng, 16)).kept
        on_half = [h for h in kept if h.scope == "letter"]
        found += bool(on_half)
        right += sum(((way @ MIXING)[NAMES.index(h.id)] > 0) == (h.statement == f"Is {h.id}.") for h in on_half)
        astray += len(kept) - len(on_half)
    assert found / 60 > 0.7
    assert right / (2 * found) > 0.9
    assert astray / 60 < 0.1


def test_what_holds_for_everything_has_no_scope() -> None:
    rng = np.random.default_rng(4)
    kept = [h for _ in range(40) for h in selected(draw_cells(rng, 16, WAY), draw_others(rng), HALF).kept]
    assert len(kept) > 40
    assert not [hypothesis.scope for hypothesis in kept if hypothesis.scope]


@pytest.mark.parametrize(("inside", "outside"), [(3, 13), (13, 3), (4, 3), (16, 0)])
def test_a_subject_needs_four_choices_on_either_side(inside: int, outside: int) -> None:
    rng = np.random.default_rng(5)
    own, others = turning(rng, 3 * WAY, inside, outside), draw_others(rng)
    on = {"letter": {f"r{i}" for i in range(inside)}}
    assert selected(own, others, on) == selected(own, others), "and where there is none to look at, nothing is paid"


def test_only_statements_that_saw_all_choices_are_looked_at_again() -> None:
    rng = np.random.default_rng(6)
    free = [make_hypothesis(name, opposite=f"Is not {name}.") for name in NAMES]
    assert not selected(turning(rng, 3 * WAY), draw_others(rng), HALF, hypotheses=free).kept


def test_what_everybody_prefers_on_a_subject_says_nothing_of_a_person() -> None:
    rng = np.random.default_rng(7)
    alike = alone = 0
    for _ in range(30):
        own = turning(rng, WAY)
        on = {"letter": HALF["letter"] | {f"o{n}-{i}" for n in range(4) for i in range(4)}}
        same = [np.vstack([draw_cells(rng, 4, WAY), draw_cells(rng, 4, -WAY)]) for _ in range(4)]
        alike += bool(selected(own, same, on).kept)
        alone += bool(selected(own, draw_others(rng, 16), HALF).kept)
    assert alike < 0.5 * alone


def test_the_share_that_is_spent_can_be_chosen() -> None:
    rng = np.random.default_rng(8)
    own, others = turning(rng, WAY), draw_others(rng)
    assert not selected(own, others, HALF, rules=Rules(scope_share=0.0)).kept
    assert not selected(own, others, HALF, rules=Rules(max_scoped=0)).kept


def test_random_choices_set_a_subject_apart_as_often_as_p_says() -> None:
    rng = np.random.default_rng(9)
    inside = np.array([[True] * 4 + [False] * 6, [True, False] * 5])
    ps = []
    for _ in range(400):
        cells = draw_cells(rng, 10, WAY) * rng.choice([-1.0, 1.0], size=(10, 1))
        ps.append(interaction_p(cells, inside).min())
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(ps) <= level) == pytest.approx(level, abs=0.06)
    assert (interaction_p(np.zeros((10, 2)), inside) == 1.0).all()
