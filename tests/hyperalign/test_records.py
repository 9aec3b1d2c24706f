"""The three kinds of record and the ids of people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hyperalign.records import Edit, Pair, Sample, other_text, own_text, prompt_of, quotable_text
from tests.hyperalign.example_people import CHOICE, CORRECTION, LETTER, RECORDS


def test_a_record_without_id_gets_one_from_its_content_alone() -> None:
    one = Sample(user="ada", text="the same words")
    assert one.id == Sample(user="bob", text="the same words").id
    assert one.id != Sample(user="ada", text="other words").id
    assert one.id != Sample(user="ada", text="the same words", prompt="asked").id
    assert Sample(user="ada", id="mine", text="x").id == "mine"


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_records_round_trip_through_json_with_their_ids(record: Sample | Pair | Edit) -> None:
    assert type(record).model_validate_json(record.model_dump_json()) == record


@given(st.text(min_size=1).filter(lambda text: text.strip()))
def test_any_text_round_trips(text: str) -> None:
    try:
        sample = Sample(user="ada", text=text)
    except ValidationError:  # lone surrogates, and blanks that only Unicode knows
        return
    assert Sample.model_validate_json(sample.model_dump_json()) == sample


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "ada", "text": ""},
        {"user": "ada", "text": " \n\t"},
        {"user": "ada", "text": 5},
        {"user": 5, "text": "words"},
        {"user": "ada", "text": "words", "time": "yesterday"},
        {"user": "ada", "text": "words", "time": 1},
        {"user": "ada", "text": "words", "id": "a\0b"},
        {"user": "ada", "text": "words", "id": "x" * 257},
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Sample.model_validate(fields)


def test_a_time_is_read_from_iso_and_kept() -> None:
    sample = Sample.model_validate({"user": "ada", "text": "words", "time": "2024-05-01T09:30:00+02:00"})
    assert sample.time is not None
    assert sample.time.utcoffset() is not None


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError):
        LETTER.text = "something else"


def test_what_the_person_stands_behind_and_what_they_turned_down() -> None:
    assert [own_text(r) for r in RECORDS] == [LETTER.text, CHOICE.chosen, CORRECTION.edited]
    assert [other_text(r) for r in RECORDS] == [None, "hey!!", "Thx a lot"]
    assert [prompt_of(r) for r in RECORDS] == ["Decline the invitation.", "Say hello.", "Thank him."]
    assert prompt_of(Sample(user="ada", text="words")) == ""
    assert "hey!!" in quotable_text(CHOICE)
    assert "Good morning" in quotable_text(CHOICE)
