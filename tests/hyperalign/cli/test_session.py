"""Whom a person is held against, where nobody names a folder: decided for each kind of record by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hyperalign.cli.session import choose_population
from hyperalign.records import Pair, Record, Sample, own_text
from hyperalign.store import Store

PAIR = Pair(user="ada", prompt="Why?", chosen="So.", rejected="Because it always was.")
TEXT = Sample(user="ada", text="A letter.")


def texts(user: str, count: int) -> list[Record]:
    return [Sample(user=user, text=f"The letter number {number} of {user}.") for number in range(count)]


def pairs(user: str, count: int) -> list[Record]:
    return [Pair(user=user, prompt=f"{n}?", chosen=f"Yes, {n}.", rejected=f"No, {n}.") for n in range(count)]


def test_a_folder_s_people_are_redacted_as_the_person_is(tmp_path: Path) -> None:
    (tmp_path / "bob.jsonl").write_text('{"text": "Write to bob@example.org, he said."}\n')
    with Store() as store:
        bare, redacted = (choose_population(tmp_path, "ada", store, redact=wanted) for wanted in (False, True))
        assert bare.name == redacted.name
        texts = [own_text(found.records("ada")[0]) for found in (bare, redacted)]
    assert texts == ["Write to bob@example.org, he said.", "Write to [mail address], he said."]


@pytest.mark.parametrize(
    ("known", "like", "people", "name"),
    [
        ([], [TEXT, PAIR], {Sample: "shipped", Pair: "shipped"}, "example people"),
        ([*texts("xena", 9)], [TEXT], {Sample: "shipped"}, "example people"),
        ([*texts("xena", 3), *texts("yves", 3)], [TEXT], {Sample: "store"}, "other users of the store"),
        (
            [*pairs("xena", 3), *pairs("yves", 3)],
            [TEXT, PAIR],
            {Sample: "shipped", Pair: "store"},
            "other users of the store, and example people",
        ),
        (
            [*texts("xena", 3), *texts("yves", 3)],
            None,
            {Sample: "store", Pair: "shipped"},
            "other users of the store, and example people",
        ),
    ],
    ids=["nobody", "one other", "enough", "enough of one kind", "a stream"],
)
def test_each_kind_of_record_has_its_other_people(
    known: Sequence[Record], like: Sequence[Record] | None, people: dict[type[Record], str], name: str
) -> None:
    with Store() as store:
        store.add_records([*known, TEXT])
        chosen = choose_population(None, "ada", store, like)
        again = choose_population(None, "ada", store, like)
    assert chosen.name == name
    assert chosen.records("ada") == again.records("ada")
    mine = {record.user for record in known}
    for kind, where in people.items():
        found = {record.user for record in chosen.records("ada") if type(record) is kind}
        assert found == mine if where == "store" else found and not found & mine
    if like is not None and people != dict.fromkeys(people, "shipped"):
        assert {type(record) for record in chosen.records("ada")} == set(people)
