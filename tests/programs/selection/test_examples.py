"""Raw examples: kept as examples mostly help, dropped where the person's own texts speak against them."""

from __future__ import annotations

import numpy as np
import pytest

from hyperalign.profile import Hypothesis
from hyperalign.programs.selection import Rules, select
from hyperalign.programs.selection.rules import ExamplePrior
from hyperalign.programs.selection.samples import no_gain_probability
from hyperalign.scores import Row, ScoreMatrix

PRIOR = ExamplePrior()
EXAMPLE = Hypothesis(id="example-a", statement="My own words.", aspect="style", kind="example", source="example")


def told(own: list[float], others: list[float]) -> float:
    return no_gain_probability(np.array(own), np.array(others), PRIOR)


def test_without_much_evidence_an_example_is_what_examples_are() -> None:
    undecided = told([0.35, 0.0, 0.7], [0.0, -0.3, 0.3])
    assert 0.01 < undecided < 0.15
    assert told([1.2, 1.0, 1.1], [0.0, 0.1, -0.1]) < undecided < told([-0.6, -0.5, -0.7], [0.2, 0.1, 0.3])


def test_more_texts_against_it_outweigh_what_is_usual() -> None:
    few, many = (told([-0.05, 0.15] * count, [0.1, 0.2] * count) for count in (1, 8))
    assert few < Rules().no_gain < 0.5 < many


def test_noisy_cells_say_less() -> None:
    calm, noisy = told([-0.3, -0.3, -0.3], [0.1, 0.1, 0.1]), told([-3.0, 0.0, 2.1], [-2.0, 0.1, 2.2])
    assert noisy < calm


@pytest.mark.parametrize(("shift", "kept"), [(0.3, True), (-0.9, False)])
def test_selection_keeps_or_drops_it_with_its_reason(shift: float, kept: bool) -> None:
    rows = tuple(Row(f"r{i}", "ada" if i < 3 else "bob") for i in range(6))
    cells = np.array([[0.1 + shift], [0.0 + shift], [-0.1 + shift], [0.1], [0.0], [-0.1]])
    chosen = select([EXAMPLE], [ScoreMatrix("example", "m", rows, (EXAMPLE.id,), cells)], "ada")
    (judged,) = [*chosen.kept, *chosen.dropped]
    assert bool(chosen.kept) == kept
    assert judged.test is not None
    assert judged.test.gain == pytest.approx(shift, abs=1e-4)
    assert judged.weight == (pytest.approx(1 - 2 * judged.test.p, abs=1e-4) if kept else 0.0)
    assert judged.dropped_because.startswith("" if kept else "may add nothing: so in ")
