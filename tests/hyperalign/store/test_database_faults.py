"""Damage, locks and full disks: they are named, and what was there stays."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import event

from hyperalign.errors import ProfileError, StorageError
from hyperalign.store import Store
from tests.fixtures.disk import small_disk
from tests.hyperalign.example_people import profile
from tests.hyperalign.store.helpers import busy_for, sample


def test_a_damaged_file_is_named(file: Path) -> None:
    with Store(file) as store:
        store.add_records([sample("ada", f"{n} " + "words " * 400) for n in range(40)])
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(8192)
        raw.write(os.urandom(size - 8192))
    with pytest.raises(StorageError, match="damaged"), Store(file) as store:
        store.records("ada")
        store.users()


def test_a_profile_damaged_in_the_store_is_named(file: Path) -> None:
    with Store(file) as store:
        store.save(profile())
        with store._writer.begin() as connection:
            connection.exec_driver_sql('UPDATE hyperalign_versions SET content = \'{"user": "ada", "typo": 1}\'')
        with pytest.raises(ProfileError, match="version 1 of ada: typo"):
            store.load("ada")


def test_a_locked_store_says_so_and_loses_nothing(file: Path) -> None:
    with Store(file) as store:
        store.save(profile())
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with busy_for(store, 50), pytest.raises(StorageError, match="locked by another process"):
            store.save(profile())
        assert store.load("ada") == profile()
        other.close()
        assert store.save(profile()) == 2


def test_a_full_disk_is_named_and_keeps_what_was_there(file: Path) -> None:
    # SQLite's own cap on pages gives the error that a full disk gives.
    with Store(file) as store:
        store.save(profile())
        with store._engine.begin() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StorageError, match="disk is full") as caught:
            store.add_records([sample("ada", "words " * 100_000)])
        assert "words" not in str(caught.value)
        assert "words words" not in str(caught.value.__cause__)
        assert store.records("ada") == []
        assert store.load("ada") == profile()


def test_a_disk_that_refuses_to_write_is_named(file: Path) -> None:
    code = (
        "import resource, sys\nfrom hyperalign.store import Store\nfrom hyperalign.records import Sample\n"
        "store = Store(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
        "store.add_records([Sample(user='ada', text='words ' * 100_000)])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "StorageError" in done.stderr.splitlines()[-1]
    with Store(file) as store:
        assert store.records("ada") == []


def test_a_read_only_store_can_be_read_but_not_written(file: Path) -> None:
    with Store(file) as store:
        store.save(profile())

        @event.listens_for(store._engine, "connect")
        def refuse_writes(connection: sqlite3.Connection, _record: object) -> None:
            connection.execute("PRAGMA query_only = ON")

        store._engine.dispose()
        assert store.load("ada") == profile()
        with pytest.raises(StorageError, match="may not be written"):
            store.save(profile())


def test_a_store_on_a_full_filesystem(tmp_path: Path) -> None:
    with small_disk(tmp_path / "tiny", "256k") as folder, Store(folder / "store.sqlite") as store:
        store.save(profile())
        with pytest.raises(StorageError, match="disk"):
            for number in itertools.count():
                store.add_records([sample("ada", f"{number} " + "words " * 5000)])
        assert store.load("ada") == profile()
