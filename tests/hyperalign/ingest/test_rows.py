"""Rows of JSON: which column is what, whose the row is, and the shapes in which tools write lists of rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import RecordError
from hyperalign.ingest import Reading, parse_line, read_records
from hyperalign.records import Sample

FERRY, FENCE, BUY = "I took the early ferry home.", "We mended the fence before lunch.", "Buy a new one today please."
MIRA, TOM = {"user": "mira", "text": FERRY}, {"user": "tom", "text": BUY}


def read(tmp_path: Path, content: Any, name: str = "rows.json", **options: Any) -> Reading:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_records([path], **options)


def texts(reading: Reading) -> list[str]:
    return [record.text for record in reading.records if isinstance(record, Sample)]


@pytest.mark.parametrize(
    "content",
    [
        [MIRA, TOM],
        {"data": [MIRA, TOM]},
        {"meta": {"page": 1}, "data": {"items": [MIRA, TOM]}},
        {"rows": [{"row_idx": at, "row": row} for at, row in enumerate((MIRA, TOM))]},
        {"user": ["mira", "tom"], "text": [FERRY, BUY]},
        {"0": MIRA, "1": TOM},
        [{"post": MIRA}, {"post": TOM}],
        [{"user": "mira", "texts": [FERRY]}, {"user": "tom", "texts": [BUY]}],
        {"mira": [FERRY], "tom": [{"text": BUY}]},
        json.dumps(MIRA, indent=2) + "\n" + json.dumps(TOM, indent=2) + "\n",
        json.dumps(MIRA) + "\r\n\r\n" + json.dumps(TOM) + "\r\n",
    ],
)
def test_lists_of_rows_in_many_shapes(tmp_path: Path, content: Any) -> None:
    for name in ("rows.json", "rows.jsonl", "rows.txt"):
        assert texts(read(tmp_path, content, name, user="mira")) == [FERRY]
        with pytest.raises(RecordError, match=r"2 people are in it: mira \(1 text\), tom \(1 text\)"):
            read(tmp_path, content, name)


@pytest.mark.parametrize(
    ("mine", "theirs", "me"),
    [
        ({"author": "mira", "body": FERRY}, {"author": "tom", "body": BUY}, "mira"),
        ({"user_id": 7, "content": FERRY}, {"user_id": 71, "content": BUY}, "7"),
        ({"user_id": 7.0, "content": FERRY}, {"user_id": 8.0, "content": BUY}, "7"),
        ({"user": {"id": 7, "login": "mira"}, "body": FERRY}, {"user": {"id": 8, "login": "tom"}, "body": BUY}, "mira"),
        (
            {"author": "Mira", "email": "m@a.org", "text": FERRY},
            {"author": "Tom", "email": "t@a.org", "text": BUY},
            "m@a.org",
        ),
        ({"from": "Mira K.", "message": FERRY}, {"from": "Tom", "message": BUY}, "Mira K."),
        ({"by": "mira", "text": FERRY}, {"by": "tom", "text": BUY}, "@mira"),
        (
            {"repo_owner": "ada", "commenter": "mira", "body": FERRY},
            {"repo_owner": "mira", "commenter": "tom", "body": BUY},
            "mira",
        ),
        ({"From": "Mira K. <m@a.org>", "Body": FERRY}, {"From": "Tom <t@a.org>", "Body": BUY}, "m@a.org"),
        ({"From": '"Mira K." <m@a.org>', "Body": FERRY}, {"From": "Tom <t@a.org>", "Body": BUY}, "Mira K."),
        ({"name": "Mira K.", "user_id": 5, "text": FERRY}, {"name": "Tom", "user_id": 6, "text": BUY}, "Mira K."),
        ({"name": "Room 9", "user_id": 5, "text": FERRY}, {"name": "Room 9", "user_id": 6, "text": BUY}, "5"),
        ({"nick": "mira", "msg": FERRY}, {"nick": "tom", "msg": BUY}, "mira"),
        ({"is_from_me": 1, "text": FERRY}, {"is_from_me": 0, "sender": "Tom", "text": BUY}, "me"),
        (
            {"role": "user", "author": "mira", "text": FERRY},
            {"role": "assistant", "author": "mira", "text": BUY},
            "mira",
        ),
        ({"sender": "mira", "full_text": FERRY}, {"sender": "mira", "full_text": f"RT @tom: {BUY}"}, "mira"),
        ({"author": "mira", "text": FERRY}, {"author": "[deleted]", "text": BUY}, "mira"),
        ({"author": "mira", "text": FERRY}, {"author": None, "text": BUY}, "mira"),
    ],
)
def test_only_the_persons_own_rows_are_taken(tmp_path: Path, mine: Any, theirs: Any, me: str) -> None:
    for rows in ([mine, theirs], [theirs, mine]):
        assert texts(read(tmp_path, rows, me=me, user="ada")) == [FERRY]


@pytest.mark.parametrize(
    "when",
    [
        {"created_utc": 1588615855},
        {"created_utc": "1588615855"},
        {"timestamp": 1588615855000},
        {"date": "2020-05-04T18:10:55Z"},
        {"created_at": "2020-05-04 18:10:55 UTC"},
        {"Created At": "Mon, 04 May 2020 18:10:55 +0000"},
        {"time": "2020-05-04T20:10:55+02:00"},
    ],
)
def test_times_in_many_forms(tmp_path: Path, when: dict[str, Any]) -> None:
    (record,) = read(tmp_path, [{**MIRA, **when}]).records
    assert record.time == datetime(2020, 5, 4, 18, 10, 55, tzinfo=UTC)


def test_a_time_in_a_form_of_its_own_is_left_out(tmp_path: Path) -> None:
    (record,) = read(tmp_path, [{**MIRA, "date": "last spring"}]).records
    assert record.time is None


def test_null_is_absent(tmp_path: Path) -> None:
    every = dict.fromkeys(("prompt", "chosen", "rejected", "draft", "edited", "rating", "id", "time"))
    reading = read(tmp_path, [{**every, **MIRA}, {**every, "user": "mira", "text": None}])
    assert texts(reading) == [FERRY]
    assert reading.files[0].passed_over == {"rows without a text": 1}


def test_a_text_that_was_to_be_rated_is_not_the_persons_own(tmp_path: Path) -> None:
    rated = [{"user": "mira", "text": f"Joke {at}.", "rating": at} for at in (1, 2)]
    with pytest.raises(RecordError, match=r"rows.json:3: rating: there is none"):
        read(tmp_path, [*rated, {"user": "mira", "text": BUY, "rating": None}])
    union = {"user": "mira", "text": FERRY, "rating": None, "chosen": None, "rejected": None}
    assert texts(read(tmp_path, [*rated, union])) == [FERRY], "a table of all kinds has texts beside ratings"
    bought = [{"user_id": "mira", "asin": "B1", "text": FERRY, "rating": 5.0}]
    assert texts(read(tmp_path, bought)) == [FERRY], "a review is written by the one who rates"


def test_an_example_of_columns_suits_the_row(tmp_path: Path) -> None:
    for row, example in (
        ({"poet": "mira", "verse": FERRY}, '"text=verse"'),
        ({"rater_name": "mira", "verse": FERRY, "n": 1}, '"user=rater_name,text=verse"'),
        (
            {"worker": "w", "question": "Go?", "reply_0": "Yes.", "reply_1": "No."},
            "prompt=question,chosen=reply_0,rejected=reply_1",
        ),
        ({"meta": {"owner": "mira"}, "item": {"verse": FERRY}}, '"user=meta.owner,text=item.verse"'),
    ):
        with pytest.raises(RecordError, match="this is no record") as refused:
            read(tmp_path, [row], user="mira")
        assert example in refused.value.remedy
        assert f"Columns there: {', '.join(row)}" in refused.value.remedy


def test_a_stream_takes_one_line_by_the_same_rules() -> None:
    record = parse_line(json.dumps({"author": "mira", "body": FERRY, "rating": 3}))
    assert record.user == "mira"
    for line, said in (
        (json.dumps({"author": "[deleted]", "body": BUY}), "no text of a person"),
        ('{"a": 1}', "no record"),
    ):
        with pytest.raises(RecordError, match=f"in:4: .*{said}"):
            parse_line(line, "in", 4, "mira")


@pytest.mark.parametrize("name", ["texts.json", "texts.jsonl"])
def test_a_list_of_strings_is_one_of_texts(tmp_path: Path, name: str) -> None:
    said = ["The early ferry was on time.", "It rained again today."]
    path = tmp_path / name
    path.write_text(json.dumps(said) if name.endswith("n") else "\n".join(map(json.dumps, said)))
    assert texts(read_records([path], user="mira")) == said
    with pytest.raises(RecordError, match="whose"):
        read_records([path])


def test_a_table_without_a_header_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("mira,The early ferry again\ntom,Too early for me\n")
    with pytest.raises(RecordError, match="put one above it"):
        read_records([path], user="mira")


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>user\nHow deep is it?<|im_end|>\n<|im_start|>assistant\nNine meters.<|im_end|>",
        "### Human: How deep is it?\n### Assistant: Nine meters.",
        "\n\nHuman: How deep is it?\n\nAssistant: Nine meters.",
        "<s>[INST] How deep is it? [/INST] Nine meters.</s>",
    ],
)
def test_a_dialog_with_a_model_in_one_text_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecordError, match="the model's words"):
        read(tmp_path, [{"text": text}], user="mira")


def test_a_rating_of_nothing_names_the_columns(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="Columns there: transcript, rating"):
        read(tmp_path, [{"transcript": "How deep is it?", "rating": 4}], user="mira")


def test_two_outputs_are_proposed_as_a_pair_and_not_as_texts(tmp_path: Path) -> None:
    row = {"annotator": "w1", "instruction": "How deep?", "output_1": "Nine meters.", "output_2": "Deep enough."}
    with pytest.raises(RecordError) as caught:
        read(tmp_path, [row], user="w1")
    assert "prompt=instruction,chosen=output_1,rejected=output_2" in (caught.value.remedy or "")
