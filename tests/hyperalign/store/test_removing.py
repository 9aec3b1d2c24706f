"""A person who is removed is gone from every file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hyperalign.store import Person, Store
from tests.hyperalign.example_people import RECORDS, profile
from tests.hyperalign.store.helpers import SECRET, busy_for, sample


def test_removing_takes_one_person_only(store: Store) -> None:
    store.add_records([*RECORDS, sample("bob", "some words of his")])
    store.save(profile())
    store.save(profile("bob"))
    removed = store.remove("ada")
    assert (removed.records, removed.versions, removed.traces_left) == (3, 1, False)
    assert store.users() == [Person("bob", 1, 1)]
    assert store.save(profile()) == 1


def test_removing_leaves_no_text_in_any_file(file: Path) -> None:
    def traces() -> list[str]:
        return [f.name for f in file.parent.iterdir() if SECRET in f.read_bytes()]

    with Store(file) as store:
        store.add_records([sample("bob", f"piece {n} " + "padding " * 300) for n in range(50)])
        store.add_records([sample("ada", f"marmalade {n} " + "and more " * (n * 20)) for n in range(50)])
        for _ in range(5):
            store.save(profile(), "marmalade in the note")
        store.add_records([sample("cy", f"piece {n} " + "padding " * 300) for n in range(50)])
        assert traces()
        assert not store.remove("ada").traces_left
        assert traces() == []
    assert traces() == []


def test_removing_beside_an_open_reader_says_so_and_can_be_finished(file: Path) -> None:
    with Store(file) as store:
        store.add_records([*RECORDS, sample("bob", "some words of his")])
        reader = sqlite3.connect(file)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM hyperalign_records").fetchone()
        with busy_for(store, 50):
            assert store.remove("ada").traces_left
        reader.close()
        assert store.scrub()
        assert not any(SECRET in f.read_bytes() for f in file.parent.iterdir())


def test_what_is_remembered_of_others_no_longer_names_whom_they_were_held_against(store: Store) -> None:
    store.add_records([*RECORDS, sample("bob", "some words of his"), sample("cy", "and some of hers")])
    store.remember(profile("bob"), '{"rows": ["bob", "ada"]}')
    store.remember(profile("cy"), '{"rows": ["cy", "adam"]}')
    store.remove("ada", without=lambda memory: memory.replace('"ada"', "null"))
    assert store.memory("bob") == '{"rows": ["bob", null]}'
    assert store.memory("cy") == '{"rows": ["cy", "adam"]}'
    store.remove("bob")
    store.remember(profile("adam"), '{"rows": ["adam", "cy"]}')
    store.remove("adam")
    assert store.memory("cy") is None, "nobody says what is left of it: it is made anew"
