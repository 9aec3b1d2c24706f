"""Many people in one run: each is fitted once, whatever ends it, and one person's error is no one else's."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hyperalign.budget import Budget, Usage
from hyperalign.errors import BudgetExceededError, ModelError
from tests.fixtures.scripted_server import Recorded, ScriptedServer, Step, error, reply
from tests.hyperalign.cli.conftest import Run, run
from tests.hyperalign.cli.forked import command, context

from .crowd import arguments, profiles, said, versions, write

__all__ = ["run"]  # the fixture

PEOPLE = 6


@pytest.fixture(autouse=True)
def endpoint(scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """Answers everybody's questions."""
    monkeypatch.setenv("HYPERALIGN_REDACT", "0")
    scripted_server.default = reply(said)
    return scripted_server


def asked(server: ScriptedServer) -> int:
    return sum(bool(request.body) for request in server.requests)


def test_everybody_is_fitted_once_and_a_second_run_asks_nothing(
    run: Run, tmp_path: Path, endpoint: ScriptedServer
) -> None:
    path = write(tmp_path, PEOPLE)
    first = run(*arguments(path, endpoint.url), "--json")
    assert first.code == 0, first.err
    found = json.loads(first.out)
    assert (found["people"], found["fitted"], found["failed"]) == (PEOPLE, PEOPLE, 0)
    calls = asked(endpoint)
    assert found["usage"]["calls"] == calls > 10 * PEOPLE
    assert versions() == dict.fromkeys(profiles(), 1)
    lines = [json.loads(line) for line in (Path(found["run"]) / "people.jsonl").read_text().splitlines()]
    assert {line["user"]: line["records"] for line in lines} == dict.fromkeys(versions(), 4)
    assert all(line["state"] == "done" and line["version"] == 1 and line["seconds"] > 0 for line in lines)
    again = run(*arguments(path, endpoint.url))
    assert again.code == 0, again.err
    assert asked(endpoint) == calls
    assert set(versions().values()) == {1}
    # The table: people, statements a person, picks held out, calls.
    assert " 6 " in again.out and f" {calls} " in again.out and "% of" in again.out


def test_another_run_knows_who_is_done_from_the_store(run: Run, tmp_path: Path, endpoint: ScriptedServer) -> None:
    path = write(tmp_path, 3)
    assert run(*arguments(path, endpoint.url)).code == 0
    calls = asked(endpoint)
    # A file with more people is another run; only the new one is fitted.
    write(tmp_path, 4)
    more = json.loads(run(*arguments(path, endpoint.url), "--json").out)
    assert (more["people"], more["fitted"], more["fitted_before"]) == (4, 1, 3)
    assert versions() == {"p000": 1, "p001": 1, "p002": 1, "p003": 1}
    assert 0 < asked(endpoint) - calls < calls


def test_a_person_has_the_profile_of_a_fit_alone(run: Run, tmp_path: Path, endpoint: ScriptedServer) -> None:
    path, others = write(tmp_path, 3), write(tmp_path / "others", 9)
    options = ["--population", str(others)]
    assert run(*arguments(path, endpoint.url), *options).code == 0
    everybody = profiles()
    alone = tmp_path / "alone.sqlite"
    fit = [each for each in arguments(path, endpoint.url) if each != "--all-users"]
    assert run(*fit, *options, "--user", "p001", "--store", alone).code == 0
    assert profiles(alone)["p001"] == everybody["p001"]


def test_an_error_of_one_is_listed_and_tried_again(run: Run, tmp_path: Path, endpoint: ScriptedServer) -> None:
    path = write(tmp_path, PEOPLE)
    with path.open("a") as file:
        file.write(
            "".join(json.dumps({"user": "zoe", "text": f"Zoe tells of zinnias, time {n}."}) + "\n" for n in range(4))
        )
    broken = error(401, "Not today.")

    def answer(handler: Any, request: Recorded) -> None:
        (broken if "zinnias" in request.prompt and is_down else reply(said)).action(handler, request)

    is_down = True
    endpoint.default = Step("answer", answer)
    options = ["--population", str(write(tmp_path / "others", 9))]
    first = run(*arguments(path, endpoint.url), *options)
    assert first.code == 1
    assert "1 failed (zoe)" in first.err and "tries them again" in first.err
    assert "Traceback" not in first.err
    assert versions() == {**{f"p{n:03}": 1 for n in range(PEOPLE)}, "zoe": 0}
    is_down = False
    second = run(*arguments(path, endpoint.url), *options)
    assert second.code == 0, second.err
    assert set(versions().values()) == {1}


def test_an_endpoint_that_is_down_ends_the_run_soon(run: Run, tmp_path: Path, endpoint: ScriptedServer) -> None:
    endpoint.default = error(401, "Bad key.")
    path = write(tmp_path, 40)
    done = run(*arguments(path, endpoint.url), "--concurrency", "2")
    done.refused(5, "people in a row failed in the same way", "The same command")
    (people,) = (tmp_path / "data").rglob("people.jsonl") if (tmp_path / "data").exists() else _found(tmp_path)
    assert 10 <= len(people.read_text().splitlines()) < 15
    endpoint.default = reply(said)


def _found(folder: Path) -> list[Path]:
    return list(Path(os.environ["HYPERALIGN_DATA"]).rglob("people.jsonl")) or list(folder.rglob("people.jsonl"))


