"""Claims find what sets the example people apart, and hold on texts they were not made from."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from hyperalign.style import StyleClaim, build_reference, distance, find_claims, load_reference, measure, measure_all

USERS = ("ada", "bruno", "chiara")


def texts_of(user: str) -> list[str]:
    lines = files("hyperalign").joinpath("people", f"{user}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def by_feature(found: list[StyleClaim]) -> dict[str, StyleClaim]:
    return {claim.feature: claim for claim in found}


@pytest.mark.parametrize(
    ("user", "expected", "absent"),
    [
        (
            "ada",
            {"semicolons": 1, "greeting": 1, "sign_off": 1, "sentence_words": 1, "second_person": 1, "commas": 1},
            {"list_items", "hedges", "contractions", "parentheses"},
        ),
        (
            "bruno",
            {"sentence_words": -1, "list_items": 1, "numbers": 1, "imperatives": 1, "contractions": 1, "colons": 1},
            {"semicolons", "hedges", "greeting", "sign_off", "parentheses"},
        ),
        (
            "chiara",
            {"hedges": 1, "questions": 1, "parentheses": 1, "first_singular": 1, "conjunction_openings": 1},
            {"semicolons", "imperatives", "list_items", "greeting", "sign_off"},
        ),
    ],
)
def test_the_example_people_stand_apart_where_they_should(
    user: str, expected: dict[str, int], absent: set[str]
) -> None:
    found = by_feature(find_claims(texts_of(user)))
    assert {name: found[name].direction for name in expected if name in found} == expected
    assert not absent & found.keys()


@pytest.mark.parametrize("user", USERS)
def test_claims_are_complete_sorted_and_survive_json(user: str) -> None:
    found = find_claims(texts_of(user))
    strengths = [abs(claim.z) for claim in found]
    assert strengths == sorted(strengths, reverse=True)
    for claim in found:
        low, high = claim.interval
        assert low <= claim.value <= high
        assert not low <= claim.usual <= high
        assert claim.direction == (1 if claim.value > claim.usual else -1)
        assert claim.statement.endswith(".")
        assert claim.opposite not in ("", claim.statement)
        assert claim.texts == 8
        assert StyleClaim.model_validate_json(claim.model_dump_json()) == claim


def test_statement_and_opposite_say_direction_and_numbers() -> None:
    claim = by_feature(find_claims(texts_of("bruno")))["sentence_words"]
    assert claim.statement.startswith("Writes short sentences: about 5 words on average, where most people write ")
    assert claim.opposite.startswith("Writes long sentences: about ")


@pytest.mark.parametrize("user", USERS)
def test_claims_from_half_the_texts_hold_on_the_other_half(user: str) -> None:
    texts = texts_of(user)
    made = find_claims(texts[:4])
    assert made
    own = [claim.holds(text) for claim in made for text in texts[4:]]
    others = [claim.holds(text) for claim in made for other in USERS if other != user for text in texts_of(other)]
    assert sum(score > 0 for score in own) / len(own) > 0.8
    assert sum(own) / len(own) > sum(others) / len(others) + 0.5


def test_holds_is_signed_clipped_and_silent_where_the_text_cannot_tell() -> None:
    claim = by_feature(find_claims(texts_of("ada")))["semicolons"]
    assert claim.holds("One; two; three; four.") == 3.0
    assert claim.holds("One two three four.") < 0
    assert claim.holds("") == 0.0
    text = texts_of("ada")[0]
    assert claim.holds(measure(text)) == claim.holds(text)


def test_distance_ranks_drafts_by_the_persons_own_style() -> None:
    for user in USERS:
        person = measure_all(texts_of(user)[:4])
        names = [claim.feature for claim in find_claims(texts_of(user)[:4])]
        own = max(distance(measure(text), person, names=names) for text in texts_of(user)[4:])
        strangers = [text for other in USERS if other != user for text in texts_of(other)]
        assert own < min(distance(measure(text), person, names=names) for text in strangers)
    assert distance(person, person) == 0.0
    assert distance(measure(""), person) == 0.0


def test_nothing_is_claimed_of_nothing_or_of_an_average_person() -> None:
    assert find_claims([]) == []
    assert find_claims(["", "..."]) == []
    people = {name: ["One two three four. " * 30] * 3 for name in "abc"}
    assert find_claims(people["a"], build_reference({"people": people})) == []


def test_less_evidence_makes_weaker_claims() -> None:
    texts = texts_of("chiara")
    one, all_ = by_feature(find_claims(texts[:1], threshold=0.0)), by_feature(find_claims(texts))
    assert abs(one["hedges"].z) < abs(all_["hedges"].z)
    few_words = by_feature(find_claims(["Perhaps it might rain."], threshold=0.0))
    assert "hedges" not in few_words or abs(few_words["hedges"].z) < abs(one["hedges"].z) * 3


def test_limit_and_a_reference_of_ones_own() -> None:
    assert len(find_claims(texts_of("ada"), limit=3)) == 3
    others = build_reference({"letters": {user: texts_of(user) for user in ("bruno", "chiara")}})
    found = by_feature(find_claims(texts_of("ada"), others))
    assert found["sign_off"].direction == 1
    assert "first_singular" not in found  # all three say "I": against each other it tells nothing
    assert set(others.features) <= set(load_reference().features)
