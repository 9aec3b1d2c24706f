"""What people decide about their profile: set, flipped, forgotten, and carried over to the next fit."""

from __future__ import annotations

import pytest

from hyperalign.edits import carry_over, flip, forget_hypothesis, forget_record, set_leaning, silence
from hyperalign.errors import InputError, NotFoundError
from hyperalign.profile import Evidence, Hypothesis, Profile, Provenance, TestResult
from hyperalign.records import Pair, Record, Sample
from hyperalign.space import load_space

LETTER = Sample(
    user="ada", id="r1", text="Dear you, the plums came early and I have boiled eleven pots of jam, oh dear!"
)
NOTE = Sample(
    user="ada", id="r2", text="Dear all, come in October; bring the small ones, and bring time, oh please do!"
)
CHOICE = Pair(user="ada", id="r3", prompt="Soup?", chosen="A warm bowl, with love.", rejected="Heat stock. Add salt.")
RECORDS: list[Record] = [LETTER, NOTE, CHOICE]


def passed(*records: str) -> TestResult:
    return TestResult(
        test="likelihood", gain=2, low=1, high=3, p=0.01, q=0.05, records=list(records), reference_records=6, scorer="m"
    )


def hypothesis(name: str, statement: str, quoted: tuple[str, ...], on: tuple[str, ...], **more: object) -> Hypothesis:
    evidence = [Evidence(quote="oh", record=record) for record in quoted]
    given = {"id": name, "statement": statement, "opposite": "The reverse.", "aspect": "style", "weight": 0.6}
    return Hypothesis.model_validate({**given, "evidence": evidence, "test": passed(*on) if on else None, **more})


WARM = hypothesis("space-warm", "Warm and friendly.", ("r1", "r2"), ("r1", "r2"), source="space")
PLUMS = hypothesis("free-1", "Tells that the plums came early and jam was boiled.", ("r1",), ("r2",))
ALONE = hypothesis("free-2", "Likes fruit.", ("r1",), ("r1",))
PROFILE = Profile(
    user="ada",
    hypotheses=[WARM, PLUMS, ALONE],
    dropped=[hypothesis("free-3", "Hurries.", ("r1",), ())],
    examples=[LETTER],
    direction={"warm": 0.9, "brief": 0.3},
    provenance=Provenance(records=["r1", "r2", "r3"]),
)


def test_a_leaning_is_what_the_person_says() -> None:
    said = set_leaning(PROFILE, "brief", 0.95)
    (first, *others) = said.hypotheses
    assert (first.id, first.source, first.weight) == ("space-brief", "stated", 0.9)
    poles = {each.name: each for each in load_space().dimensions}["brief"]
    assert (first.statement, first.opposite) == (poles.high, poles.low)
    assert said.direction == {"warm": 0.9, "brief": 0.95}
    assert others == PROFILE.hypotheses
    assert set_leaning(said, "brief", 0.1).hypotheses[0].statement == poles.low
    assert "space-brief" not in {each.id for each in set_leaning(said, "brief", 0.5).hypotheses}
    with pytest.raises(InputError, match="no dimension 'breif'") as error:
        set_leaning(PROFILE, "breif", 0.9)
    assert "brief" in error.value.remedy
    with pytest.raises(InputError, match="no probability"):
        set_leaning(PROFILE, "warm", 1.5)


def test_flipping_turns_around_and_back() -> None:
    turned = flip(PROFILE, "warm")
    (found,) = [each for each in turned.hypotheses if each.id == "space-warm"]
    assert turned.direction["warm"] == pytest.approx(0.1)
    low = {each.name: each for each in load_space().dimensions}["warm"].low
    assert (found.statement, found.weight) == (low, 0.8)
    assert flip(turned, "warm").direction["warm"] == pytest.approx(0.9)
    free = next(each for each in flip(PROFILE, "free-2").hypotheses if each.id == "free-2")
    assert (free.statement, free.opposite, free.source) == ("The reverse.", "Likes fruit.", "stated")
    assert not free.evidence[0].supports
    with pytest.raises(NotFoundError, match="says nothing of 'grateful'"):
        flip(PROFILE, "grateful")
    plain = PROFILE.model_copy(update={"hypotheses": [ALONE.model_copy(update={"opposite": ""})]})
    with pytest.raises(InputError, match="has no opposite"):
        flip(plain, "free-2")


