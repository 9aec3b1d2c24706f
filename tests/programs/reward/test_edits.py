"""What a person changes by hand in their reward holds exactly and outlasts a fit; what they forget leaves no trace."""

from __future__ import annotations

import pytest

from hyperalign.errors import NotFoundError
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.reward import Reward
from hyperalign.programs.reward.edits import (
    apply_edited_weights,
    carry_changes,
    flip,
    forget_record,
    set_weight,
)
from hyperalign.records import Pair

LOUD = [
    Pair(
        user="ada", id=f"r{number}", prompt=f"Question {number}?", chosen=f"{said}! Now!", rejected=f"{said}, perhaps."
    )
    for number, said in enumerate(("Go", "Eat the rice", "Take a coat", "Call her", "Sleep", "Write it down"))
]
PROFILE = Profile(user="ada", reward=Reward.fit(LOUD).to_profile())


def weight(profile: Profile, feature: str = "exclamations") -> float:
    assert profile.reward is not None
    return profile.reward.weights[feature]


def test_a_flipped_feature_predicts_the_opposite_by_as_much() -> None:
    turned = flip(PROFILE, "exclamations")
    assert weight(turned) == -weight(PROFILE) != 0
    assert turned.reward is not None
    assert PROFILE.reward is not None
    before, after = Reward.from_profile(PROFILE.reward), Reward.from_profile(turned.reward)
    assert before.prefer("And?", "Yes!", "Yes.").probability > 0.5 > after.prefer("And?", "Yes!", "Yes.").probability
    assert weight(flip(turned, "exclamations")) == weight(PROFILE)


def test_a_measured_statement_and_its_feature_turn_together() -> None:
    said = Hypothesis(
        id="chosen-exclamations", statement="Loud.", opposite="Quiet.", aspect="style", source="measured", weight=1
    )
    profile = PROFILE.model_copy(update={"hypotheses": [said]})
    for name in ("exclamations", "chosen-exclamations"):
        turned = flip(profile, name)
        assert turned.hypotheses[0].statement == "Quiet."
        assert weight(turned) == -weight(PROFILE)
    assert weight(flip(flip(profile, "exclamations"), "chosen-exclamations")) == weight(PROFILE)
    with pytest.raises(NotFoundError, match="says nothing of 'shouting'"):
        flip(profile, "shouting")


def test_what_was_set_by_hand_outlasts_a_fit() -> None:
    changed = set_weight(PROFILE, "exclamations", 0.0)
    assert weight(changed) == 0.0
    again = carry_changes(changed, Profile(user="ada", reward=Reward.fit(LOUD[:4]).to_profile()))
    assert weight(again) == 0.0
    assert again.reward is not None
    assert [str(change) for change in again.reward.changes] == ["exclamations set to 0"]
    assert "+ reward: exclamations set to 0" in PROFILE.diff(changed)
    with pytest.raises(NotFoundError, match="no reward"):
        set_weight(Profile(user="ada"), "exclamations", 0.0)


def test_a_weight_that_was_edited_in_the_text_is_set_and_the_others_follow() -> None:
    assert PROFILE.reward is not None
    text = PROFILE.to_json().replace(f'"exclamations": {weight(PROFILE)}', '"exclamations": 2.0')
    changed = apply_edited_weights(PROFILE, Profile.from_json(text))
    assert changed.reward == set_weight(PROFILE, "exclamations", 2.0).reward


def test_a_forgotten_record_was_never_given() -> None:
    gone = forget_record(PROFILE, LOUD[2], [*LOUD[:2], *LOUD[3:]])
    assert gone is not None
    assert gone.reward is not None
    without = Reward.fit([*LOUD[:2], *LOUD[3:]]).to_profile()
    assert gone.reward.weights == pytest.approx(without.weights, abs=2e-4)
    assert gone.reward.rows == without.rows
    assert gone.reward.predicts == without.predicts
    assert forget_record(gone, LOUD[2], LOUD[3:]) is None
    # What can't be learned again must not stay as it is.
    foreign = PROFILE.model_copy(update={"reward": PROFILE.reward.model_copy(update={"space": "of another"})})
    left = forget_record(foreign, LOUD[2], LOUD[3:])
    assert left is not None
    assert left.reward is None


def test_the_numbers_of_a_record_stand_on_one_line_and_are_read_back() -> None:
    text = PROFILE.to_json()
    assert sum('"values": [' in line and line.endswith("]") for line in text.splitlines()) == len(LOUD)
    assert Profile.from_json(text) == PROFILE
    quoted = PROFILE.model_copy(update={"stated": ['Says "values": [ 1,  2 ] often.']})
    assert Profile.from_json(quoted.to_json()) == quoted
