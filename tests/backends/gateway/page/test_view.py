"""A profile in plain words: what supports a statement is counted, and what a version changed is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hyperalign.backends.gateway.page.view import (
    Support,
    describe_changes,
    describe_support,
    list_beliefs,
    show_profile,
)
from hyperalign.profile import Hypothesis, LearnedReward, Profile, RewardRow
from hyperalign.programs.reward import load_population
from hyperalign.records import Pair
from hyperalign.space import load_space

from .person import PAIRS, RECORDS, passed, profile

POPULATION = load_population()


def with_directions(values: list[float], statement: str) -> Profile:
    """A profile whose choices read ``values`` in the dimension ``formal``."""
    names = POPULATION.space.names
    axis = np.array(POPULATION.directions["formal"].weights)
    axis = axis / (axis @ axis)
    axes = POPULATION.space.encoder_axes
    assert axes is not None
    rows = [
        RewardRow(record=f"choice-{at}", kind="choice", values=[float(part) for part in value * axis])
        for at, value in enumerate(values)
    ]
    reward = LearnedReward(
        population=POPULATION.name,
        space=POPULATION.space.fingerprint,
        encoder=axes.name,
        weights=dict.fromkeys(names, 0.0),
        spreads=dict.fromkeys(names, 1.0),
        rows=[*rows, RewardRow(record="elsewhere", kind="choice", values=[float(part) for part in axis])],
    )
    said = Hypothesis(
        id="space-formal",
        statement=statement,
        aspect="style",
        source="space",
        test=passed("direction", *PAIRS),
        weight=1,
    )
    return Profile(user="mira", hypotheses=[said], reward=reward)


def test_choices_that_support_a_dimension_are_counted_by_their_reading() -> None:
    poles = next(each for each in load_space().dimensions if each.name == "formal")
    values = [1.0, 0.2, -0.5, 2.0, -1.0, 0.4]
    high, low = with_directions(values, poles.high), with_directions(values, poles.low)
    assert describe_support(high) == {"space-formal": [Support("choice", 4, 6)]}
    assert describe_support(low) == {"space-formal": [Support("choice", 2, 6)]}
    assert list_beliefs(low, PAIRS)[0].support == "Supported by 2 of your 6 choices."
    assert describe_support(with_directions(values, "Something else.")) == {}
    unknown = high.model_copy(update={"reward": high.reward and high.reward.model_copy(update={"space": "another"})})
    assert describe_support(unknown) == {}
    assert list_beliefs(unknown, PAIRS)[0].support == "Your 6 choices together support it."
    assert list_beliefs(unknown, [])[0].support == "Your 6 records together support it."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "stated", "test": None}, "You said so."),
        ({"source": "edited", "test": None}, "You put it in these words."),
        ({"test": None}, "Not tested."),
        ({"kind": "example"}, "A text of yours: it makes your other texts more likely."),
        ({"test": passed("likelihood")}, "Tested on records that are gone."),
    ],
)
def test_what_a_statement_rests_on_is_said(changes: dict[str, Any], words: str) -> None:
    said = profile().hypotheses[1].model_copy(update=changes)
    assert list_beliefs(Profile(user="mira", hypotheses=[said]), RECORDS)[0].support == words


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("4 surer ones were kept", "Surer ones were kept in its place."),
        ("says much the same as 'Is funny.'", "It says much the same as “Is funny.”"),
        ("may be chance among so many candidates (q 0.40, needs 0.10)", "It may be chance."),
        ("fits other people at least as well", "It fits other people just as well."),
        ("the choices do not point one way (p 0.31)", "Your choices do not point one way."),
        ("only 3 of the person's choices could test it (needs 4)", "Only 3 of your choices could test it (needs 4)."),
    ],
)
def test_why_it_was_dropped_is_said_plainly(reason: str, words: str) -> None:
    gone = Hypothesis(id="d", statement="Is fond of the sea.", aspect="style", dropped_because=reason)
    (shown,) = show_profile(Profile(user="mira", dropped=[gone]), []).dropped
    assert shown.reason == words
    assert ("Reason", reason) in shown.figures


def test_features_that_read_alike_stand_once() -> None:
    words = [each for _, each, _ in show_profile(profile(), RECORDS).features]
    assert words
    assert len(set(words)) == len(words)


def test_what_a_version_changed() -> None:
    before = profile()
    first, second, third = before.hypotheses
    after = before.model_copy(
        update={
            "hypotheses": [
                first.model_copy(update={"weight": 0.1}),
                second.model_copy(update={"statement": "Answers kindly."}),
                Hypothesis(id="new", statement="Counts to ten.", aspect="style"),
            ],
            "stated": ["No emoji, please.", "Short."],
            "reward": None,
        }
    )
    assert describe_changes(before, after) == [
        "New: “Counts to ten.”",
        f"Gone: “{third.statement.replace(chr(0x202E), '')}”",
        "“Uses exclamation marks: 4.0 for each 100 words, where most people use 0.5.” counts less",
        "“Answers warmly.” became “Answers kindly.”",
        "You added: “Short.”",
        "You took out: “אני מעדיפה תשובות קצרות.”",
        "What predicts your choices was learned from 0 records; before, from 6.",
    ]
    assert describe_changes(before, before) == ["Nothing that you would read here."]
    assert describe_changes(None, before) == ["The first profile: 3 statements held."]


def test_a_pair_whose_profile_has_nothing_shows_nothing() -> None:
    shown = show_profile(Profile(user="mira"), [Pair(user="mira", prompt="", chosen="a", rejected="b")])
    assert (shown.learned_from, shown.beliefs, shown.features, shown.guessed) == ("", (), (), ())
