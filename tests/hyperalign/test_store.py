"""The store, on a real SQLite file and on a real PostgreSQL server."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text

from hyperalign.errors import (
    InputError,
    MissingExtraError,
    NotFoundError,
    ProfileError,
    RecordError,
    StorageError,
    UserIdError,
)
from hyperalign.files import data_folder
from hyperalign.profile import Profile
from hyperalign.records import Sample
from hyperalign.store import Bundle, Person, Store, StoreLike

from ..fixtures.postgres import postgres
from .people import LETTER, RECORDS, profile

SECRET = b"marmalade"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place for a store: a path, or the URL of a fresh database."""
    if request.param == "sqlite":
        return str(tmp_path / "people" / "store.sqlite")
    url: str = request.getfixturevalue("server")
    name = f"t{uuid.uuid4().hex}"
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.replace("/postgres?", f"/{name}?")


@pytest.fixture
def store(place: str) -> Iterator[Store]:
    with Store(place) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a SQLite store will be."""
    return tmp_path / "people" / "store.sqlite"


def sample(user: str, words: str) -> Sample:
    return Sample(user=user, text=words)


# Records


def test_records_come_back_as_they_were_in_order(store: Store) -> None:
    odd = Sample(user="ada", text="a NUL \0, an emoji 🎉, 'quotes', %s and :name")
    assert store.add_records([*RECORDS, odd]) == 4
    assert store.records("ada") == [*RECORDS, odd]
    assert store.records("nobody") == []


def test_the_same_record_is_kept_once(store: Store) -> None:
    assert store.add_records([LETTER, LETTER]) == 1
    assert store.add_records(RECORDS) == 2
    assert store.records("ada") == RECORDS


def test_one_id_for_two_records_is_refused_and_nothing_is_added(store: Store) -> None:
    store.add_records([LETTER])
    clash = LETTER.model_copy(update={"text": "Something else entirely."})
    with pytest.raises(RecordError) as caught:
        store.add_records([sample("ada", "a new one"), clash])
    assert LETTER.id in caught.value.message
    assert store.records("ada") == [LETTER]
    with pytest.raises(RecordError):
        store.add_records([clash.model_copy(update={"user": "bob"}), LETTER.model_copy(update={"user": "bob"})])
    assert store.records("bob") == []


def test_two_people_may_use_one_id(store: Store) -> None:
    mine, yours = (Sample(user=user, id="1", text=f"the words of {user}") for user in ("ada", "bob"))
    assert store.add_records([mine, yours]) == 2
    assert (store.records("ada"), store.records("bob")) == ([mine], [yours])


def test_many_records_at_once(store: Store) -> None:
    many = [sample("ada", f"piece number {n}") for n in range(1500)]
    assert store.add_records(many) == 1500
    assert store.add_records([*many, sample("ada", "one more")]) == 1
    assert len(store.records("ada")) == 1501


def test_other_people_take_turns_in_a_fixed_order(store: Store) -> None:
    for user in ("cy", "ada", "bob"):
        store.add_records([sample(user, f"{user} {n}") for n in range(3)])
    texts = [r.text for r in store.other_records("ada", 4) if isinstance(r, Sample)]
    assert texts == ["bob 0", "cy 0", "bob 1", "cy 1"]
    assert store.other_records("ada", 4) == store.other_records("ada", 4)
    assert len(store.other_records("ada", 100)) == 6
    assert len(store.other_records("a stranger", 100)) == 9


# Profiles


def test_versions_are_appended_and_all_of_them_load(store: Store) -> None:
    second = profile().model_copy(update={"stated": ["Be brief."]})
    assert [store.save(profile(), "first"), store.save(second), store.save(profile("bob"))] == [1, 2, 1]
    assert store.load("ada") == second
    assert store.load("ada", 1) == profile()
    first, newest = store.history("ada")
    assert (first.number, first.note, first.kept, first.dropped) == (1, "first", 2, 6)
    assert first.time.utcoffset() is not None
    assert first.time <= newest.time


def test_everybody_is_listed_with_counts(store: Store) -> None:
    store.add_records(RECORDS)
    store.save(profile("bob"))
    store.save(profile("bob"))
    assert store.users() == [Person("ada", 3, 0), Person("bob", 0, 2)]


def test_what_is_not_there_is_said_with_a_suggestion(store: Store) -> None:
    store.save(profile("ada.lovelace"))
    store.add_records([sample("bob", "some words of his")])
    with pytest.raises(NotFoundError, match=r"Did you mean 'ada.lovelace'\?"):
        store.load("ada.lovelase")
    with pytest.raises(NotFoundError, match="no version 7"):
        store.load("ada.lovelace", 7)
    with pytest.raises(NotFoundError, match="hyperalign infer"):
        store.history("bob")
    with pytest.raises(NotFoundError, match="profile list"):
        store.export("zoe")
    with pytest.raises(NotFoundError):
        store.remove("zoe")


@pytest.mark.parametrize("method", ["load", "history", "export", "remove"])
def test_a_user_id_that_is_a_path_is_refused(store: Store, method: str) -> None:
    with pytest.raises(UserIdError):
        getattr(store, method)("../../etc/passwd")


def test_text_that_is_sql_stays_text(store: Store) -> None:
    evil = sample("ada", "'; DROP TABLE hyperalign_records; --")
    store.add_records([evil])
    store.save(profile(), "'); DELETE FROM hyperalign_versions; --")
    assert store.records("ada") == [evil]
    assert store.history("ada")[0].note.startswith("');")


def test_it_survives_being_closed(place: str) -> None:
    with Store(place) as first:
        first.add_records(RECORDS)
        first.save(profile())
    with Store(place) as second:
        assert second.records("ada") == RECORDS
        assert second.load("ada") == profile()


def test_it_is_what_the_seam_asks_for(store: Store) -> None:
    assert isinstance(store, StoreLike)


# Moving and removing


def test_a_bundle_moves_a_person_to_another_store(store: Store, tmp_path: Path) -> None:
    store.add_records(RECORDS)
    store.save(profile(), "first")
    store.save(profile())
    bundle = store.export("ada")
    assert Bundle.from_json(bundle.to_json()) == bundle
    with Store(tmp_path / "other.sqlite") as other:
        other.save(profile("bob"))
        assert other.add_bundle(bundle) == (3, 2)
        assert other.add_bundle(bundle) == (0, 0)
        assert other.export("ada") == bundle
    assert store.add_bundle(bundle) == (0, 0)


def test_a_bundle_is_appended_to_the_versions_that_are_there(store: Store, tmp_path: Path) -> None:
    with Store(tmp_path / "other.sqlite") as other:
        other.save(profile(), "elsewhere")
        bundle = other.export("ada")
    store.save(Profile(user="ada"), "here")
    assert store.add_bundle(bundle) == (0, 1)
    assert [v.note for v in store.history("ada")] == ["here", "elsewhere"]


def test_a_bundle_that_clashes_changes_nothing(store: Store, tmp_path: Path) -> None:
    store.add_records([LETTER])
    clash = LETTER.model_copy(update={"text": "Something else."})
    with Store(tmp_path / "other.sqlite") as other:
        other.add_records([sample("ada", "a new one"), clash])
        other.save(profile())
        bundle = other.export("ada")
    with pytest.raises(RecordError):
        store.add_bundle(bundle)
    assert store.users() == [Person("ada", 1, 0)]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"user": "ada", "records": [{"user": "bob", "text": "his"}]}'])
def test_what_is_no_bundle_is_refused(content: str) -> None:
    with pytest.raises(InputError) as caught:
        Bundle.from_json(content, where="x.json")
    assert caught.value.message.startswith("x.json: ")


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
        with event_busy_for(store, 50):
            assert store.remove("ada").traces_left
        reader.close()
        assert store.scrub()
        assert not any(SECRET in f.read_bytes() for f in file.parent.iterdir())


class event_busy_for:  # noqa: N801 - reads as a verb
    """Wait less long for locks, so that a test needn't."""

    def __init__(self, store: Store, milliseconds: int) -> None:
        self.store, self.milliseconds = store, milliseconds

    def __enter__(self) -> None:
        self._set(self.milliseconds)

    def __exit__(self, *_: object) -> None:
        self._set(10_000)

    def _set(self, milliseconds: int) -> None:
        with self.store._engine.begin() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {milliseconds}")


