"""What is asked, and which cases are drawn for it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from hyperalign.errors import InputError
from hyperalign.evals import Plan, evaluate, load_task
from hyperalign.evals.cases import Task
from hyperalign.evals.plan import sample_cases
from tests.fixtures.scripted_server import ScriptedServer

from .small_task import FirstWords, jsonl, personalizer, samples


def test_a_plan_and_its_parts_are_not_both_given(choices: Task) -> None:
    with pytest.raises(InputError, match="Both a plan and"):
        evaluate(FirstWords(), choices, plan=Plan(), users=2)


def test_users_cases_and_parts_are_drawn_as_asked(choices: Task) -> None:
    assert len(sample_cases(choices, Plan())) == 6
    assert Counter(case.user for case in sample_cases(choices, Plan(cases_each=1))) == {"ada": 1, "bob": 1, "cal": 1}
    two = sample_cases(choices, Plan(users=2, seed=4))
    assert len({case.user for case in two}) == 2
    assert two == sample_cases(choices, Plan(users=2, seed=4))
    parts = [sample_cases(choices, Plan(split=split)) for split in ("dev", "test")]
    assert sum(map(len, parts)) == 6
    assert not {case.user for case in parts[0]} & {case.user for case in parts[1]}


def test_what_cannot_be_asked_is_refused_before_anything_is_done(
    scripted_server: ScriptedServer, choices: Task, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="numbers of records"):
        Plan(curve=(0,))
    with pytest.raises(InputError, match="all cases are of one user"):
        evaluate(FirstWords(), choices, users=1, out=tmp_path / "run")
    with pytest.raises(InputError, match="no strategy 'nonsense'"):
        evaluate(personalizer(scripted_server), choices, plan=Plan(("nonsense",)), out=tmp_path / "run")
    with pytest.raises(InputError, match="at least two authors"):
        one = [sample for sample in samples() if sample.user == "hed"]
        task = load_task(str(jsonl(tmp_path / "one.jsonl", one)))
        evaluate(FirstWords(), task, plan=Plan(controls=()), out=tmp_path / "run")
    assert not (tmp_path / "run").exists(), "a slip must not mark the folder as another run's"
    assert scripted_server.requests == []
