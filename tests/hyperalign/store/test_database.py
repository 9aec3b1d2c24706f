"""Places that cannot be opened: the error names what is wrong and keeps the password."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hyperalign.errors import InputError, MissingExtraError
from hyperalign.store import Store
from tests.hyperalign.example_people import profile
from tests.hyperalign.store.helpers import refused


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "letters.txt"
    path.write_text("These are only words, and many of them. " * 50)
    assert "no database" in refused(path).message
    assert path.read_text().startswith("These are only words")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    assert "could not be opened" in refused(tmp_path).message


@pytest.mark.parametrize(("version", "remedy"), [("3", "Upgrade"), ("1", "import"), ("x", "import")])
def test_tables_of_another_version_are_left_alone(place: str, version: str, remedy: str) -> None:
    with Store(place) as store:
        store.save(profile())
        with store._writer.begin() as connection:
            connection.exec_driver_sql(f"UPDATE hyperalign_meta SET value = '{version}'")
    error = refused(place)
    assert f"version {version}" in error.message
    assert remedy in error.remedy


def test_a_server_that_does_not_answer_keeps_the_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="the 'postgres' extra is not installed")
    for place in (
        "postgresql://ada:s3cret@127.0.0.1:1/people",
        f"postgres://ada@/people?host={tmp_path}&password=s3cret",
    ):
        error = refused(place)
        assert "did not answer" in error.message
        assert "s3cret" not in str(error)


def test_a_database_that_is_not_there(server: str) -> None:
    assert "does not exist" in refused(server.replace("/postgres?", "/missing?")).message


@pytest.mark.parametrize("place", ["://", "nonsense://host/x", "postgresql://u:s3cret@h:port/x"])
def test_addresses_that_are_none(place: str) -> None:
    with pytest.raises(InputError) as caught:
        Store(place)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cret" not in str(caught.value.__cause__)


def test_without_its_driver_postgresql_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"hyperalign\[postgres\]"):
        Store("postgresql://127.0.0.1:1/people")
