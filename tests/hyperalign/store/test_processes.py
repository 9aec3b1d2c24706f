"""Several processes write to one store, and one is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hyperalign.store import Store
from hyperalign.store.people import Entry
from tests.hyperalign.example_people import profile

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


def test_somebody_whom_another_process_makes_meanwhile_is_the_same_person(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not place.startswith("postgresql"):
        pytest.skip("in SQLite a transaction that writes is alone")
    make, made = Entry.of, list[str]()

    def meanwhile(user: str) -> Entry:
        if not made:
            made.append(user)
            with Store(place) as other:
                other.save(profile("ada"), "theirs")
        return make(user)

    monkeypatch.setattr(Entry, "of", meanwhile)
    with Store(place) as store:
        store.save(profile("ada"), "mine")
        assert [version.note for version in store.history("ada")] == ["theirs", "mine"]


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