def test_a_forgotten_hypothesis_is_gone_kept_or_dropped() -> None:
    gone = forget_hypothesis(PROFILE, "warm")
    assert gone is not None
    assert "space-warm" not in {each.id for each in gone.hypotheses}
    assert gone.direction == {"brief": 0.3}
    dropped = forget_hypothesis(PROFILE, "free-3")
    assert dropped is not None
    assert not dropped.dropped
    assert forget_hypothesis(PROFILE, "free-9") is None


def test_with_a_record_goes_all_that_rests_on_it_alone() -> None:
    left = forget_record(PROFILE, LETTER, [NOTE, CHOICE])
    assert left is not None
    (warm,) = left.hypotheses
    assert warm.id == "space-warm"
    assert {item.record for item in warm.evidence} == {"r2"}
    assert warm.test is not None
    assert warm.test.records == ["r2"]
    assert not left.dropped
    assert not left.examples
    assert left.provenance.records == ["r2", "r3"]
    assert "plums" not in left.to_json()
    assert "r1" not in left.to_json()
    stranger = Sample(user="ada", id="r9", text="Something else.")
    assert forget_record(PROFILE, stranger, RECORDS) is None


def test_measured_style_is_measured_anew() -> None:
    from hyperalign.style.reference import measure_style

    before = PROFILE.model_copy(update={"style": measure_style([LETTER, NOTE])})
    left = forget_record(before, LETTER, [NOTE, CHOICE])
    assert left is not None
    assert left.style == measure_style([NOTE])
    assert left.style != before.style
    of_choice = forget_record(before, CHOICE, [LETTER, NOTE])
    assert of_choice is not None
    assert of_choice.style == before.style


def test_what_was_set_by_hand_outlives_a_fit() -> None:
    old = set_leaning(PROFILE, "warm", 0.0)
    fitted = PROFILE.model_copy(update={"direction": {"warm": 0.8, "brief": 0.4}})
    new = carry_over(old, fitted)
    assert [each.source for each in new.hypotheses if each.id == "space-warm"] == ["stated"]
    assert new.direction == {"warm": 0.0, "brief": 0.4}
    assert carry_over(PROFILE, fitted) == fitted, "nothing was set"


def test_what_was_taken_out_stays_out_until_it_is_set_again() -> None:
    fitted = PROFILE
    out = set_leaning(PROFILE, "warm", 0.5)
    assert out.silenced == ["space-warm"]
    assert out.direction == {"brief": 0.3}
    again = carry_over(out, fitted)
    assert "space-warm" not in {each.id for each in again.hypotheses}
    assert again.direction == {"brief": 0.3}
    assert again.silenced == ["space-warm"], "also for the fit after that"
    back = carry_over(set_leaning(again, "warm", 0.8), fitted)
    assert back.direction["warm"] == 0.8
    assert not back.silenced
    forgotten = forget_hypothesis(PROFILE, "free-3")
    assert forgotten is not None
    assert not carry_over(forgotten, fitted).dropped
    shown = silence(PROFILE, ["example-r1"])
    assert not shown.examples
    assert not carry_over(shown, fitted).examples
    assert PROFILE.diff(out)[:1] == ["- Warm and friendly."]
    assert "+ silenced: space-warm" in PROFILE.diff(out)
    merged = PROFILE.merge(out)
    assert merged.silenced == ["space-warm"]
    assert {each.id for each in merged.hypotheses} == {"free-1", "free-2"}
    assert "warm" not in merged.direction
    assert out.merge(PROFILE).silenced == [], "who says it later is right"
    assert "warm" in out.merge(PROFILE).direction
