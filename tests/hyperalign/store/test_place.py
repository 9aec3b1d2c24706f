"""Where a store is, and who may read it."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hyperalign.files import data_folder
from hyperalign.store import Store
from tests.hyperalign.example_people import RECORDS, profile


def test_by_default_it_is_in_the_data_folder_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_DATA", str(tmp_path / "fresh" / "data"))
    with Store() as store:
        store.save(profile())
        files = list(data_folder().iterdir())
        assert {f.name for f in files} >= {"store.sqlite", "store.sqlite-wal"}
        assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}
        assert store.name == str(data_folder() / "store.sqlite")
    assert stat.S_IMODE(data_folder().stat().st_mode) == 0o700


def test_a_url_of_sqlite_is_the_same_as_its_path(file: Path) -> None:
    with Store(f"sqlite:///{file}") as store:
        store.save(profile())
    with Store(file) as store:
        assert store.load("ada") == profile()


def test_a_store_in_memory() -> None:
    with Store("sqlite://") as store:
        store.add_records(RECORDS)
        assert store.records("ada") == RECORDS


def test_importing_hyperalign_does_not_load_the_database() -> None:
    code = "import sys, hyperalign, hyperalign.store, hyperalign.cli.profile; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
