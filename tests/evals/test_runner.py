"""Cases run once each, whatever stops the run, and an error is never a score."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dspy
import pytest

from hyperalign.errors import BudgetExceededError, MissingKeyError, ModelServerError, StorageError
from hyperalign.evals.cases import Case
from hyperalign.evals.runner import run_cases
from tests.fixtures.scripted_server import ScriptedServer, reply

CASES = [
    Case(id=f"c{i}", user=f"u{i % 5}", cluster=f"u{i % 5}", prompt=f"Question {i}?", records=()) for i in range(40)
]

# Imports take seconds: one process imports, and each run is a fork of it. It prints its child, and how that ended.
SCRIPT = """
import json
import os
import sys
from pathlib import Path
from urllib.request import Request, urlopen
from hyperalign.evals.cases import Case
from hyperalign.evals.runner import run_cases
cases = [Case(f"c{i}", f"u{i % 5}", f"u{i % 5}", f"Question {i}?", ()) for i in range(40)]
def solve(case):
    asked = {"model": "m", "messages": [{"role": "user", "content": case.prompt}]}
    headers = {"Content-Type": "application/json"}
    request = Request(sys.argv[1] + "/v1/chat/completions", json.dumps(asked).encode(), headers)
    answer = json.load(urlopen(request, timeout=30))
    return {"answer": answer["choices"][0]["message"]["content"]}
for _ in sys.stdin:
    child = os.fork()
    if not child:
        run_cases(cases, solve, Path(sys.argv[2]), concurrency=4)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_case_is_run_once_and_given_back_in_order(tmp_path: Path) -> None:
    path, ran, told = tmp_path / "cases.jsonl", [], []
    outcomes = run_cases(
        CASES,
        lambda case: ran.append(case.id) or {"x": 1},  # type: ignore[func-returns-value]
        path,
        progress=lambda *said: told.append(said),
    )
    assert [outcome.case for outcome in outcomes] == [case.id for case in CASES]
    assert sorted(ran) == sorted(case.id for case in CASES)
    assert len(lines(path)) == 40
    assert told[-1] == ("cases", 40, 40)
    again = run_cases(CASES, lambda case: ran.append(case.id) or {}, path)  # type: ignore[func-returns-value]
    assert list(again) == list(outcomes)
    assert list(outcomes[1:3]) == [outcomes[1], outcomes[2]]
    assert outcomes[-1].case == CASES[-1].id
    assert len(ran) == 40, "nothing is run again"


def test_an_error_has_no_score_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"

    def fails(case: Case) -> dict[str, Any]:
        if case.id == "c3":
            raise ModelServerError("It hung up.")
        return {"x": 1}

    first = {outcome.case: outcome for outcome in run_cases(CASES[:5], fails, path)}
    assert first["c3"].error == "ModelServerError: It hung up."
    assert first["c3"].result == {}
    again = {outcome.case: outcome for outcome in run_cases(CASES[:5], lambda case: {"x": 2}, path)}
    assert again["c3"].result == {"x": 2}
    assert not again["c3"].error
    assert again["c1"].result == {"x": 1}


def test_a_mistake_of_ours_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_cases(CASES[:3], lambda case: {"x": 1 / 0}, tmp_path / "cases.jsonl")


@pytest.mark.parametrize("error", [BudgetExceededError("Enough."), MissingKeyError("No key."), StorageError("Full.")])
def test_what_would_stop_every_case_ends_the_run(tmp_path: Path, error: Exception) -> None:
    def work(case: Case) -> dict[str, Any]:
        if case.id == "c7":
            raise error
        return {}

    with pytest.raises(type(error)):
        run_cases(CASES, work, tmp_path / "cases.jsonl", concurrency=2)
    kept = lines(tmp_path / "cases.jsonl")
    assert 0 < len(kept) < 40
    assert not any(entry["error"] for entry in kept)


def test_cases_run_side_by_side_with_the_caller_s_settings(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=10)

    def work(case: Case) -> dict[str, Any]:
        together.wait()
        return {"note": dspy.settings.note}

    with dspy.context(note="mine"):
        outcomes = run_cases(CASES[:4], work, tmp_path / "cases.jsonl", concurrency=4)
    assert [outcome.result for outcome in outcomes] == [{"note": "mine"}] * 4


def test_lines_that_are_no_outcome_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text('[1]\n{"nonsense": 1}\n{"case": "c0", "user": "u0", "clus')
    (outcome,) = run_cases(CASES[:1], lambda case: {"x": 1}, path)
    assert outcome.result == {"x": 1}
    assert json.loads(path.read_text().splitlines()[-1])["case"] == "c0"


@pytest.mark.timeout(300)
def test_killed_at_random_moments_it_equals_an_undisturbed_run(tmp_path: Path, scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(lambda request: f"Answer to {request.messages[-1]['content']}", delay=0.1)
    draw = random.Random(5)
    path = tmp_path / "cases.jsonl"
    command = [sys.executable, "-c", SCRIPT, scripted_server.url, str(path)]
    codes: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as runs:
        assert runs.stdin
        assert runs.stdout
        for disturbed in [True] * 20 + [False]:
            before = len(scripted_server.requests)
            runs.stdin.write("run\n")
            runs.stdin.flush()
            child = int(runs.stdout.readline())
            if disturbed:
                with contextlib.suppress(ProcessLookupError):
                    # The clock of a random moment starts with the first request.
                    while len(scripted_server.requests) == before:
                        os.kill(child, 0)
                        time.sleep(0.01)
                    time.sleep(draw.uniform(0, 0.2))
                    os.kill(child, signal.SIGKILL)
            codes.append(int(runs.stdout.readline()))
        runs.stdin.close()
    assert codes.count(-signal.SIGKILL) >= 8
    assert codes[-1] == 0
    entries = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}") and '"seconds"' in line]
    assert sorted(entry["case"] for entry in entries) == sorted(case.id for case in CASES), "none twice, none lost"
    found = {outcome.case: outcome.result for outcome in run_cases(CASES, lambda case: {}, path)}
    assert found == {case.id: {"answer": f"Answer to {case.prompt}"} for case in CASES}
