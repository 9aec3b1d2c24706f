"""Whose text it is, by measured style: own texts that were not measured are told from other people's."""

from __future__ import annotations

import pytest

from hyperalign.profile import Measurement
from hyperalign.style import estimate, likeness, load_reference, measure
from tests.hyperalign.style.test_claims import USERS, texts_of


@pytest.mark.parametrize("user", USERS)
def test_further_texts_are_likelier_their_own_than_other_peoples(user: str) -> None:
    style = estimate(texts_of(user)[:4])
    own = [likeness(text, style) for text in texts_of(user)[4:]]
    others = [likeness(text, style) for other in USERS if other != user for text in texts_of(other)]
    assert min(own) > max(others)
    assert sum(own) / len(own) > 0 > sum(others) / len(others)


def test_more_texts_say_it_more_surely() -> None:
    few, many = (estimate(texts_of("ada")[:count]) for count in (2, 6))
    text = texts_of("ada")[7]
    assert likeness(text, many) > likeness(text, few) > 0


def test_what_cannot_be_compared_says_nothing() -> None:
    assert likeness("Anything at all.", {}) == 0.0
    assert likeness("", estimate(texts_of("ada"))) == 0.0
    assert likeness("Anything.", {"no_such_feature": Measurement(value=1, reference=0, z=3, spread=1)}) == 0.0


def test_the_usual_speaks_for_nobody_and_no_feature_decides_alone() -> None:
    usual = load_reference().features["exclamations"].mean
    shouts = "No! Never! Not this week! I say!"
    assert (measure(shouts)["exclamations"] or 0) > usual
    loud, calm = (Measurement(value=usual, reference=usual, z=z, spread=0.5) for z in (50.0, 0.0))
    assert -1 < likeness(shouts, {"exclamations": loud}) < 1
    assert likeness(shouts, {"exclamations": loud}) > likeness(shouts, {"exclamations": calm})


def test_a_person_without_a_spread_varies_as_people_do() -> None:
    _, within = load_reference().spread("sentence_words")
    told = Measurement(value=30, reference=17, z=2.0, spread=within)
    text = texts_of("ada")[0]
    assert likeness(text, {"sentence_words": told.model_copy(update={"spread": None})}) == pytest.approx(
        likeness(text, {"sentence_words": told})
    )
