"""Damage, locks and full disks: they are named, and what was there stays."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from sqlalchemy import event

from hyperalign.errors import ProfileError, StorageError
from hyperalign.records import Sample
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


SECRET = "The marmalade is in the cellar."


def damage(file: Path, change: str) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute(f"UPDATE hyperalign_records SET {change} WHERE user_id = 'bob' AND number % 2 = 0")
    raw.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f'content = \'{{"text": "{SECRET}\'', "is damaged"),
        (f'content = \'{{"user": "bob", "texts": "{SECRET}"}}\'', "is damaged"),
        ("kind = 'melody'", "is of an unknown kind, 'melody'"),
        ("content = ''", "is damaged"),
    ],
)
def test_one_damaged_record_ends_nobody_elses_commands(
    file: Path, change: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(file) as store:
        store.add_records([sample(user, f"{SECRET} {user} {n}") for user in ("ada", "bob", "cal") for n in range(4)])
    damage(file, change)
    with Store(file) as store:
        assert len(store.records("ada")) == 4
        others = store.other_records("ada", 20)
        assert [record.user for record in others].count("bob") == 2
        assert [record.user for record in others].count("cal") == 4
        assert f"of 'bob' in the store {file} {said}" in caplog.text, "which, and where"
        with pytest.raises(StorageError, match=said) as caught:
            store.records("bob")
        for shown in (str(caught.value), caplog.text, "".join(traceback.format_exception(caught.value))):
            assert "marmalade" not in shown
        assert len(store.records("bob", skip_damaged=True)) == 2
        # Nothing is lost, and it can all be removed.
        assert store.users()[1].records == 4
        assert store.remove("bob").records == 4


def test_a_damaged_write_ahead_log_is_refused_and_left_as_it_is(file: Path, tmp_path: Path) -> None:
    with Store(file) as store:
        store.save(profile())
    log = Path(f"{file}-wal")
    for content in (b"garbage" * 1_000, os.urandom(4_096), b"\x37\x7f\x06\x82" + bytes(4_092)):
        log.write_bytes(content)
        with pytest.raises(StorageError, match=f"{log.name} is damaged"):
            Store(file)
        assert log.read_bytes() == content
    log.unlink()
    with Store(file) as store:
        assert store.load("ada") == profile()


def test_a_write_ahead_log_that_a_kill_left_is_read(file: Path) -> None:
    code = (
        "import os, sys\nfrom hyperalign.store import Store\nfrom hyperalign.records import Sample\n"
        "store = Store(sys.argv[1])\nstore.add_records([Sample(user='ada', text='It was the last.')])\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False).returncode == -9
    assert Path(f"{file}-wal").stat().st_size
    with Store(file) as store:
        assert [record.text for record in store.records("ada") if isinstance(record, Sample)] == ["It was the last."]


def test_a_write_ahead_log_that_was_cut_to_nothing_is_said(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Store(file) as store:
        store.save(profile())
        with Store(file) as beside:
            assert beside.load("ada") == profile()
    assert not caplog.text
    Path(f"{file}-wal").write_bytes(b"")
    with Store(file) as store:
        assert store.load("ada") == profile()
    assert f"{file}-wal is empty" in caplog.text


def test_a_log_cut_to_nothing_beside_its_index_is_said(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Store(file) as store:
        store.save(profile())
    code = (
        "import os, sys\nfrom hyperalign.store import Store\nfrom hyperalign.records import Sample\n"
        "store = Store(sys.argv[1])\nstore.add_records([Sample(user='ada', text='It was the last.')])\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=False)
    assert Path(f"{file}-shm").exists()
    Path(f"{file}-wal").write_bytes(b"")
    with Store(file) as store:
        assert store.load("ada") == profile()
    assert f"{file}-wal is empty" in caplog.text
    caplog.clear()
    with Store(file):
        pass
    assert not caplog.text, "it is said once"
