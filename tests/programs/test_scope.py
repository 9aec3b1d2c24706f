"""Which prompts a statement holds for: by beginnings of words, whatever their case or script."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from hyperalign.profile import Profile
from hyperalign.programs.binary_choice import ChooseByLetter
from hyperalign.programs.evidence import find_evidence
from hyperalign.programs.judge import Judge
from hyperalign.programs.scope import falls_under, find_subjects, narrow, touches
from hyperalign.programs.strategies import strategy
from hyperalign.records import Pair
from hyperalign.scores import Row, ScoreMatrix
from hyperalign.space import Dimension, Space
from tests.hyperalign.example_people import passed_test
from tests.programs.test_binary_choice import Prefers
from tests.programs.toys import OverlapScorer, jam_sample, make_hypothesis


@pytest.mark.parametrize(
    ("prompt", "scope"),
    [
        ("Write a LETTER to her.", "letter"),
        ("All those letters!", "mail, letter"),
        ("Une élégie", unicodedata.normalize("NFD", "ÉLÉG")),
        ("Straße", "STRASS"),
        ("请写一封信。", "信"),
        ("Ответь на письмо", "Письм"),
        ("Prepare the jobs interviews.", "job interview"),
        ("python3 or C?", "python"),
        ("anything at all", ""),
        ("anything at all", "  "),
    ],
)
def test_a_prompt_falls_under_a_scope(prompt: str, scope: str) -> None:
    assert falls_under(prompt, scope)


@pytest.mark.parametrize(
    ("prompt", "scope"),
    [
        ("Translate this.", "late"),
        ("The interview for that job", "job interview"),
        ("A letter", "let ter"),
        ("A letter", "letters"),
        ("", "letter"),
        ("What is 2 + 2?", "2, !, ,"),
    ],
)
def test_a_prompt_does_not_fall_under_a_scope(prompt: str, scope: str) -> None:
    assert not falls_under(prompt, scope)


def test_no_beginning_touches_nothing_and_an_empty_one_neither() -> None:
    assert not touches("some text", ())
    assert not touches("some text", ("", " "))


def profile() -> Profile:
    tested = {"test": passed_test(1.0), "weight": 0.9}
    scoped = make_hypothesis("warm", opposite="Is cold.").model_copy(update={**tested, "scope": "jam"})
    always = make_hypothesis("blunt", opposite="Is gentle.").model_copy(update=tested)
    return Profile(user="ada", hypotheses=[scoped, always])


def test_a_narrowed_profile_has_what_holds_and_no_scopes() -> None:
    assert [(h.id, h.scope) for h in narrow(profile(), "More jam?").hypotheses] == [("warm", ""), ("blunt", "")]
    assert [h.id for h in narrow(profile(), "More toast?").hypotheses] == ["blunt"]
    plain = Profile(user="ada")
    assert narrow(plain, "?") is plain


def test_words_of_the_answers_do_not_decide_what_is_said() -> None:
    scorer = Prefers("A")
    choose = ChooseByLetter(strategy("verified"), scorer=scorer)
    choose(prompt="Breakfast?", first="Jam.", second="Oil.", profile=profile())
    choose(prompt="Which jam?", first="Plum.", second="Fig.", profile=profile())
    without, with_it = (context[-1]["content"] for context, _ in scorer.asked)
    assert "Is blunt." in without
    assert "Is warm." not in without
    assert "Is warm." in with_it


def test_only_what_holds_for_the_prompt_judges() -> None:
    judge = Judge(OverlapScorer())
    for prompt, ids in (("Breakfast?", {"blunt"}), ("Which jam?", {"blunt", "warm"})):
        found = judge(prompt=prompt, answers=["Is warm jam.", "Is cold."], profile=profile())
        assert {hypothesis.id for hypothesis, _ in found.decided} == ids


def test_a_scoped_statement_is_quoted_from_what_it_was_tested_on() -> None:
    records = [jam_sample(0), jam_sample(1)]
    test = passed_test(1.0).model_copy(update={"records": ["ada-0"]})
    rows = (Row("ada-0", "ada"), Row("ada-1", "ada"), Row("o0", "other"))
    matrix = ScoreMatrix("likelihood", "m", rows, ("warm",), np.array([[1.0], [5.0], [0.0]]))
    scoped = make_hypothesis("warm").model_copy(update={"test": test, "scope": "jam"})
    assert find_evidence(scoped, records, [matrix], None).evidence[0].record == "ada-0"
    assert find_evidence(scoped.model_copy(update={"scope": ""}), records, [matrix], None).evidence[0].record == "ada-1"


def test_subjects_are_those_of_the_space_and_prompts_alone_have_them() -> None:
    bare = {"aspect": "preference", "source": "test", "high": "Yes.", "low": "No."}
    space = Space(
        name="two",
        dimensions=[
            Dimension.model_validate({"name": "music", "words": ["song", "melod"], **bare}),
            Dimension.model_validate({"name": "warm", **bare}),
        ],
    )
    pairs = [
        Pair(user="ada", id=f"p{at}", prompt=prompt, chosen="A song.", rejected="A poem.")
        for at, prompt in enumerate(["Which song?", "What now?", "Melodies, please."])
    ]
    assert find_subjects(space, pairs) == {"song, melod": frozenset({"p0", "p2"})}
