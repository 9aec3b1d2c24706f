"""Many cases: what was said in them stays in the file, and what is added up takes little memory."""

from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path

import pytest

from hyperalign.errors import StorageError
from hyperalign.evals.cases import Case
from hyperalign.evals.runner import Outcome, Outcomes, read_outcomes, run_cases
from hyperalign.evals.summary import summarize

from .small_task import Given

CASES = 3_000
CONDITIONS = ("none", "verified", "few-shot", "wrong-user")


def make_case(number: int) -> Case:
    user = f"u{number % 300}"
    return Case(id=f"c{number}", user=user, cluster=user, prompt="Why?", records=())


def write_outcomes(path: Path, cases: list[Case]) -> None:
    rng = random.Random(0)
    said = "It smells of marmalade. " * 80
    with path.open("w") as file:
        for case in cases:
            scores = {each: {"accuracy": float(rng.random() < 0.6)} for each in CONDITIONS}
            result = {"context": dict.fromkeys(CONDITIONS, said), "scores": scores, "replies": {"asked": 2}}
            file.write(json.dumps(vars(Outcome(case.id, case.user, case.cluster, result))) + "\n")


def test_a_summary_of_many_cases_holds_no_text_of_them(tmp_path: Path) -> None:
    cases = [make_case(number) for number in range(CASES)]
    path = tmp_path / "cases.jsonl"
    write_outcomes(path, cases)
    assert path.stat().st_size > 20e6
    # What is imported when it is first needed is no memory of cases.
    few = summarize(Given([]), list(read_outcomes(path))[:40], model="m", seed=0)
    tracemalloc.start()
    outcomes = run_cases(cases, lambda case: {}, path)
    summary = summarize(Given([]), outcomes, model="m", seed=0, divergent=[case.id for case in cases[::2]])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert few["cases"]["scored"] == 40
    assert summary["cases"] == {"scored": CASES, "errors": 0}
    assert summary["replies"]["asked"] == 2 * CASES
    assert summary["questions"].keys() == {"divergent", "personal"}
    # Bits and numbers of flips are most of it.
    assert peak < 45e6
    assert outcomes[7].result["context"]["verified"].startswith("It smells of marmalade")


def test_outcomes_are_read_where_they_are(tmp_path: Path) -> None:
    cases = [make_case(number) for number in range(4)]
    path = tmp_path / "cases.jsonl"
    path.write_text('{"case": "c0", "user": "u0", "cluster": "u0", "result": {}, "error": "Late"}\n[1]\n{"torn')
    outcomes = run_cases(cases, lambda case: {"answer": f"Tür {case.id}\u2028"}, path, concurrency=1)
    assert isinstance(outcomes, Outcomes)
    assert [each.case for each in outcomes] == ["c0", "c1", "c2", "c3"]
    assert [each.case for each in outcomes[1:3]] == ["c1", "c2"]
    assert outcomes[0].error == ""
    assert outcomes[-1].result == {"answer": "Tür c3\u2028"}
    assert list(run_cases(cases[::-1], lambda case: {}, path))[::-1] == list(outcomes)
    path.unlink()
    with pytest.raises(StorageError):
        outcomes[0]
