"""Whose rewrite an answer is nearer to, by hand: measured style, character n-grams, and words."""

from __future__ import annotations

import pytest

from hyperalign.evals.cases import Case
from hyperalign.evals.metrics import is_share
from hyperalign.evals.metrics.nearness import NEARNESS, Nearness, word_edit_distance
from hyperalign.records import Edit

DRAFT = "Send me the report today. I need it, and you promised it."
OWN = "Hi Tom! Could you send me the report today? I'd love to have it! Thanks so much!"
OTHER = (
    "Dear Sir, it would be most kind of you to forward the report to me in the course of the day, as I am in need of "
    "it, and as you had been so good as to promise it."
)
CASE = Case(
    "q",
    "ada",
    "ada",
    f"Rewrite: {DRAFT}",
    (Edit(user="ada", prompt="p", draft="Call me.", edited="Could you call me? Thanks!"),),
    rejected=OTHER,
    reference=OWN,
    draft=DRAFT,
)


@pytest.fixture(scope="module")
def nearness() -> Nearness:
    return Nearness([CASE])


@pytest.mark.parametrize(
    ("first", "second", "far"),
    [
        ("a b c", "a b c", 0.0),
        ("a b c", "a x c", 1 / 3),
        ("a b c d", "b c d", 1 / 4),
        ("a b", "c d e", 1.0),
        ("a b c d", "b a c d", 2 / 4),
        ("", "a b", 1.0),
        ("", "", 0.0),
        ("a  b\nc", "a b c", 0.0),
    ],
)
def test_edit_distance_by_hand(first: str, second: str, far: float) -> None:
    assert word_edit_distance(first, second) == word_edit_distance(second, first) == pytest.approx(far)


def test_an_answer_is_nearer_to_the_rewrite_that_it_is_like(nearness: Nearness) -> None:
    like_own = "Hi Tom! Could you send the report today? I'd love it! Thanks!"
    like_other = (
        "Dear Sir, it would be kind of you to forward the report to me in the course of this day, as I am in some need "
        "of it, and as you had promised it."
    )
    assert nearness.measure(like_own, CASE) == dict.fromkeys(NEARNESS.values(), 1.0)
    assert nearness.measure(like_other, CASE) == dict.fromkeys(NEARNESS.values(), 0.0)
    assert nearness.measure(OWN, CASE) == dict.fromkeys(NEARNESS.values(), 1.0)


def test_what_is_like_neither_decides_nothing(nearness: Nearness) -> None:
    assert nearness.measure("", CASE) == dict.fromkeys(NEARNESS.values(), 0.5)


def test_the_measures_are_three_and_shares(nearness: Nearness) -> None:
    # The words of one in the sentences of the other: measures that saw the same would agree.
    mixed = "Hi Tom, could you send me the report today, as I would love to have it, with thanks so much in advance."
    found = nearness.measure(mixed, CASE)
    assert set(found) == set(NEARNESS.values())
    assert all(is_share(metric) for metric in found)
    assert (found["nearer_style"], found["nearer_words"]) == (0.0, 1.0)
