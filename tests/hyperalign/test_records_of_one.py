"""Texts and dicts as records of one person."""

from __future__ import annotations

import pytest

from hyperalign.errors import InputError, RecordError
from hyperalign.records import Pair, RecordLike, Sample, as_records, check_one_user


def test_texts_and_fields_are_of_whoever_the_others_are_of() -> None:
    known = Sample(user="ada", text="A letter.")
    told: list[RecordLike] = ["A text.", {"prompt": "Go?", "chosen": "Yes.", "rejected": "No."}, known]
    records = as_records(told)
    assert [type(record) for record in records] == [Sample, Pair, Sample]
    assert {record.user for record in records} == {"ada"}
    assert records[2] is known
    assert {record.user for record in as_records(["A text."])} == {"me"}
    assert {record.user for record in as_records(["A text."], user="bob")} == {"bob"}
    assert [record.user for record in as_records([known, {"text": "Hers.", "user": "eve"}])] == ["ada", "eve"]


def test_one_text_is_not_taken_for_its_letters() -> None:
    (record,) = as_records("A text.")
    assert isinstance(record, Sample)
    assert record.text == "A text."


def test_ratings_become_pairs() -> None:
    (pair,) = as_records([{"text": "Good.", "rating": 5}, {"text": "Bad.", "rating": 1}])
    assert isinstance(pair, Pair)
    assert (pair.chosen, pair.rejected) == ("Good.", "Bad.")


def test_what_is_no_record_is_named_by_its_row() -> None:
    with pytest.raises(RecordError, match="row 2: a int is no record"):
        as_records(["A text.", 7])  # type: ignore[list-item]
    with pytest.raises(RecordError, match="row 1: text"):
        as_records(["  "])


def test_a_profile_is_of_one_person() -> None:
    assert check_one_user(as_records(["A text."])) == "me"
    with pytest.raises(InputError, match=r"of 0 \(nobody\)"):
        check_one_user([])
    with pytest.raises(InputError, match=r"of 2 \(ada, bob\)"):
        check_one_user([Sample(user="bob", text="His."), Sample(user="ada", text="Hers.")])
