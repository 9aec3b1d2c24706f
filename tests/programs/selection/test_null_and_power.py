"""Under random choices hardly anything is kept, and more records and larger effects show more people."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hyperalign.programs.selection import Rules, select

from .simulated_people import (
    SPACE,
    USER,
    Outcomes,
    Person,
    as_matrix,
    draw_cells,
    draw_others,
    simulate_null,
    simulate_null_of_groups,
    simulate_null_of_matrix,
    simulate_power,
)

ROOT = Path(__file__).resolve().parents[3]


def at_most(rate: float, outcomes: Outcomes) -> bool:
    """Whether a rate of at most that much may have given it: the interval's lower end is not above it."""
    return outcomes.share[1] <= rate


@pytest.mark.parametrize(("count", "people"), [(16, 300), (32, 100)])
def test_of_random_choices_hardly_anything_is_kept(count: int, people: int) -> None:
    assert at_most(0.05, simulate_null(count, people, paired=True))


@pytest.mark.parametrize("taste", [0.0, 1.5])
def test_random_choices_pass_no_oftener_by_several_groups_of_statements(taste: float) -> None:
    # One in six passed, when each of four groups had a gate of its own: 150 people show that in 99 of 100 runs.
    assert at_most(0.05, simulate_null_of_groups(16, 150, taste=taste))


def test_with_few_choices_the_stated_share_of_random_choices_passes_and_no_more() -> None:
    # One in twenty of eight choices, one in five of four (Rules.null_alpha_for).
    assert at_most(0.05, simulate_null(8, 300, paired=True))
    assert at_most(0.2, simulate_null(4, 300, paired=True))


def test_of_texts_of_random_people_hardly_anything_is_kept() -> None:
    # Where all is null, the false-discovery rate is the chance that anything is kept.
    assert at_most(0.1, simulate_null(16, 60, paired=False))


def test_rows_of_a_matrix_from_a_file_are_judged_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    # A person whose choices would pass at once, were they not exchanged at random.
    person = Person(draw_cells(rng, 16, np.array([2.0, 0, 0, 0, 0])), draw_others(rng))
    matrix = as_matrix(person, paired=True)
    assert select(SPACE, [matrix], USER).kept
    assert at_most(0.05, simulate_null_of_matrix(matrix, 16, 60))
    values = matrix.values.copy()
    values[0, 1:] = np.nan
    path = tmp_path / "matrix-likelihood.json"
    path.write_text(replace(matrix, values=values).to_json())
    command = [sys.executable, "-m", "benches.null_and_power", "--matrix", str(path), "--null", "20"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    # One statement has no gaps, and 28 rows are too few for 32 choices and those of other people.
    assert printed[0] == "| something is kept, by choices (28 rows, 1 statement) | people | 4 | 8 | 16 |"
    assert printed[2].startswith("| random choices | 20 | ")


def test_more_choices_and_larger_effects_show_more_people() -> None:
    seen = {(size, count): simulate_power(size, count, 60, paired=True) for size in (0.5, 1.0) for count in (16, 32)}
    share = {key: outcomes.share[0] for key, outcomes in seen.items()}
    # By a tenth at least, which is more than one draw of people differs from another by as a rule.
    assert share[0.5, 16] + 0.1 < share[0.5, 32]
    assert share[1.0, 16] + 0.1 < share[1.0, 32]
    assert share[0.5, 16] + 0.1 < share[1.0, 16]
    assert share[0.5, 32] + 0.1 < share[1.0, 32]
    assert share[1.0, 32] > 0.8
    assert all(outcomes.wrong[0] <= Rules().sign_error_rate for outcomes in seen.values())


def test_of_people_as_selection_assumes_them_no_more_signs_are_wrong_than_it_states() -> None:
    outcomes = simulate_power(None, 4, 100, paired=True)
    assert outcomes.wrong[1] <= outcomes.stated <= Rules().sign_error_rate


def test_more_texts_show_more_people() -> None:
    few, many = (simulate_power(1.0, count, 20, paired=False) for count in (4, 32))
    assert few.share[0] + 0.1 < many.share[0]
    assert many.wrong[0] <= 0.1
