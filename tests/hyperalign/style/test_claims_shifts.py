"""What corrections have in common: only what every one of them moved, in words about drafts."""

from __future__ import annotations

from hyperalign.style import FEATURES, find_shifts
from hyperalign.style.claims import load_statements, say

LOUD = "Come on Friday! Bring the boat! We will sail at noon! The wind is good!"
CALM = "Come on Friday. Bring the boat. We will sail at noon. The wind is good."


def test_what_every_edit_moves_one_way_is_claimed() -> None:
    found = {claim.feature: claim for claim in find_shifts([(LOUD, CALM), (LOUD + LOUD, CALM + CALM), (LOUD, CALM)])}
    assert set(found) == {"exclamations"}
    claim = found["exclamations"]
    assert claim.direction == -1
    assert claim.z < 0
    assert claim.value == 0
    assert claim.interval[0] <= claim.value <= claim.interval[1] < claim.usual
    assert claim.holds(CALM) > 0 > claim.holds(LOUD * 3) or claim.holds(CALM) > claim.holds(LOUD)
    assert "most people" not in claim.statement + claim.opposite
    assert claim.opposite == "Uses exclamation marks."


def test_what_one_edit_moves_the_other_way_is_not() -> None:
    assert find_shifts([(LOUD, CALM), (LOUD, CALM), (CALM, LOUD)]) == []
    assert find_shifts([(LOUD, CALM), (CALM, CALM)]) == [], "an edit that leaves it alone is no support"


def test_one_edit_shows_nothing_and_empty_sides_are_passed_over() -> None:
    assert find_shifts([(LOUD, CALM)]) == []
    assert find_shifts([(LOUD, CALM), ("!!!", CALM), (LOUD, " ")]) == []
    assert find_shifts([]) == []


def test_a_small_shift_is_not_worth_a_claim_and_a_limit_holds() -> None:
    edits = [(LOUD, CALM), (LOUD, CALM)]
    assert find_shifts(edits, least=1e6) == []
    assert find_shifts(edits, limit=0) == []


def test_every_feature_can_be_said_of_drafts() -> None:
    for name in FEATURES:
        for direction in (1, -1):
            said = say(name, direction, 0.9, 0.1, than="the drafts")
            assert "most people" not in said
            assert "drafts's" not in said
            if "{usual}" in load_statements()[name]["high" if direction > 0 else "low"] and ":" in said:
                assert "the drafts" in said
