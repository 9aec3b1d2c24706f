"""The shipped reference, and how one is built."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hyperalign.errors import InputError
from hyperalign.style import FEATURES, Reference, build_reference, cut_excerpt, load_reference


def test_the_shipped_reference_covers_every_feature() -> None:
    reference = load_reference()
    assert set(reference.features) == set(FEATURES)
    for row in reference.features.values():
        assert row.people >= 10
        assert row.texts >= 300
        levels = [row.quantiles[level] for level in (5, 25, 50, 75, 95)]
        assert levels == sorted(levels)


def test_the_shipped_reference_says_where_its_numbers_come_from() -> None:
    sources = load_reference().sources
    assert {source.genre for source in sources} == {"news", "summaries", "speeches"}
    for source in sources:
        assert source.people > 0
        assert source.texts > source.people
        assert source.split.startswith("dev:")
        assert "never used here" in source.split


def test_a_reference_round_trips_and_refuses_what_it_does_not_know() -> None:
    reference = load_reference()
    assert Reference.model_validate_json(reference.model_dump_json()) == reference
    with pytest.raises(ValidationError):
        Reference.model_validate({"features": {}, "texts": ["someone's words"]})


def test_between_and_within_are_told_apart() -> None:
    people = {
        "short": ["One two. " * 20, "One two three four. " * 20],
        "long": ["One two three four five six seven eight nine ten. " * 8] * 2,
    }
    row = build_reference({"people": people}).features["sentence_words"]
    assert row.mean == pytest.approx((3 + 10) / 2)
    assert row.within_sd == pytest.approx((2 / 2) ** 0.5)  # squares 1 + 1 + 0 + 0 over 2 spare texts
    assert row.between_sd == pytest.approx((24.5 - 0.5) ** 0.5)
    assert (row.people, row.texts) == (2, 4)


def test_genres_count_the_same_whatever_their_size() -> None:
    few = {"a": ["One two. " * 30]}
    many = {name: ["One two three four five six. " * 15] for name in "bcdefgh"}
    assert build_reference({"few": few, "many": many}).features["sentence_words"].mean == pytest.approx(4.0)


def test_a_genre_can_be_left_out_of_a_feature() -> None:
    people = {"a": ["One two three."], "b": ["One two."]}
    reference = build_reference({"x": people, "y": people}, omit={"y": ["commas"]})
    assert reference.features["commas"].people == 2
    assert reference.features["sentence_words"].people == 4


def test_one_person_is_no_population() -> None:
    with pytest.raises(InputError, match="at least two people"):
        build_reference({"people": {"a": ["One two."], "b": [" "]}})


def test_spreads_never_fall_below_the_grain() -> None:
    between, within = load_reference().spread("emoji")
    assert between == within == FEATURES["emoji"].grain


def test_an_excerpt_ends_at_the_sentence_nearest_to_the_length() -> None:
    text = "One two three. " * 100
    assert cut_excerpt(text, 10) == "One two three. One two three. One two three."
    assert cut_excerpt("Short.", 10) == "Short."
    assert cut_excerpt("no end " * 100, 10) == ("no end " * 100).strip()
    assert cut_excerpt("") == ""
