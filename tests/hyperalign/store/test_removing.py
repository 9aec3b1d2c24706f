"""A person who is removed is gone from every file."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, text

from hyperalign.files import wipe_sqlite
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


def test_removing_waits_for_nobody_who_reads_and_keeps_nobody_out(place: str) -> None:
    with Store(place) as store, Store(place) as other:
        store.add_records([*RECORDS, sample("bob", "some words of his")])
        with ThreadPoolExecutor(1) as alone, other._engine.connect() as reading:
            assert reading.execute(text("SELECT count(*) FROM hyperalign_records")).scalar() == 4
            # The reader's transaction stays open.
            assert alone.submit(store.remove, "ada").result(timeout=30).records == 3
        assert other.users() == [Person("bob", 1, 0)]


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


def test_copies_of_rows_that_moved_are_wiped_without_a_vacuum(file: Path) -> None:
    """SQLite leaves them in the pages that rows came from: by splits of an index, and by merges after deletions."""
    draw = random.Random(3)
    names = [f"person-{draw.randrange(10**9):09}" for _ in range(160)]
    with Store(file) as store:
        for name in names:
            store.add_records([sample(name, f"word-{name} " * draw.randrange(1, 60))])
            store.remember(profile(name), json.dumps({"words": f"memory-{name} " * draw.randrange(1, 200)}))
        for name in names[::3]:
            store.keep_memory(name, json.dumps({"words": f"memory-{name} " * draw.randrange(1, 200)}))
        for name in names[::2]:
            statements: list[str] = []
            with listening(store, statements):
                assert not store.remove(name).traces_left
            assert statements
            assert not any(each.strip().upper().startswith("VACUUM") for each in statements)
        content = b"".join(path.read_bytes() for path in file.parent.iterdir())
        assert [name for name in names[::2] if name.encode() in content] == []
        assert all(name.encode() in content for name in names[1::2])
        assert {person.user for person in store.users()} == set(names[1::2])
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.close()


@pytest.mark.parametrize("mode", ["NONE", "FULL", "INCREMENTAL"])
@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_unused_bytes_are_wiped_in_files_of_any_kind(tmp_path: Path, mode: str, page_size: int) -> None:
    path = tmp_path / "any.sqlite"
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in (f"page_size = {page_size}", f"auto_vacuum = {mode}", "journal_mode = WAL", "secure_delete = ON"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE t (name TEXT PRIMARY KEY, words TEXT)")
    draw = random.Random(5)
    names = [f"n{draw.randrange(10**9):09}" for _ in range(3_000)]
    database.executemany("INSERT OR IGNORE INTO t VALUES (?, ?)", [(name, name * draw.randrange(40)) for name in names])
    before = database.execute("SELECT * FROM t WHERE name < 'n5' ORDER BY name").fetchall()
    database.execute("DELETE FROM t WHERE name >= 'n5'")
    assert wipe_sqlite(database, path)
    content = path.read_bytes()
    assert [name for name in names if name >= "n5" and name.encode() in content] == []
    assert database.execute("SELECT * FROM t ORDER BY name").fetchall() == before
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def test_other_processes_write_while_people_are_removed(file: Path) -> None:
    """Several write and remove at once: every row of theirs is there in the end, and the file is whole."""
    code = (
        "import sys; from hyperalign.store import Store; from hyperalign.records import Sample\n"
        "with Store(sys.argv[1]) as store:\n"
        "    for n in range(30):\n"
        "        store.add_records([Sample(user=f'{sys.argv[2]}{n}', text=f'text {n} ' * 50)])\n"
        "        if n % 3 == 2: store.remove(f'{sys.argv[2]}{n - 1}')\n"
    )
    Store(file).close()
    workers = [
        subprocess.Popen([sys.executable, "-c", code, str(file), name], stderr=subprocess.PIPE) for name in ("p", "q")
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=120)
        assert worker.returncode == 0, said.decode()
    with Store(file) as store:
        assert store.scrub()
        left = {f"{name}{n}" for name in "pq" for n in range(30) if n % 3 != 1}
        assert {person.user for person in store.users()} == left
        content = file.read_bytes()
        assert not any(f'"user":"{name}{n}"'.encode() in content for name in "pq" for n in range(1, 30, 3))
    assert sqlite3.connect(file).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextmanager
def listening(store: Store, statements: list[str]) -> Iterator[None]:
    """Collect the statements that a store's connections run."""

    def note(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_trace_callback(statements.append)

    event.listen(store._engine, "checkout", note)
    try:
        yield
    finally:
        event.remove(store._engine, "checkout", note)
