"""The shipped JSON schemas say what the models say, and accept and reject the same data."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel, ValidationError

from hyperalign.records import Rating
from tests.house.source_tree import load_script
from tests.hyperalign.example_people import CHOICE, CORRECTION, LETTER, profile

SCHEMAS = load_script("docs/schemas.py")
MODELS: dict[str, type[BaseModel]] = SCHEMAS.MODELS
EXAMPLES: dict[str, BaseModel] = {
    "sample": LETTER,
    "pair": CHOICE,
    "edit": CORRECTION,
    "rating": Rating(user="ada", prompt="Say hello.", text="Good morning to you.", rating=4.5),
    "profile": profile(),
}


def shipped(name: str) -> dict[str, Any]:
    path = resources.files("hyperalign").joinpath("schemas", f"{name}.schema.json")
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(shipped(name), format_checker=FormatChecker())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_ships_is_up_to_date(name: str) -> None:
    assert shipped(name) == SCHEMAS.build_schema(name), "run: make docs"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_it_is_a_schema_with_a_title_and_accepts_what_the_model_writes(name: str) -> None:
    schema = shipped(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:hyperalign:schema:{name}:1"
    assert schema["title"] == f"hyperalign {name}"
    assert schema["description"]
    validator(name).validate(json.loads(EXAMPLES[name].model_dump_json()))


@pytest.mark.parametrize(
    ("name", "data"),
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
def test_schema_and_model_refuse_the_same(name: str, data: dict[str, Any]) -> None:
    assert not validator(name).is_valid(data)
    with pytest.raises(ValidationError):
        MODELS[name].model_validate(data)
