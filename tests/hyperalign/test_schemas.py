"""The published schemas are what the models say, and agree with them about good and bad."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel, ValidationError

from hyperalign.published import NOUNS, published, rendered
from hyperalign.records import Rating
from tests.hyperalign.example_people import CHOICE, CORRECTION, LETTER, profile

EXAMPLES: dict[str, BaseModel] = {
    "sample": LETTER,
    "pair": CHOICE,
    "edit": CORRECTION,
    "rating": Rating(user="ada", prompt="Say hello.", text="Good morning to you.", rating=4.5),
    "profile": profile(),
}


def validator(noun: str) -> Draft202012Validator:
    return Draft202012Validator(published(noun), format_checker=FormatChecker())


@pytest.mark.parametrize("noun", sorted(NOUNS))
def test_what_ships_is_up_to_date(noun: str) -> None:
    assert published(noun) == json.loads(rendered(noun)), "run: python -m hyperalign.published"


@pytest.mark.parametrize("noun", sorted(NOUNS))
def test_it_is_a_schema_with_a_name_and_what_a_noun_writes_is_valid(noun: str) -> None:
    schema = published(noun)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:hyperalign:schema:{noun}:1"
    assert schema["title"] == f"hyperalign {noun}"
    assert schema["description"]
    validator(noun).validate(json.loads(EXAMPLES[noun].model_dump_json()))


@pytest.mark.parametrize(
    ("noun", "data"),
    [
        ("sample", {"user": "ada"}),
        ("sample", {"user": "ada", "text": ""}),
        ("sample", {"user": "ada", "text": 5}),
        ("sample", {"user": "ada", "text": "words", "id": "x" * 257}),
        ("pair", {"user": "ada", "chosen": "yes", "rejected": "no"}),
        ("edit", {"user": "ada", "prompt": "p", "draft": "one"}),
        ("rating", {"user": "ada", "text": "words"}),
        ("rating", {"user": "ada", "text": "words", "rating": "4"}),
        ("rating", {"user": "ada", "text": " ", "rating": 4}),
        ("profile", {}),
        ("profile", {"user": "ada", "hypotheses": [{"id": "h", "statement": "s", "aspect": "humor"}]}),
        ("profile", {"user": "ada", "hypotheses": [{"id": "h", "statment": "s", "aspect": "style"}]}),
        ("profile", {"user": "ada", "schema_version": 2}),
    ],
)
def test_schema_and_model_refuse_the_same(noun: str, data: dict[str, Any]) -> None:
    assert not validator(noun).is_valid(data)
    with pytest.raises(ValidationError):
        NOUNS[noun].model_validate(data)
