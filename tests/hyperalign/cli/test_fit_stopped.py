"""``hyperalign fit``, stopped by a budget, a full disk, Ctrl-C or a kill, goes on; two at once are safe."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperalign.programs.fit_result import Memory
from hyperalign.store import Store
from tests.fixtures.disk import small_disk
from tests.fixtures.scripted_server import ScriptedServer, hang, reply

from .conftest import Done, Run, Start
from .letters import all_a, records, saved, write


def test_a_budget_stops_and_a_higher_one_goes_on(
    run: Run, options: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    files = write(tmp_path, "a.txt", "b.txt", "c.txt")
    options = [*options, "--concurrency", "1"]
    run("fit", *files, "--user", "ada", *options, "--max-calls", "1").refused(
        6, "The budget of 1 calls is used up", "--max-calls"
    )
    assert len(scripted_server.requests) == 1
    run("fit", *files, "--user", "ada", *options, "--max-calls", "8").refused(6, "budget of 8 calls")
    assert len(scripted_server.requests) == 9, "what is replayed costs nothing"
    assert run("fit", *files, "--user", "ada", *options).code == 0
    assert_no_request_twice(scripted_server)


def assert_no_request_twice(server: ScriptedServer, *, but: int = 0) -> None:
    """No request came in twice, but for those that were cut off unanswered."""
    counts = Counter(json.dumps(request.body, sort_keys=True) for request in server.requests)
    assert sum(counts.values()) - len(counts) == but


# Full disks


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KB."""
    with small_disk(tmp_path / "small", "512k") as place:
        yield place


def test_a_disk_that_fills_up_and_is_freed_again(
    run: Run,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scripted_server: ScriptedServer,
    full_disk: Path,
) -> None:
    monkeypatch.setenv("HYPERALIGN_DATA", str(full_disk))
    files = write(tmp_path, "a.txt", "b.txt")
    assert run("fit", *files, "--user", "ada", *options, "--max-calls", "2").code == 6
    ballast = full_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    done = run("fit", *files, "--user", "ada", *options)
    done.refused(7)
    assert "space" in done.err or "full" in done.err
    ballast.unlink()
    before = len(scripted_server.requests)
    assert run("fit", *files, "--user", "ada", *options).code == 0
    assert before >= 2
    assert saved() == [1]


def test_a_disk_that_is_full_from_the_start(
    run: Run, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_disk: Path
) -> None:
    monkeypatch.setenv("HYPERALIGN_DATA", str(full_disk))
    (full_disk / "ballast").write_bytes(bytes(4096))
    with (full_disk / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    done = run("fit", *write(tmp_path, "a.txt"), "--user", "ada", *options)
    done.refused(7)
    assert "full" in done.err or "space" in done.err


# Kills, and two at once


def killed_in_the_middle(process: Start, server: ScriptedServer, arguments: list[str], how: signal.Signals) -> Done:
    """Start a run, let the server fall silent after its 11th answer, and kill it while all later calls hang."""
    server.script(*[reply(all_a)] * 11)
    server.default = hang(60)
    running = process(*arguments)
    deadline = time.monotonic() + 60
    while len(server.requests) < 15 and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    running.send_signal(how)
    out, err = running.communicate(timeout=30)
    return Done(running.returncode, out, err)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_goes_on(
    process: Start, run: Run, options: list[str], tmp_path: Path, scripted_server: ScriptedServer, how: signal.Signals
) -> None:
    arguments = ["fit", *map(str, write(tmp_path, "a.txt", "b.txt", "c.txt")), "--user", "ada", *options]
    done = killed_in_the_middle(process, scripted_server, [*arguments, "--concurrency", "4"], how)
    assert len(scripted_server.requests) == 15, "four at once"
    if how is signal.SIGINT:
        assert done.code == 130
        assert "Interrupted. What is done is saved" in done.err
        assert "Traceback" not in done.err
    else:
        assert done.code == -signal.SIGKILL
    assert records() == 3
    (folder,) = (tmp_path / "hyperalign" / "data" / "runs").iterdir()
    assert len((folder / "calls.jsonl").read_text().splitlines()) == 11
    scripted_server.default = reply(all_a)
    again = run(*arguments)
    assert again.code == 0, again.err
    assert "Going on with the run in" in again.err
    # Only the requests that were never answered come again.
    assert_no_request_twice(scripted_server, but=4)
    assert saved() == [1]


def test_two_at_once_on_one_store(process: Start, options: list[str], tmp_path: Path) -> None:
    files = write(tmp_path, "a.txt", "b.txt", "c.txt")
    both = [process("fit", *files[:count], "--user", "ada", *options) for count in (2, 3)]
    ended = [(running.communicate(timeout=120), running.returncode) for running in both]
    assert [code for _, code in ended] == [0, 0], ended
    # The first may see the third text, too: then both are the same fit, and made once.
    assert saved() in ([1], [1, 2])
    assert records() == 3


def test_eight_identical_fits_at_once_are_made_once(
    process: Start, options: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    scripted_server.default = reply(all_a, delay=0.05)
    files = write(tmp_path, "a.txt", "b.txt", "c.txt")
    running = [process("fit", *files, "--user", "ada", *options) for _ in range(8)]
    ended = [(each.communicate(timeout=300), each.returncode) for each in running]
    assert [code for _, code in ended] == [0] * 8, ended
    assert_no_request_twice(scripted_server)
    assert saved() == [1]
    assert all("Saved as version 1 of ada" in out for (out, _), _ in ended)
    (folder,) = (tmp_path / "hyperalign" / "data" / "runs").glob("fit-*")
    cost = json.loads((folder / "cost.json").read_text())
    assert sum(step["calls"] for step in cost.values()) == len(scripted_server.requests)


def test_four_updates_at_once_lose_none(
    process: Start, run: Run, options: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    texts = [
        "Dear Sue, the jars are full!",
        "Dear Max, how kind you are!",
        "Dear Lou, do write!",
        "Dear Eve, come soon!",
    ]
    assert run("fit", *write(tmp_path, "a.txt", "b.txt", "c.txt"), "--user", "ada", *options).code == 0
    scripted_server.default = reply(all_a, delay=0.05)
    for number, text in enumerate(texts):
        (tmp_path / f"new{number}.txt").write_text(text)
    running = [process("update", f"new{number}.txt", "--user", "ada", *options) for number in range(len(texts))]
    ended = [(each.communicate(timeout=300), each.returncode) for each in running]
    assert [code for _, code in ended] == [0] * 4, ended
    assert records() == 7
    with Store() as store:
        known = Memory.from_json(store.memory("ada") or "", where="the store").known
        assert known == {record.id for record in store.records("ada")}, "each was read, and none twice"
    assert_no_request_twice(scripted_server)


def test_the_cost_is_that_of_all_sittings(
    run: Run, options: list[str], tmp_path: Path, scripted_server: ScriptedServer
) -> None:
    files = write(tmp_path, "a.txt", "b.txt", "c.txt")
    for calls in ("2", "3"):
        assert run("fit", *files, "--user", "ada", *options, "--max-calls", calls).code == 6
    assert run("fit", *files, "--user", "ada", *options).code == 0
    (folder,) = (tmp_path / "hyperalign" / "data" / "runs").glob("fit-*")
    cost = json.loads((folder / "cost.json").read_text())
    assert sum(step["calls"] for step in cost.values()) == len(scripted_server.requests)
    assert sum(step["tokens_in"] for step in cost.values()) == 10 * len(scripted_server.requests)