def test_calls_of_all_people_share_one_limit(run: Run, tmp_path: Path, endpoint: ScriptedServer) -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def answer(handler: Any, request: Recorded) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        reply(said).action(handler, request)

    endpoint.default = Step("answer", answer)
    assert run(*arguments(write(tmp_path, PEOPLE), endpoint.url), "--concurrency", "5").code == 0
    assert most == 5


def undisturbed(run: Run, folder: Path, given: list[str], endpoint: ScriptedServer) -> int:
    """How many calls a run takes that nothing ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPERALIGN_DATA", str(folder / "whole"))
        done = run(*given)
        assert done.code == 0, done.err
    calls = asked(endpoint)
    endpoint.requests.clear()
    return calls


def test_a_cap_is_for_all_together(run: Run, tmp_path: Path, endpoint: ScriptedServer) -> None:
    path = write(tmp_path, PEOPLE)
    whole = undisturbed(run, tmp_path, arguments(path, endpoint.url), endpoint)
    capped = run(*arguments(path, endpoint.url), "--max-calls", "40")
    assert capped.code == 6, capped.err
    # A request that counts already, and waits for its turn to be sent when the next one is refused, is not sent.
    assert 36 <= asked(endpoint) <= 40
    rest = run(*arguments(path, endpoint.url))
    assert rest.code == 0, rest.err
    assert set(versions().values()) == {1}
    # What was paid before the cap was not asked again.
    assert asked(endpoint) == whole


@pytest.mark.timeout(300)
def test_kills_lose_nobody_and_fit_nobody_twice(tmp_path: Path, endpoint: ScriptedServer) -> None:
    endpoint.default = reply(said, delay=0.03)
    path, made = write(tmp_path, 12), context()
    given = [*arguments(path, endpoint.url), "--concurrency", "8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPERALIGN_DATA", str(tmp_path / "whole"))
        command(made, tmp_path, *given).join(120)
    whole = asked(endpoint)
    endpoint.requests.clear()
    seed = random.randrange(10**6)
    draw, killed = random.Random(seed), 0
    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGKILL):
        before, after = asked(endpoint), draw.randrange(80)
        running = command(made, tmp_path, *given)
        while running.is_alive() and asked(endpoint) < before + after:
            time.sleep(0.005)
        if running.is_alive() and running.pid is not None:
            os.kill(running.pid, how)
            killed += 1
        running.join(60)
    running = command(made, tmp_path, *given)
    running.join(120)
    assert running.exitcode == 0, (tmp_path / "out.txt").read_text()[-2000:]
    assert killed, f"seed {seed}"
    assert versions() == {f"p{number:03}": 1 for number in range(12)}, f"seed {seed}"
    # Only calls that a kill cut off are asked twice: at most as many as were under way.
    assert whole <= asked(endpoint) <= whole + 8 * killed, f"seed {seed}"
    runs = Path(os.environ["HYPERALIGN_DATA"]) / "runs"
    assert [folder.name[:7] for folder in runs.iterdir()] == ["fit-all"]


def test_whom_the_store_refuses_is_no_one_elses_fault(run: Run, tmp_path: Path, endpoint: ScriptedServer) -> None:
    path = write(tmp_path, 2)
    with path.open("a") as file:
        file.write(json.dumps({"user": "P000", "text": "The same letters, another size."}) + "\n")
    done = run(*arguments(path, endpoint.url), "--no-statements", "--json")
    found = json.loads(done.out)
    assert done.code == 1
    assert found["fitted"] == 2
    assert [each["user"] for each in found["failures"]] == ["P000"]
    assert "looks like" in found["failures"][0]["error"]


def test_a_dry_run_estimates_for_all(run: Run, tmp_path: Path, endpoint: ScriptedServer) -> None:
    done = run(*arguments(write(tmp_path, PEOPLE), endpoint.url), "--dry-run", "--json")
    expected = json.loads(done.out)["all"]["calls"]
    assert not endpoint.requests or not asked(endpoint)
    assert not versions()
    assert run(*arguments(write(tmp_path, PEOPLE), endpoint.url)).code == 0
    assert expected / 2 < asked(endpoint) < expected * 2


@pytest.mark.parametrize("option", [["--user", "ada"], ["--about", "I walk."], ["--out", "a.json"]])
def test_options_for_one_person_are_refused(run: Run, tmp_path: Path, option: list[str]) -> None:
    run("fit", write(tmp_path, 2), "--all-users", *option).refused(3, option[0])


def test_nobody_is_refused(run: Run) -> None:
    run("fit", "--all-users", "--no-statements", "--encoder", "none").refused(4, "nobody")


def test_a_part_of_a_budget_holds_the_caps_of_the_whole() -> None:
    whole = Budget(max_calls=3)
    first, second = Budget(within=whole), Budget(within=whole, max_calls=1)
    with first.call():
        first.add(Usage(calls=1, tokens_in=5), step="a")
    with second.call():
        second.add(Usage(calls=1), step="a")
    with pytest.raises(BudgetExceededError), second.call():
        pass
    with first.call(), pytest.raises(BudgetExceededError), first.call():
        pass
    assert (first.spent.calls, second.spent.calls, whole.spent) == (1, 1, Usage(calls=2, tokens_in=5))
    assert ModelError.exit_code == 5
