"""Burrows' Delta by hand, and on two writers whose manners differ."""

from __future__ import annotations

import pytest

from hyperalign.evals.metrics.authorship import BurrowsDelta
from tests.evals.small_task import BLUNT, GARDEN, HEDGER, SEA, written


def test_by_hand() -> None:
    # Rates of "the" and "a" by text: (1, 0), (1, 0), (0, 1), (0, 1); mean 0.5 and spread 0.5 for both words.
    delta = BurrowsDelta({"x": ["the the", "the"], "y": ["a a", "a"]})
    assert delta.distance("the", "x") == delta.distance("a", "y") == 0.0
    assert delta.distance("a", "x") == delta.distance("the", "y") == pytest.approx(2.0)
    assert delta.distance("the a", "x") == pytest.approx(1.0)


def test_a_word_that_never_varies_tells_nobody_apart() -> None:
    # "so" is half of each text; it must not divide by its spread of nothing.
    delta = BurrowsDelta({"x": ["so the", "so the"], "y": ["so a", "so a"]})
    assert delta.distance("so the", "x") == 0.0
    # "the" and "a" are 2 spreads of 0.25 away each, and "so" none: a mean of 4/3.
    assert delta.distance("so a", "x") == pytest.approx(4 / 3)
    assert delta.distance("so so", "x") == pytest.approx(2 / 3)


def test_the_author_is_nearer_whatever_the_topic() -> None:
    habits = {"hed": HEDGER, "blu": BLUNT}
    delta = BurrowsDelta({user: [written(each, GARDEN, n) for n in range(8)] for user, each in habits.items()})
    for own, other in (("hed", "blu"), ("blu", "hed")):
        for topic in (GARDEN, SEA):
            text = written(habits[own], topic, 50)
            assert delta.distance(text, own) < delta.distance(text, other)


def test_case_and_apostrophes_do_not_matter_and_nothing_is_far_from_everybody() -> None:
    delta = BurrowsDelta({"x": ["Don't. don’t", "DON'T go"], "y": ["go go", "Go"]})
    assert delta.distance("don’t", "x") == delta.distance("DON'T", "x")
    assert delta.distance("", "x") > 0
    assert delta.distance("", "y") > 0


def test_only_the_most_frequent_words_are_counted() -> None:
    texts = {"x": ["the the the rare", "the the"], "y": ["a a a seldom", "a a"]}
    delta = BurrowsDelta(texts, words=2)
    assert delta.distance("rare the", "x") == delta.distance("seldom the", "x")
