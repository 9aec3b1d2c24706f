"""Selection among the records of a long history: in memory that grows with the records, not with their square."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from hyperalign.programs.selection import Rules, select
from hyperalign.programs.selection.effects import interaction_p, permutation_p
from hyperalign.programs.selection.samples import permutation_ps
from hyperalign.scores import welch_t

from .simulated_people import FACTORS, SPACE, USER, Person, as_matrix, draw_cells, draw_others

MANY = 4_000


@pytest.mark.parametrize(("own", "others"), [(6, 4), (4, 6), (40, 6), (6, 40), (20, 20)])
def test_p_is_that_of_scipy_s_permutation_test(own: int, others: int) -> None:
    rng = np.random.default_rng(own)
    cells = np.round(rng.normal(size=(3, own + others)), 1)
    cells[:, :own] += np.array([0.0, 0.4, 0.8])[:, None]
    rules = Rules(permutations=999)
    expected = stats.permutation_test(
        (cells[:, :own], cells[:, own:]),
        welch_t,
        vectorized=True,
        n_resamples=999,
        axis=-1,
        alternative="greater",
        rng=np.random.default_rng(rules.seed),
    )
    assert permutation_ps(cells, own, rules) == pytest.approx(expected.pvalue, abs=1e-9)


@pytest.mark.parametrize("paired", [True, False], ids=["choices", "texts"])
def test_thousands_of_records_are_judged_in_little_memory(paired: bool) -> None:
    rng = np.random.default_rng(0)
    person = Person(draw_cells(rng, MANY, np.full(FACTORS, 1.5)), draw_others(rng, spread=0.0))
    matrix = as_matrix(person, paired=paired)
    subjects = {f"every {step}th": {f"r{at}" for at in range(0, MANY, step)} for step in (3, 5, 7)}
    tracemalloc.start()
    chosen = select(SPACE, [matrix], USER, Rules(permutations=999), subjects)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert chosen.kept
    # One number for each two choices would be 128 MB.
    assert peak < 60e6


def test_many_choices_have_the_p_of_all_their_exchanges_at_once() -> None:
    rng = np.random.default_rng(1)
    cells = rng.normal(size=(30, 4)) + 0.1
    cells[3, 2] = np.nan
    known = np.nan_to_num(cells)
    flips = np.random.default_rng(5).choice((1.0, -1.0), size=(2_000, 30))
    flips[0] = 1.0
    lengths = ((flips @ known) ** 2).sum(axis=1)
    assert permutation_p(cells, seed=5) == np.mean(lengths >= lengths[0] - 1e-9)
    inside = np.arange(30) < 12
    share = inside / 12 - ~inside / 18
    apart = ((flips * share @ known) ** 2).sum(axis=1)
    assert interaction_p(cells, inside[None], seed=5).tolist() == [np.mean(apart >= apart[0] - 1e-9)]
