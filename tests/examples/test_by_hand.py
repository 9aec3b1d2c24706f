"""The worked example: its page shows what the program prints, and its prose says what happens."""

from __future__ import annotations

import re
from types import ModuleType

import numpy as np
import pytest

from hyperalign.programs.selection import Rules
from hyperalign.programs.selection.effects import permutation_p

from .test_examples import EXAMPLES, loaded

PAGE = EXAMPLES.parent / "docs" / "worked-example.md"


@pytest.fixture
def by_hand() -> ModuleType:
    return loaded("by_hand")


def shown(page: str) -> list[str]:
    """The lines of a page that the program must have printed: tables and sums."""
    sums = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [line for line in page.splitlines() if line.startswith("|") or any(line in each for each in sums if line)]


def outcomes(example: ModuleType) -> dict[str, str]:
    chosen = example.selection()
    return {h.id: h.dropped_because for h in [*chosen.kept, *chosen.dropped]}


def test_the_page_shows_what_the_program_prints(by_hand: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    by_hand.main()
    titles = {name for name, _ in by_hand.steps()}
    printed = [line for line in capsys.readouterr().out.splitlines() if line and line not in titles]
    assert len(printed) > 60
    assert shown(PAGE.read_text(encoding="utf-8")) == printed


def test_what_is_shown_on_the_way_is_what_selection_did(by_hand: ModuleType) -> None:
    steps = dict(by_hand.steps())
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in steps["Do the choices point one way?"]]
    lengths = [float(row[1]) for row in table[2:-1]]
    own, others = by_hand.own_and_others()
    scale = by_hand.estimate_effects(own, others, Rules().prior).scale
    assert np.mean([length >= lengths[0] for length in lengths]) == permutation_p(own / scale)
    (alone,) = [line for line in steps["Shrinkage"] if line.startswith("| high pole, alone")]
    assert alone.split("|")[2].strip() == steps["By hand: shrinkage of warm"][-1].split(" = ")[-1]
    (gain,) = [line for line in steps["Scale and gain"] if line.startswith("| gain in scales")]
    assert gain.split("|")[2].strip() == "+" + steps["By hand: scale and gain of warm"][-1].split(" = ")[-1]


def test_the_five_end_as_the_page_says(by_hand: ModuleType) -> None:
    assert outcomes(by_hand) == {
        "warm": "",
        "brief": "",
        "cheering": "says much the same as 'Warm and friendly.'",
        "plain": "may be chance: wrong in 48% of such cases",
        "images": "only 2 of the person's choices could test it (needs 3)",
    }
    assert [h.statement for h in by_hand.selection().kept] == ["Warm and friendly.", "Thorough."]


def test_what_everybody_likes_goes(by_hand: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = by_hand.CELLS.copy()
    cells[4:, 0] = [2.4, 2.6, 2.2, 2.9, 2.4, 2.5]
    cells[4:, 1] = [3.1, 3.6, 3.4, 2.7, 3.6, 3.3]
    monkeypatch.setattr(by_hand, "CELLS", cells)
    assert by_hand.selection().kept == []


def test_choices_that_were_exchanged_point_less_one_way(by_hand: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = by_hand.CELLS.copy()
    cells[1:3] *= -1
    monkeypatch.setattr(by_hand, "CELLS", cells)
    assert dict(by_hand.steps())["Do the choices point one way?"][-1] == "| **p** | **0.750** | **0.750** |"
    assert by_hand.selection().kept == []


def test_surer_statements_carry_no_weak_one(by_hand: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = by_hand.CELLS.copy()
    cells[1:3, 2] = [-4.4, -2.9]
    monkeypatch.setattr(by_hand, "CELLS", cells)
    chosen = by_hand.selection()
    (weak,) = [h for h in chosen.dropped if h.id == "plain"]
    assert weak.test is not None
    assert weak.test.q == pytest.approx(0.29, abs=0.005)
    assert weak.test.q < Rules().sign_error_rate
    assert weak.test.p > Rules().max_sign_error
    assert weak.dropped_because.startswith("may be chance")
