"""The same on a real Ray, on this machine: the same profiles, and nobody lost with a worker that is killed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from hyperalign.backends.batch.people import FitSettings
from hyperalign.backends.batch.ray_engine import fit_with_ray, open_cluster
from hyperalign.backends.batch.run import PersonResult, add_people
from hyperalign.budget import Budget, Usage
from hyperalign.errors import BudgetExceededError, InputError
from hyperalign.ingest import read_everyone
from hyperalign.store import Store
from tests.fixtures.scripted_server import ScriptedServer, reply
from tests.hyperalign.cli.conftest import Run, run

from .crowd import arguments, profiles, said, versions, write

__all__ = ["run"]  # the fixture

pytest.importorskip("ray", reason="the 'ray' extra is not installed")
pytestmark = [
    pytest.mark.timeout(300),
    # Ray's own, about its subprocesses and its settings.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_REDACT", "0")


def test_profiles_are_those_of_one_process(run: Run, tmp_path: Path, scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(said)
    path = write(tmp_path, 4)
    given = arguments(path, scripted_server.url)
    on_ray = run(*given, "--engine", "ray", "--workers", "2", "--json")
    assert on_ray.code == 0, on_ray.err
    # Ray itself says nothing to who runs the command.
    assert "ray" not in on_ray.err.lower()
    found = json.loads(on_ray.out)
    assert (found["fitted"], found["failed"]) == (4, 0)
    assert set(versions().values()) == {1}
    calls = sum(bool(request.body) for request in scripted_server.requests)
    assert found["usage"]["calls"] == calls > 40
    here = tmp_path / "here.sqlite"
    assert run(*given, "--store", here).code == 0
    assert profiles() == profiles(here)


def test_a_killed_worker_loses_nobody(tmp_path: Path) -> None:
    came, killed = list[PersonResult](), list[int]()
    with Store() as store:
        read = list(add_people(store, read_everyone([write(tmp_path, 12)])))
    with open_cluster(workers=2) as cluster:

        def keep(result: PersonResult) -> None:
            came.append(result)
            if len(came) == 3:
                killed.extend(_workers())
                os.kill(killed[0], signal.SIGKILL)

        settings = FitSettings(statements=False, population="nobody")
        users = iter([each.user for each in read])
        fit_with_ray(cluster, settings, 2, Budget())(users, keep)
        assert killed
        assert sorted(result.user for result in came) == sorted(each.user for each in read)
        assert all(result.state == "done" for result in came), came
        assert set(versions().values()) == {1}
        # A cap is looked at between people.
        spent = Budget(max_calls=1)
        spent.add(Usage(calls=1))
        with pytest.raises(BudgetExceededError):
            fit_with_ray(cluster, settings, 2, spent)(iter(["p000"]), keep)


def _workers() -> list[int]:
    """Processes of this test's workers."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = os.environ["HYPERALIGN_DATA"].encode() in (folder / "environ").read_bytes()
            if is_ours and (folder / "cmdline").read_bytes().startswith(b"ray::_Worker"):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def test_no_cluster_and_no_worker_are_said() -> None:
    with pytest.raises(InputError, match="0 workers"), open_cluster(workers=0):
        pass
    with Store() as store:
        assert not store.users()
