"""``hyperalign records check``, and ``--me``, ``--as`` and ``--columns`` of the commands that read files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.cli.records import parse_columns
from hyperalign.errors import InputError
from hyperalign.store import Store
from tests.hyperalign.cli.conftest import Run

CHAT = """[01/05/2024, 10:00:00] Mira K.: The fence is mended at last, come and see it.
[01/05/2024, 10:30:00] Tom: Buy a new one today please, it is cheaper.
[01/05/2024, 10:31:00] Mira K.: <Media omitted>
[01/05/2024, 11:30:00] Mira K.: I would rather keep the old one, it knows the sheep.
"""
LETTER = "I took the early ferry and watched the gulls fight over a crust."
PLAIN = ["--no-statements", "--encoder", "none", "--no-redact"]


@pytest.fixture
def chat(tmp_path: Path) -> str:
    (tmp_path / "chat.txt").write_text(CHAT)
    return "chat.txt"


def test_a_check_says_whose_how_many_and_what_is_passed_over(run: Run, chat: str, tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text(f"user,text\nmira,{LETTER}\ntom,Buy a new one today\nmira,{LETTER}\n")
    done = run("records", "check", chat, "posts.csv", "--me", "Mira K.", "--me", "mira", "--user", "mira")
    assert done.code == 0
    assert done.out.splitlines() == [
        "chat.txt: WhatsApp export",
        "  in it        Mira K. (2 texts), Tom (1 text)",
        "  taken        2 texts of Mira K.",
        "  passed over  1 media",
        "posts.csv: CSV",
        "  in it        mira (2 texts), tom (1 text)",
        "  taken        2 texts of mira",
        "A fit reads 3 record(s) of mira, 1 repeated.",
    ]
    with Store() as store:
        assert store.records("mira") == [], "nothing is saved"
    told = json.loads(run("records", "check", chat, "--me", "Mira K.", "--user", "mira", "--json").out)
    assert (told["user"], told["records"], told["problem"]) == ("mira", 2, None)
    assert told["files"][0]["authors"] == {"Mira K.": {"texts": 2}, "Tom": {"texts": 1}}


def test_a_check_refuses_as_a_fit_does_after_saying_what_is_there(run: Run, chat: str, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps({"user": "mira", "text": LETTER}) + "\n{broken\n")
    for asked in ([chat], [chat, "--user", "mira"], ["gone.txt"], ["bad.jsonl"], [chat, "--as", "word"]):
        checked, fitted = run("records", "check", *asked), run("fit", *asked, *PLAIN)
        assert (checked.code, fitted.code) == (3, 3)
        assert checked.err == fitted.err
    assert "Mira K. (2 texts), Tom (1 text)" in run("records", "check", chat).out
    told = run("records", "check", chat, "--json")
    assert (told.code, json.loads(told.out)["user"]) == (3, None)
    assert "2 people are in it" in json.loads(told.out)["problem"]
    assert run("records", "check", "bad.jsonl", "--skip-bad").code == 0


def test_what_a_check_counts_a_fit_keeps(run: Run, chat: str) -> None:
    done = run("fit", chat, "--me", "Mira K.", "--user", "mira", *PLAIN)
    assert done.code == 0, done.err
    assert "Passed over in the files: 1 media." in done.err
    with Store() as store:
        kept = store.records("mira")
    assert len(kept) == 2
    assert not any("Buy" in record.text for record in kept if hasattr(record, "text"))


def test_other_commands_read_by_the_same_options(run: Run, tmp_path: Path) -> None:
    rows = [{"who": who, "said": {"words": f"{LETTER} It was day {at}."}} for at in range(4) for who in ("mira", "tom")]
    (tmp_path / "rows.log").write_text("\n".join(map(json.dumps, rows)))
    options = ["--columns", "user=who,text=said.words", "--as", "rows", "--me", "mira", "--no-redact"]
    done = run("update", "rows.log", *options, "--no-statements", "--encoder", "none")
    assert done.code == 0, done.err
    with Store() as store:
        assert len(store.records("mira")) == 4
    run("update", "rows.log", "--as", "rows", "--user", "mira").refused(3, "this is no record", "--columns")


def test_files_in_a_folder_that_are_not_read_are_told(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.txt").write_text(LETTER)
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00")
    done = run("fit", "mine", "--user", "mira", *PLAIN)
    assert done.code == 0, done.err
    assert "photo.png: this is a binary file, a PNG picture, not text." in done.err


@pytest.mark.parametrize("text", ["user", "who=user", "user=a,b", "=a"])
def test_columns_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_columns(text)
    assert "FIELD=COLUMN" in refused.value.remedy


def test_columns_are_fields_and_paths() -> None:
    assert parse_columns(" user = a.b , text=c,id= ") == {"user": "a.b", "text": "c", "id": ""}
    assert parse_columns(None) == {}
