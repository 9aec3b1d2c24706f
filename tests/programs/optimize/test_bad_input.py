"""What a search says of people, metrics, budgets and optimizers that it can't use."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import dspy
import pytest

from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, InputError, ModelOutputError
from hyperalign.programs.optimize.metric import GuardedMetric
from hyperalign.programs.optimize.search import search
from hyperalign.runs import Journal
from tests.fixtures.scripted_server import ScriptedServer
from tests.programs.optimize.polite_task import examples, metric, model, program, search_options


@pytest.mark.parametrize(
    ("trainset", "said"),
    [
        ([], "training set is empty"),
        (examples(1), "of 1 person"),
        (examples(3), "of 3 people"),
        ([example.without("user") for example in examples()], "Example 1 of the training set has no 'user'"),
    ],
)
def test_too_few_people(trainset: list[dspy.Example], said: str, scripted_server: ScriptedServer) -> None:
    with pytest.raises(InputError, match=said):
        search(program(), **search_options(lm=model(scripted_server), trainset=trainset))
    assert not scripted_server.requests


def failing(gold: Any, pred: Any, trace: Any = None) -> float:
    return 1 / 0


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (failing, "The metric raised ZeroDivisionError on an example of 'person-"),
        (lambda gold, pred, trace=None: math.nan, "The metric gave nan"),
        (lambda gold, pred, trace=None: "good", "The metric gave 'good'"),
        (lambda gold, pred, trace=None: 0.5, "The metric gave 0.5 to each of"),
    ],
)
def test_a_metric_that_is_none(bad: Any, said: str, scripted_server: ScriptedServer) -> None:
    with pytest.raises(InputError, match=said):
        search(program(), **search_options(lm=model(scripted_server), metric=bad))


def test_a_metric_that_fails_half_way_ends_the_search(scripted_server: ScriptedServer) -> None:
    calls = []

    def late(gold: Any, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        calls.append(gold)
        return metric(gold, pred) if len(calls) < 12 else failing(gold, pred)

    with pytest.raises(InputError, match="The metric raised ZeroDivisionError"):
        search(program(), **search_options(lm=model(scripted_server), metric=late))


def test_an_answer_that_is_none_is_one_examples_failure(scripted_server: ScriptedServer) -> None:
    class Moody(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = program()

        def forward(self, question: str) -> Any:
            if question.startswith("Question 1"):
                raise ModelOutputError("The model answered with nothing.")
            return self.ask(question=question)

    guarded = GuardedMetric(metric)
    with dspy.context(lm=model(scripted_server)):
        found = guarded.measure(Moody(), examples(2))
    assert [each.feedback for each in found[1::2]] == ["The program failed: ModelOutputError."] * 2
    assert all("please" in each.feedback for each in found[::2])


def test_a_budget_that_is_too_small(scripted_server: ScriptedServer) -> None:
    for cap in (1, 12):
        budget = Budget(max_calls=cap)
        with pytest.raises(BudgetExceededError, match="budget of"):
            search(program(), **search_options(lm=model(scripted_server, budget), budget=budget))
        assert budget.spent.calls == cap


def test_a_budget_caps_models_that_were_connected_without_one(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.jsonl")
    lm = model(scripted_server, journal=journal)
    own = program()
    own.lm = lm
    for count, given in enumerate(({"lm": lm}, {"reflection": lm, "program": own}), start=1):
        budget = Budget(max_calls=12)
        with pytest.raises(BudgetExceededError, match="budget of 12 calls"):
            search(**search_options(**{"program": program(), "budget": budget, **given}))
        assert budget.spent.calls == 12
        assert len(scripted_server.requests) == 12 * count
    assert lm.budget is None, "the model of the caller is as it was"
    assert own.lm is lm
    assert len(journal) > 0


def test_an_optimizer_that_there_is_not(scripted_server: ScriptedServer) -> None:
    with pytest.raises(InputError, match="There is no optimizer 'copro'"):
        search(program(), **search_options(lm=model(scripted_server), optimizer="copro"))
    assert not scripted_server.requests
