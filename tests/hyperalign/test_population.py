"""Other people: from the store, a folder, or the package; and which of their records are compared with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from hyperalign.errors import InputError, RecordError
from hyperalign.population import FolderPopulation, ShippedPopulation, StorePopulation, choose_reference_records
from hyperalign.records import Edit, Pair, Record, Sample


def sample(user: str, prompt: str = "", number: int = 0) -> Sample:
    return Sample(user=user, id=f"{user}-{prompt}-{number}", prompt=prompt, text=f"{user} on {prompt or number}.")


class People:
    name = "people"

    def __init__(self, *records: Record) -> None:
        self._records = records

    def records(self, user: str) -> list[Record]:
        return [record for record in self._records if record.user != user]


def test_the_shipped_people_are_three_with_eight_pieces_and_four_choices_each() -> None:
    counts = Counter((record.user, type(record)) for record in ShippedPopulation().records(""))
    assert counts == {(user, kind): n for user in ("ada", "bruno", "chiara") for kind, n in ((Sample, 8), (Pair, 4))}
    assert {record.user for record in ShippedPopulation().records("ada")} == {"bruno", "chiara"}


def test_a_person_is_never_in_their_own_population(tmp_path: Path) -> None:
    for user in ("ada", "bob"):
        (tmp_path / f"{user}.jsonl").write_text(json.dumps({"user": user, "text": f"A text by {user}."}) + "\n")
    assert {record.user for record in FolderPopulation(tmp_path).records("ada")} == {"bob"}
    both = [sample("ada"), sample("bob")]
    assert StorePopulation(lambda user: both).records("ada") == [both[1]]


def test_folders_of_texts_and_files_of_lines_are_people(tmp_path: Path) -> None:
    (tmp_path / "cal").mkdir()
    (tmp_path / "cal" / "one.txt").write_text("A text by Cal about the sea.")
    (tmp_path / "cal" / "two.md").write_text("Another text by Cal.")
    (tmp_path / "bob.jsonl").write_text('{"text": "A text by Bob."}\n\n{"text": "Line\u2028separated."}\n')
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    people = FolderPopulation(tmp_path).records("ada")
    assert [record.user for record in people] == ["bob", "bob", "cal", "cal"]
    many = tmp_path / "many.jsonl"
    many.write_text('{"user": "x", "text": "One two."}\n{"user": "y", "text": "Three four."}\n')
    assert [record.user for record in FolderPopulation(many).records("y")] == ["x"]


def test_corrections_are_held_against_other_choices_where_nobody_else_corrected() -> None:
    mine = Edit(user="ada", prompt="p", draft="hey", edited="Good day.")
    theirs = [Pair(user="bob", prompt=f"p{n}", chosen="yes", rejected="no") for n in range(2)]
    edit = Edit(user="cal", prompt="p", draft="hm", edited="Hello.")
    assert choose_reference_records(People(sample("bob"), *theirs), "ada", [mine], 6) == theirs, "choices, and no text"
    assert choose_reference_records(People(sample("bob"), *theirs, edit), "ada", [mine], 6) == [edit]
    assert choose_reference_records(People(*theirs), "ada", [sample("ada")], 6) == [], "a text is no choice"
    assert choose_reference_records(People(*theirs), "ada", [], 6) == []


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        FolderPopulation(tmp_path / "missing").records("ada")
    with pytest.raises(InputError):
        FolderPopulation(tmp_path).records("ada")
    (tmp_path / "bob.jsonl").write_text('{"text": "Fine."}\n{"text": 7}\n')
    with pytest.raises(RecordError, match=r"bob\.jsonl:2"):
        FolderPopulation(tmp_path).records("ada")


def test_reference_records_take_people_in_turn() -> None:
    others = People(*(sample(user, number=i) for user in ("b", "c", "d") for i in range(4)))
    picked = choose_reference_records(others, "a", [sample("a")], 6)
    users = [record.user for record in picked]
    assert set(users[:3]) == {"b", "c", "d"}
    assert users[3:] == users[:3]
    assert len({record.id for record in picked}) == 6
    assert choose_reference_records(others, "a", [sample("a")], 99) != []


def test_reference_records_do_not_take_who_stands_first_in_a_file() -> None:
    users = [f"{kind}{number}" for kind in ("north", "south") for number in range(40)]
    picked = choose_reference_records(People(*(sample(user) for user in users)), "a", [sample("a")], 12)
    again = choose_reference_records(People(*(sample(user) for user in reversed(users))), "a", [sample("a")], 12)
    assert [record.user for record in again] == [record.user for record in picked]
    assert 3 <= sum(record.user.startswith("north") for record in picked) <= 9


def test_reference_records_answer_the_same_prompts_first_and_cover_many() -> None:
    others = People(*(sample(user, prompt) for user in ("b", "c") for prompt in ("tax", "dog", "town")))
    mine = [sample("a", "dog"), sample("a", "town")]
    picked = choose_reference_records(others, "a", mine, 2)
    assert {record.prompt for record in picked if isinstance(record, Sample)} == {"dog", "town"}


def test_reference_records_are_of_the_same_kind() -> None:
    pair = Pair(user="b", prompt="p", chosen="Yes indeed.", rejected="No.")
    assert choose_reference_records(People(sample("b"), pair), "a", [sample("a")], 9) == [sample("b")]
    assert choose_reference_records(People(pair), "a", [sample("a")], 9) == []


def test_people_in_a_table_or_an_array_are_read_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("user,text\nbob,A text by Bob.\ncy,A text by Cy.\n")
    (tmp_path / "list.json").write_text(json.dumps([{"author": "dee", "body": "A text by Dee."}]))
    found = FolderPopulation(tmp_path).records("cy")
    assert {record.user for record in found} == {"bob", "dee"}
