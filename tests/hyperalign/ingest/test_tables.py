"""Tables: CSV and TSV of many makers, Parquet, and rows in memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import InputError, RecordError
from hyperalign.ingest import read_records
from hyperalign.records import Pair, Sample

FAULTS = Path(__file__).resolve().parents[4] / "shared" / "data" / "faults"
FERRY = "I took the early ferry home."


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(reading: Any) -> list[str]:
    return [record.text for record in reading.records if isinstance(record, Sample)]


@pytest.mark.parametrize(
    "content",
    [
        f"user,text\nmira,{FERRY}\ntom,Buy a new one today\n",
        f"text;user\r\n{FERRY};mira\r\nBuy a new one today;tom\r\n",
        f"User\tText\nmira\t{FERRY}\ntom\tBuy a new one today\n",
        f'"user","time","text"\n"mira","2024-05-01","{FERRY}"\n\n"tom","","Buy a new one today"\n',
        f"\ufeffauthor,body,created_at\nmira,{FERRY},2024-05-01T10:00:00Z\ntom,Buy a new one today,\n",
        f"Date,User ID,Message\n01/05/2024 10:00,mira,{FERRY}\n,tom,Buy a new one today\n",
        f"username|comment\nmira|{FERRY}\ntom|Buy a new one today\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_of_many_makers(tmp_path: Path, content: str, encoding: str) -> None:
    for name in ("posts.csv", "posts.txt"):
        path = write(tmp_path, name, content.encode(encoding))
        assert texts(read_records([path], user="mira")) == [FERRY]
        with pytest.raises(RecordError, match=r"2 people are in it: mira \(1 text\), tom \(1 text\)"):
            read_records([path])


def test_cells_hold_line_ends_quotes_and_delimiters_and_errors_name_their_line(tmp_path: Path) -> None:
    long = "word " * 60_000
    rows = ["user,text,prompt", 'mira,"One, ""two""\nand three.",', f"mira,{long.strip()},Long?", "mira,a b,c d,e f"]
    path = write(tmp_path, "a.csv", "\n".join(rows))
    with pytest.raises(RecordError, match="5: this row has 4 cells, and the header names 3") as refused:
        read_records([path])
    assert refused.value.line == 5
    reading = read_records([path], skip_bad=True)
    assert texts(reading) == ['One, "two"\nand three.', long.strip()]
    assert [record.prompt for record in reading.records] == [None, "Long?"]


def test_quotes_after_a_backslash_and_columns_of_one_name(tmp_path: Path) -> None:
    path = write(
        tmp_path, "a.csv", 'user,text,text\nmira,"He said \\"go\\", and I went home.",Another text of a row.\n'
    )
    assert texts(read_records([path])) == ['He said "go", and I went home.']


def test_tables_of_choices_corrections_and_ratings(tmp_path: Path) -> None:
    lines = [
        "user,prompt,chosen,rejected,draft,edited,text,rating",
        "mira,Dry sage?,Hang it.,Oven.,,,,",
        "mira,Thank him.,,,Thx a lot,I thank you.,,",
        "mira,Rain?,,,,,Bring the umbrella.,4.5",
        'mira,Rain?,,,,,Stay in.,"2,5"',
    ]
    reading = read_records([write(tmp_path, "a.csv", "\n".join(lines))])
    assert [type(record).__name__ for record in reading.records] == ["Pair", "Edit", "Pair"]
    assert reading.files[0].taken == {"choices": 1, "edits": 1, "ratings": 2}


def test_columns_of_other_names_are_asked_for_and_named(tmp_path: Path) -> None:
    path = write(
        tmp_path, "prefs.csv", "annotator,ask,a,b\nmira,Dry sage?,Hang it.,Oven.\ntom,Dry sage?,Oven.,Hang it.\n"
    )
    with pytest.raises(RecordError, match="no record") as refused:
        read_records([path], user="mira")
    assert "Columns there: annotator, ask, a, b." in refused.value.remedy
    assert '--columns "user=annotator,prompt=ask,chosen=a,rejected=b"' in refused.value.remedy
    named = {"user": "annotator", "prompt": "ask", "chosen": "a", "rejected": "b"}
    (pair,) = read_records([path], me="mira", columns=named).records
    assert isinstance(pair, Pair)
    assert (pair.prompt, pair.chosen, pair.rejected) == ("Dry sage?", "Hang it.", "Oven.")
    with pytest.raises(RecordError, match="no column 'c' for 'chosen'"):
        read_records([path], columns={**named, "chosen": "c"})


@pytest.mark.parametrize("column", ["nick", "PosterName", "Sender Email", "auteur", "Name", "customer_id"])
def test_a_column_of_people_with_another_name_is_nobody_elses_text(tmp_path: Path, column: str) -> None:
    path = write(tmp_path, "posts.csv", f"{column},text\nmira,{FERRY}\ntom,Buy a new one today\n")
    assert texts(read_records([path], user="mira")) == [FERRY]
    with pytest.raises(RecordError, match="nobody there is 'ada'; 2 people are in it"):
        read_records([path], user="ada")
    assert len(read_records([path], user="ada", columns={"user": ""}).records) == 2, "if one says so"


def test_a_column_that_is_named_is_the_only_content(tmp_path: Path) -> None:
    rows = [{"who": 7, "text": "Somebody else's text.", "answer": {"words": [{"text": FERRY}]}}]
    path = write(tmp_path, "a.jsonl", json.dumps(rows[0]))
    reading = read_records([path], columns={"user": "who", "text": "answer.words.0.text"})
    assert (texts(reading), reading.records[0].user) == ([FERRY], "7")


def test_a_table_without_rows_or_header_is_refused(tmp_path: Path) -> None:
    for content, said in (("user,text\n", "no row"), ("mira,some words here\ntom,other words\n", "no record")):
        with pytest.raises(RecordError, match=said) as refused:
            read_records([write(tmp_path, "a.csv", content)], user="mira")
        assert refused.value.remedy


def parquet(tmp_path: Path, rows: list[dict[str, Any]], name: str = "rows.parquet") -> Path:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / name)
    return tmp_path / name


def test_parquet_is_read_with_its_types(tmp_path: Path) -> None:
    when = datetime(2024, 5, 1, 10, tzinfo=UTC)
    rows = [
        {"user_id": 7, "text": FERRY, "created_at": when},
        {"user_id": 8, "text": "Buy a new one.", "created_at": None},
    ]
    (record,) = read_records([parquet(tmp_path, rows)], user="7").records
    assert (record.user, record.time) == ("7", when)
    dialogs = [
        {
            "annotator": who,
            "prompt": "Dry sage?",
            "chosen": [{"role": "user", "content": "Dry sage?"}, {"role": "assistant", "content": "Hang it."}],
            "rejected": [{"role": "user", "content": "Dry sage?"}, {"role": "assistant", "content": "Oven."}],
        }
        for who in ("mira", "tom")
    ]
    path = parquet(tmp_path, dialogs, "named-otherwise.bin")
    (pair,) = read_records([path], me="mira").records
    assert isinstance(pair, Pair)
    assert (pair.prompt, pair.chosen) == ("Dry sage?", "Hang it.")


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, [{"user": "mira", "text": FERRY}])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RecordError, match="damaged"):
        read_records([path])


ROWS = [{"user": "mira", "text": FERRY, "rating": None}, {"user": "tom", "text": "Buy one.", "rating": None}]


def test_arrow_tables_frames_and_datasets_are_read_as_rows() -> None:
    arrow = pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    table = arrow.Table.from_pylist(ROWS)
    frame = pandas.DataFrame({"user": ["mira", "tom"], "text": [FERRY, "Buy one."], "prompt": [None, float("nan")]})
    for given in (ROWS, tuple(ROWS), iter(ROWS), table, frame, [table], ROWS[0]):
        assert texts(read_records(given, user="mira")) == [FERRY]
    said = [{"role": "assistant", "content": text} for text in ("Hang it.", "Oven.")]
    lists = pandas.DataFrame([{"user": "mira", "prompt": "Dry sage?", "chosen": said[:1], "rejected": said[1:]}])
    (pair,) = read_records(lists).records
    assert isinstance(pair, Pair)
    assert pair.chosen == "Hang it."


def test_a_dataset_is_read_and_its_splits_are_not() -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list(ROWS)
    assert texts(read_records(dataset, user="mira")) == [FERRY]
    with pytest.raises(InputError, match="train"):
        read_records(datasets.DatasetDict({"train": dataset}), user="mira")


def test_what_is_neither_a_path_nor_rows_is_refused() -> None:
    for given in (7, [7]):
        with pytest.raises(InputError, match="int") as refused:
            read_records(given, user="mira")
        assert "DataFrame" in refused.value.remedy


def test_the_small_example_keeps_the_two_apart() -> None:
    if not FAULTS.is_dir():
        pytest.skip("the examples are no part of the project, and are not here")
    reading = read_records([FAULTS / "posts.csv"], user="mira")
    assert len(reading.records) == 8
    assert not any("Buy a new one" in text for text in texts(reading))


@pytest.mark.parametrize("end", ["", '"', ' and more"'])
def test_a_quote_that_is_not_closed_takes_nobody_elses_row(tmp_path: Path, end: str) -> None:
    path = write(
        tmp_path, "posts.csv", f'author,text\nmira,"Not closed here\ntom,"words of his{end}\nmira,All is well.\n'
    )
    with pytest.raises(RecordError, match="not closed") as caught:
        read_records([path], user="mira")
    assert caught.value.line == 2
    assert not any("his" in text for text in texts(read_records([path], user="mira", skip_bad=True)))


def test_rows_of_several_lines_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "posts.csv", 'author,text\nmira,"He said ""no""\nand went."\ntom,"Two, then\nthree."\n')
    assert texts(read_records([path], user="mira")) == ['He said "no"\nand went.']
