"""Profiles: round trips, hand edits, differences and merges."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from hyperalign.errors import ProfileError
from hyperalign.profile import Evidence, Hypothesis, Poles, Profile, Provenance, check_evidence
from tests.hyperalign.example_people import CHOICE, LETTER, RECORDS, passed_test, profile


def changed(change: Any) -> str:
    data = json.loads(profile().to_json())
    change(data)
    return json.dumps(data)


def test_round_trip() -> None:
    assert Profile.from_json(profile().to_json()) == profile()
    assert Profile.from_json(profile().to_json().encode()) == profile()
    assert profile().to_json().endswith("}\n")


def test_a_hand_edited_profile_loads() -> None:
    def edit(data: dict[str, Any]) -> None:
        data["hypotheses"][0]["statement"] = "Declines with a joke."
        data["hypotheses"].append({"id": "mine", "statement": "Likes marmalade.", "aspect": "background"})
        data["hypotheses"][1]["weight"] = 1
        del data["direction"], data["dropped"], data["provenance"]

    edited = Profile.from_json(changed(edit))
    assert [h.statement for h in edited.hypotheses][::2] == ["Declines with a joke.", "Likes marmalade."]
    assert edited.hypotheses[1].weight == 1.0
    assert edited.dropped == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d["hypotheses"][0].update(statment="typo"), "hypotheses.0.statment"),
        (lambda d: d.update(hypothesis=[]), "hypothesis"),
        (lambda d: d["hypotheses"][0].update(weight=1.5), "hypotheses.0.weight"),
        (lambda d: d["hypotheses"][0].update(weight="much"), "hypotheses.0.weight"),
        (lambda d: d["hypotheses"][0].update(aspect="humor"), "hypotheses.0.aspect"),
        (lambda d: d["hypotheses"][1].update(statement="  "), "hypotheses.1.statement"),
        (lambda d: d["hypotheses"][0]["test"].update(q=2), "hypotheses.0.test.q"),
        (lambda d: d["hypotheses"][0]["test"].update(gain=None), "hypotheses.0.test.gain"),
        (lambda d: d.update(user="../../etc/passwd"), "user"),
        (lambda d: d.update(schema_version=2), "schema_version"),
        (lambda d: d.pop("user"), "user"),
        (lambda d: d["examples"][0].update(text=""), "examples.0.text"),
    ],
)
def test_a_wrong_field_is_named(change: Any, field: str) -> None:
    with pytest.raises(ProfileError) as caught:
        Profile.from_json(changed(change), where="ada.json")
    assert caught.value.message.startswith(f"ada.json: {field}: ")
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff\xfe", '{"user": "ada",}'])
def test_what_is_no_profile_is_refused(text: str | bytes) -> None:
    with pytest.raises(ProfileError):
        Profile.from_json(text)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_does_not_have_never_get_in(value: float) -> None:
    with pytest.raises(ValidationError):
        passed_test(value)


def test_half_an_emoji_does_not_spoil_the_file() -> None:
    half = Hypothesis(
        id="h", statement="Likes cake \ud83c", aspect="style", evidence=[Evidence(quote="\udf70", record="r")]
    )
    whole = Profile(user="ada", hypotheses=[half])
    assert Profile.from_json(whole.to_json()) == whole
    assert whole.hypotheses[0].statement == "Likes cake ?"


def test_no_profile_may_win() -> None:
    assert Profile(user="ada").is_empty
    assert not profile().is_empty
    assert not Profile(user="ada", stated=["Be brief."]).is_empty


def test_diff_says_what_came_went_and_changed() -> None:
    old = profile()
    first, second = old.hypotheses
    new = old.model_copy(
        update={
            "hypotheses": [first.model_copy(update={"weight": 0.5, "scope": ""})],
            "examples": [],
            "stated": [*old.stated, "Be brief."],
            "style": {},
            "dropped": [*old.dropped, second],
            "direction": {"formality": 0.5},
            "poles": {"formality": Poles(high="Formal.", low="Casual.")},
        }
    )
    assert old.diff(new) == [
        f"- {second.statement}",
        f"~ {first.statement} (weight, scope)",
        f"+ dropped: {second.statement}",
        f"- example: {LETTER.id}",
        "+ stated: Be brief.",
        "~ style words a sentence: 9.5 -> none",
        "~ direction formality: 0.75 -> 0.5",
        "~ poles formality: Formal. / Casual.",
    ]
    assert new.diff(new.model_copy(update={"poles": {}})) == ["~ poles formality: none"]
    assert old.diff(old) == []


def test_a_profile_from_before_there_were_checks_and_poles_loads() -> None:
    old = json.loads(profile().to_json())
    del old["poles"]
    for hypothesis in old["hypotheses"]:
        for quote in hypothesis["evidence"]:
            del quote["checked"]
    read = Profile.from_json(json.dumps(old))
    assert read == profile()
    assert [quote.holds_up for h in read.hypotheses for quote in h.evidence] == [False], "unchecked is not supported"


def test_merging_keeps_what_the_poles_say() -> None:
    tea, milk = Poles(high="Tea.", low="Coffee."), Poles(high="Milk.", low="Black.")
    one = Profile(user="ada", poles={"tea": tea, "milk": tea})
    assert one.merge(Profile(user="ada", poles={"milk": milk})).poles == {"tea": tea, "milk": milk}


def test_diff_sees_an_example_edited_under_its_old_id() -> None:
    old = profile()
    new = old.model_copy(update={"examples": [LETTER.model_copy(update={"text": "Quite other words."})]})
    assert old.diff(new) == [f"~ example: {LETTER.id}"]


def test_diff_is_in_the_same_order_in_every_process() -> None:
    code = (
        "from hyperalign.profile import *;"
        "h = [Hypothesis(id=f'h{i}', statement=f'S{i}', aspect='style') for i in range(9)];"
        "print(Profile(user='a', hypotheses=h).diff(Profile(user='a')))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(runs) == 1


def test_merge_keeps_both_and_lets_the_second_win() -> None:
    old = profile()
    first, second = old.hypotheses
    other = Profile(
        user="ada",
        hypotheses=[
            first.model_copy(update={"weight": 0.1}),
            old.dropped[0].model_copy(update={"dropped_because": ""}),
            Hypothesis(id="new", statement="Quotes poets.", aspect="style"),
        ],
        dropped=[second.model_copy(update={"dropped_because": "no longer true"})],
        stated=["Be brief."],
    )
    merged = old.merge(other)
    assert {h.id: h.weight for h in merged.hypotheses} == {"h1": 0.1, "d0": 0.0, "new": 0.0}
    assert {h.id for h in merged.dropped} == {"h2", "d1", "d2", "d3", "d4", "d5"}
    assert merged.stated == ["No emoji, please.", "Be brief."]
    assert merged.examples == old.examples
    assert merged.provenance.records == [LETTER.id]
    assert Profile.from_json(merged.to_json()) == merged


def test_merge_with_itself_changes_nothing() -> None:
    assert profile().merge(profile()) == profile()


def test_two_peoples_profiles_do_not_merge() -> None:
    with pytest.raises(ProfileError):
        profile().merge(profile("bob"))


def test_quotes_must_be_verbatim_and_from_the_record_they_name() -> None:
    good = Evidence(quote="must do without me", record=LETTER.id)
    assert check_evidence([good], RECORDS)
    assert check_evidence([Evidence(quote="hey!!", record=CHOICE.id, supports=False)], RECORDS)
    for bad in (
        Evidence(quote="must do  without me", record=LETTER.id),
        Evidence(quote="Must do without me", record=LETTER.id),
        Evidence(quote="must do without me", record=CHOICE.id),
        Evidence(quote="must do without me", record="no such record"),
        Evidence(quote=" ", record=LETTER.id),
        Evidence(quote="Decline the invitation.", record=LETTER.id),
    ):
        assert not check_evidence([good, bad], RECORDS)


def test_touched_stamps_the_time_only() -> None:
    stamped = profile().touched()
    assert stamped.provenance.created is not None
    assert stamped.provenance.created > (profile().provenance.created or stamped.provenance.created)
    assert profile().diff(stamped) == []


FEW = "Little was given to go by: {}, where 8 say more."
OPEN = "With {} choices, random ones in their place would get a profile in up to {} of cases; from 8 on it is 5%."


@pytest.mark.parametrize(
    ("records", "choices", "alpha", "said"),
    [
        (0, 0, None, ""),
        (8, 0, None, ""),
        (3, 0, None, FEW.format("3 texts")),
        (1, 1, None, FEW.format("1 choice")),
        (6, 2, None, FEW.format("4 texts and 2 choices")),
        (12, 4, 0.8, f"{FEW.format('4 choices')} {OPEN.format(4, '80%')}"),
        (9, 9, 0.158, OPEN.format(9, "16%")),
        (16, 16, 0.05, ""),
    ],
)
def test_a_thin_profile_says_so_with_the_number(records: int, choices: int, alpha: float | None, said: str) -> None:
    origin = Provenance(records=[str(n) for n in range(records)], choices=choices, null_alpha=alpha)
    assert Profile(user="ada", provenance=origin).thin == said
