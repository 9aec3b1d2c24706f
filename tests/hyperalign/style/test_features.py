"""Every feature on a text short enough to count by hand, and all of them on anything."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperalign.style import FEATURES, measure, measure_all
from hyperalign.style.claims import load_statements
from hyperalign.style.features import syllables
from hyperalign.style.parsed import load_function_words

# Ten words, so that one occurrence is 10 per 100 words.
TEN = "alpha beta gamma delta epsilon zeta eta theta iota kappa"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("sentence_words", "One two. Three four five six.", 3.0),
        ("sentence_spread", "One. One two three. One two three four five.", math.sqrt(8 / 3)),
        ("sentence_spread", "One. Two three.", None),
        ("paragraph_words", "One two.\n\nThree four five six.", 3.0),
        ("word_letters", "a bcd 1999", 2.0),
        ("long_words", "letters or not letters", 0.5),
        ("variety", " ".join(["same"] * 50), 1 / 50),
        ("variety", " ".join(f"w{i}" for i in range(60)), 1.0),
        ("variety", " ".join(["same"] * 50 + ["other"]), (1 + 2) / (2 * 50)),
        ("variety", TEN, None),
        ("reading_ease", "The cat sat.", 206.835 - 1.015 * 3 - 84.6),
        ("function_words", "the house of cards", 0.5),
        ("commas", f"{TEN}, and, 1,000 x", 100 * 2 / 13),
        ("semicolons", f"{TEN};", 10.0),
        ("dashes", "alpha — beta -- gamma - delta – epsilon zeta eta theta iota kappa well-kept 10–20", 100 * 4 / 13),
        ("dashes", "- one\n- two", 0.0),
        ("parentheses", f"({TEN})", 10.0),
        ("colons", f"at 4:45 we say: {TEN}", 100 / 14),
        ("ellipses", f"{TEN}... or…", 100 * 2 / 11),
        ("quotes", f'"{TEN}"', 10.0),
        ("quotes", f"“{TEN}”", 10.0),
        ("numbers", f"{TEN} 14 3rd 8,200", 100 * 3 / 13),
        ("capitals", "I am A BIG fan of NATO in my 1998", 100 * 2 / 10),
        ("contractions", "I don't think it's Ruth's or we’ll see ok fine", 100 * 3 / 10),
        ("emoji", f"{TEN} 🎉☕", 20.0),
        ("markdown", f"# {TEN}\n\n**bold** `code` [link](there)", 100 * 4 / 14),
        ("conjunction_openings", "And so. But no. Fine. It is.", 0.5),
        ("list_items", "- alpha beta\n- gamma delta", 50.0),
        ("questions", f"{TEN}? {TEN}??", 10.0),
        ("exclamations", f"{TEN}!", 10.0),
        ("imperatives", "Take the bus. Don't wait. Please call me. She will.", 0.75),
        ("first_singular", "I told my son we saw you and me there", 30.0),
        ("first_plural", "we saw our dog and I saw you", 25.0),
        ("second_person", "you and your dog saw us yourself", 100 * 3 / 7),
        ("hedges", "Perhaps I am not sure that it might rain", 100 * 3 / 9),
        ("boosters", "it is really very cold and of course wet", 100 * 3 / 9),
        ("negations", "no I don't and never did nothing", 100 * 4 / 7),
        ("greeting", "Dear Ruth,\n\nI came.", 1.0),
        ("sign_off", "I came home.\n\nLove,\nAda", 1.0),
    ],
)
def test_a_feature_is_what_its_name_says(name: str, text: str, expected: float | None) -> None:
    value = measure(text)[name]
    assert value is None if expected is None else value == pytest.approx(expected)


def test_every_feature_has_a_saying_for_both_poles_and_a_unit() -> None:
    assert set(load_statements()) == set(FEATURES)
    for feature in FEATURES.values():
        assert feature.unit
        assert feature.grain > 0
        for pole in load_statements()[feature.name].values():
            assert pole.count("{value}") == pole.count("{usual}") == 1
            assert ": " in pole


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("the", 1),
        ("table", 2),
        ("baked", 1),
        ("wanted", 2),
        ("beautiful", 3),
        ("nation", 2),
        ("prices", 2),
        ("idea's", 2),
    ],
)
def test_syllables(word: str, count: int) -> None:
    assert syllables(word) == count


def test_function_words_are_lower_case_and_unique() -> None:
    words = load_function_words()
    assert len(words) > 200
    assert all(word == word.lower().strip() for word in words)


@pytest.mark.parametrize("text", ["", " \n\t ", "...", "!!!", "🎉"])
def test_a_text_without_words_has_no_values(text: str) -> None:
    assert set(measure(text).values()) == {None}


def test_a_person_is_the_mean_of_the_texts_that_show_a_feature() -> None:
    person = measure_all([f"{TEN}!", TEN, ""])
    assert person["exclamations"] == pytest.approx(5.0)
    assert person["variety"] is None


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=400), st.text(alphabet="Aa1 .,;:!?()'\"-—#*\n你é", max_size=400)))
def test_any_text_has_finite_values_in_range(text: str) -> None:
    values = measure(text)
    assert values.keys() == FEATURES.keys()
    for name, value in values.items():
        if value is None:
            continue
        assert math.isfinite(value)
        if FEATURES[name].kind in ("share", "flag"):
            assert 0 <= value <= 1
        elif FEATURES[name].kind != "score":
            assert value >= 0


@pytest.mark.parametrize(
    "text",
    [
        "Être ou ne pas être, telle est la question ; je n'en sais rien.",
        "Ich weiß es nicht. Wir fahren morgen nach Köln!",
        "これは日本語の文章です。短いです。",
        "हिन्दी में एक वाक्य।",
        "a" * 5000,
        "word " * 5000,
        "." * 5000,
        "\n" * 5000,
        "- " * 2000,
        "*" * 5000,
        "[a " * 20000,
        "**a " * 20000,
        "(" * 5000 + '"' * 5000,
    ],
)
def test_other_languages_and_odd_texts_measure_quickly(text: str) -> None:
    started = time.perf_counter()
    measure(text)
    assert time.perf_counter() - started < 2.0
