"""Authorship metrics: classifiers name the author by style and not by topic, Burrows' Delta, and style distance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.metrics.authorship import (
    FAMILIES,
    Authorship,
    BurrowsDelta,
    Family,
    cut,
    style_distance,
)
from hyperalign.population import ShippedPopulation
from hyperalign.profile import Measurement, Profile
from hyperalign.programs.text_reward import mask_topic
from hyperalign.records import Sample, own_text
from hyperalign.style import find_claims, measure
from tests.evals.small_task import BLUNT, GARDEN, HEDGER, SEA, written

HABITS = {"hed": HEDGER, "blu": BLUNT}


def texts(topics: Mapping[str, Sequence[str]], first: int = 0, count: int = 8) -> dict[str, list[str]]:
    return {
        user: [written(habits, topics[user], seed) for seed in range(first, first + count)]
        for user, habits in HABITS.items()
    }


SAME = {"hed": GARDEN + SEA, "blu": GARDEN + SEA}
APART = {"hed": GARDEN, "blu": SEA}
SWAPPED = {"hed": SEA, "blu": GARDEN}


@pytest.mark.parametrize("family", FAMILIES)
def test_it_names_the_author_where_topics_do_not_help(family: Family) -> None:
    judge = Authorship(texts(SAME), family)
    assert judge.authors == ("blu", "hed")
    for author, unseen in texts(SAME, first=100).items():
        for text in unseen:
            assert judge.author(text) == author
            assert judge.logprob(text, author) > math.log(0.6)
            assert sum(math.exp(judge.logprob(text, name)) for name in judge.authors) == pytest.approx(1)


def test_the_style_family_does_not_follow_the_topic() -> None:
    style, characters = Authorship(texts(APART), "style"), Authorship(texts(APART), "characters")
    for author, unseen in texts(SWAPPED, first=100).items():
        for seed, text in enumerate(unseen, 100):
            assert style.author(text) == author
            # The same sentences about the other topic: no difference at all to one, and a great one to the other.
            usual = written(HABITS[author], APART[author], seed)
            assert usual != text
            assert style.logprob(usual, author) == style.logprob(text, author)
            assert characters.logprob(usual, author) > characters.logprob(text, author)


def test_a_topic_without_a_manner_is_worth_nothing_to_style() -> None:
    style, characters = Authorship(texts(APART), "style"), Authorship(texts(APART), "characters")
    garden, sea = " ".join(GARDEN * 3), " ".join(SEA * 3)
    assert style.logprob(garden, "hed") == style.logprob(sea, "hed")
    assert characters.author(garden) == "hed"
    assert characters.author(sea) == "blu"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"hed": ["It was, I think, so.", "And yet it was not."]},
        {"hed": ["It was, I think, so.", "And yet it was not."], "blu": ["Do it!"]},
        {"hed": [], "blu": []},
    ],
)
def test_too_few_texts_or_authors_are_refused(given: dict[str, list[str]]) -> None:
    with pytest.raises(InputError, match="at least two authors"):
        Authorship(given)


def test_two_texts_of_two_authors_are_enough_and_who_has_one_is_not_known() -> None:
    judge = Authorship({**texts(SAME, count=2), "one": ["Only this."]})
    assert judge.authors == ("blu", "hed")
    for unknown in ("one", "nobody"):
        with pytest.raises(InputError, match=f"no texts of '{unknown}'"):
            judge.logprob("Only this.", unknown)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["", "   \n", "\u200b", "字"])
def test_a_text_that_says_nothing_has_a_probability_all_the_same(family: Family, text: str) -> None:
    judge = Authorship(texts(SAME), family)
    shares = [math.exp(judge.logprob(text, author)) for author in judge.authors]
    assert sum(shares) == pytest.approx(1)
    assert all(share > 0 for share in shares)


def test_only_the_beginning_counts() -> None:
    judge = Authorship(texts(SAME), "style", words=60)
    own, other = written(HEDGER, SEA, 200, 20), written(BLUNT, SEA, 200, 20)
    assert judge.logprob(own, "hed") == judge.logprob(f"{cut(own, 60)} {other}", "hed")


def test_what_it_cannot_see_is_what_no_mask_shows() -> None:
    plain = "We saw a cat. It sat by a big old oak, and then (why?) it ran off to Rome; I let it go."
    grand = plain.replace("cat", "crocodile").replace("oak", "catafalque").replace("Rome", "Constantinople")
    assert mask_topic(plain) == mask_topic(grand)
    one, other = measure(plain), measure(grand)
    # Reading ease is made of letters and of sentences, which it does see.
    assert {name for name in one if one[name] != other[name]} == {"word_letters", "long_words", "reading_ease"}


def test_masked_by_example() -> None:
    assert mask_topic("The old dog, however, didn't bark at 7 in Paris!") == "the w w , however , didn't w at 9 in C !"
    assert mask_topic("Rain.\n\n\nIt’s late.") == "C . ¶ it's w ."
    assert mask_topic("B2B (see p. 3)") == "9 ( w w . 9 )"
    assert mask_topic("Over\nthere") == "over there", "one line break is no paragraph"
    assert mask_topic("") == ""


def test_cut_keeps_line_breaks_and_no_more_words() -> None:
    assert cut("one  two\n\nthree four", 3) == "one  two\n\nthree"
    assert cut("one two", 2) == cut("one two", 5) == "one two"
    assert cut("  one two", 1) == "  one"
    assert cut("one", 0) == cut("", 3) == ""


def test_burrows_delta_by_hand() -> None:
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


def test_burrows_delta_is_nearer_to_the_author_whatever_the_topic() -> None:
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


def test_own_texts_are_nearer_than_others_on_texts_not_measured() -> None:
    everybody = [record for record in ShippedPopulation().records("") if isinstance(record, Sample)]
    for user in ("ada", "bruno", "chiara"):
        own = [own_text(record) for record in everybody if record.user == user]
        others = [own_text(record) for record in everybody if record.user != user]
        style = {c.feature: Measurement(value=c.value, reference=c.usual, z=c.z) for c in find_claims(own[:4])}
        profile = Profile(user=user, style=style)
        assert fmean(style_distance(text, profile) for text in own[4:]) < fmean(
            style_distance(text, profile) for text in others
        )


def test_without_measured_style_nothing_is_far() -> None:
    assert style_distance("Anything at all.", Profile(user="ada")) == 0.0