# Two processes at once

_WRITER = """
import sys, time
from hyperalign.store import Store
from hyperalign.profile import Profile
from hyperalign.records import Sample
place, name, start = sys.argv[1], sys.argv[2], float(sys.argv[3])
time.sleep(max(0, start - time.time()))
with Store(place) as store:
    for n in range(15):
        store.save(Profile(user="ada", stated=[f"{name} {n}"]), name)
        store.add_records([Sample(user="ada", text=f"shared piece {n}"), Sample(user="ada", text=f"{name} piece {n}")])
"""


def test_processes_at_once_lose_nothing(place: str) -> None:
    import time

    names = ["one", "two", "three"]
    # All begin together, with a store that none of them has made yet.
    start = str(time.time() + 3)
    running = [
        subprocess.Popen([sys.executable, "-c", _WRITER, place, name, start], stderr=subprocess.PIPE, text=True)
        for name in names
    ]
    said = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    with Store(place) as store:
        versions = store.history("ada")
        assert [v.number for v in versions] == list(range(1, 46))
        for name in names:
            mine = [store.load("ada", v.number).stated[0] for v in versions if v.note == name]
            assert mine == [f"{name} {n}" for n in range(15)]
        assert len(store.records("ada")) == 15 + 3 * 15


def test_a_killed_writer_leaves_the_last_whole_version(file: Path) -> None:
    code = (
        "import sys, os, signal\nfrom hyperalign.store import Store\nfrom hyperalign.profile import Profile\n"
        "store = Store(sys.argv[1]); store.save(Profile(user='ada'), 'whole')\n"
        "connection = store._writer.connect(); transaction = connection.begin()\n"
        "connection.exec_driver_sql(\"UPDATE hyperalign_versions SET note = 'torn'\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], check=False, timeout=60)
    assert done.returncode == -9
    with Store(file) as store:
        assert [v.note for v in store.history("ada")] == ["whole"]
        assert store.save(profile()) == 2


# Where it is, and who may read it


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


# Faults


def refused(place: str | Path) -> StorageError:
    with pytest.raises(StorageError) as caught:
        Store(place)
    assert caught.value.exit_code == 7
    assert caught.value.remedy
    return caught.value


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "letters.txt"
    path.write_text("These are only words, and many of them. " * 50)
    assert "no database" in refused(path).message
    assert path.read_text().startswith("These are only words")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    assert "could not be opened" in refused(tmp_path).message


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
        with event_busy_for(store, 50), pytest.raises(StorageError, match="locked by another process"):
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


@pytest.mark.parametrize(("version", "remedy"), [("2", "Upgrade"), ("0", "import"), ("x", "import")])
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


def test_a_store_on_a_full_filesystem(tmp_path: Path) -> None:
    """A real, tiny filesystem where this machine lets us mount one."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small filesystem needs root")
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small filesystem")
    try:
        with Store(folder / "store.sqlite") as store:
            store.save(profile())
            with pytest.raises(StorageError, match="disk"):
                for number in itertools.count():
                    store.add_records([sample("ada", f"{number} " + "words " * 5000)])
            assert store.load("ada") == profile()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
