"""Searches on a scripted model: what is kept, what is not, and what bad input says."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError

from hyperalign.budget import Budget
from hyperalign.errors import (
    BudgetExceededError,
    InputError,
    MissingExtraError,
    MissingKeyError,
    ModelError,
    ModelOutputError,
    ModelServerError,
    UnknownModelError,
)
from hyperalign.programs import optimize
from hyperalign.programs.optimizing.artifact import apply, prompts_of, read_artifact, write_artifact
from hyperalign.programs.optimizing.faults import Ended, Faults, ending, judging
from hyperalign.programs.optimizing.leaks import LeakCheck
from hyperalign.programs.optimizing.people import split_people
from hyperalign.programs.optimizing.proposing import Reflected
from hyperalign.programs.optimizing.search import search
from hyperalign.programs.optimizing.watched import Watched
from hyperalign.records import Sample
from hyperalign.runs import Journal
from tests.fixtures.scripted_server import Recorded, ScriptedServer, error, reply

from .politely import POLITE, but, examples, metric, model, program, reflects


def asked(**changed: Any) -> dict[str, Any]:
    return {"trainset": examples(), "metric": metric, "rounds": 3, **changed}


def test_what_helps_others_too_is_kept(scripted_server: ScriptedServer) -> None:
    before = program()
    better = optimize(before, **asked(lm=model(scripted_server)))
    found = better.optimization
    assert better.signature.instructions == POLITE
    assert before.signature.instructions == "Answer the question.", "the program that was given is not changed"
    assert found.verdict.kept
    assert found.verdict.before < found.verdict.after == 1.0
    assert 0 < found.verdict.low <= found.verdict.difference <= found.verdict.high
    assert found.verdict.tokens_after > 0
    assert not {*found.users["train"]} & {*found.users["validation"]}
    assert found.verdict.people == len(found.users["validation"]) == 4
    assert found.tried[0]["instructions"] == {"self": "Answer the question."}
    assert found.tried[0]["score"] < found.tried[1]["score"]


def test_what_helps_nobody_is_not_kept(scripted_server: ScriptedServer) -> None:
    lm = model(scripted_server, better="Answer every question with great care and some patience, always.")
    better = optimize(program(), **asked(lm=lm))
    assert better.signature.instructions == "Answer the question."
    assert not better.optimization.verdict.kept
    assert "no improvement found" in better.optimization.verdict.reason


def test_what_gives_somebody_away_is_never_run(scripted_server: ScriptedServer) -> None:
    told = "Answer politely, as Mrs. Okafor from number nine would, and say please."
    texts = [example.copy(prompt="Tell us about Okafor.") for example in examples()]
    lm = model(scripted_server, better=told)
    found = search(program(), **asked(lm=lm, trainset=texts, rounds=8))
    assert not found.verdict.kept
    assert found.refused == {"leaking": 6}
    assert "Okafor" not in found.model_dump_json(), "the artifact is shown to others"
    assert not any("Okafor" in request.messages[0]["content"] for request in scripted_server.requests)


def test_a_model_that_reflects_nonsense_is_told_of(scripted_server: ScriptedServer) -> None:
    found = search(program(), **asked(lm=model(scripted_server, better="Hm."), rounds=12))
    assert not found.verdict.kept
    assert "nothing of use any more (6 too short); give a larger --reflection model" in found.verdict.reason
    assert [each for each in found.tried if "refused" in each] == [{"refused": "too short", "proposed": "Hm."}] * 6
    few = search(program(), **asked(lm=model(scripted_server, better="Hm."), rounds=2))
    assert "nothing that was proposed was of use (2 too short)" in few.verdict.reason


def test_written_instructions_need_no_model_that_reflects(scripted_server: ScriptedServer) -> None:
    class WhichText(dspy.Signature):
        """Answer the question."""

        question: str = dspy.InputField()
        answer: str = dspy.OutputField()

    found = search(dspy.Predict(WhichText), **asked(lm=model(scripted_server), optimizer="variants"))
    assert len(found.tried) <= 2
    assert not any("better instruction" in str(request.body) for request in scripted_server.requests)
    before = len(scripted_server.requests)
    with pytest.raises(InputError, match="No written instructions ship"):
        search(program(), **asked(lm=model(scripted_server), optimizer="variants"))
    assert len(scripted_server.requests) == before, "nothing is spent on what can't be done"


def test_demonstrations_are_of_people_who_may_be_shown(scripted_server: ScriptedServer) -> None:
    shown = [example.copy(user="example", cares=False) for example in examples(4, 1)]
    lm = model(scripted_server)
    found = search(program(), **asked(lm=lm, optimizer="bootstrap", demos=shown))
    assert any(each["demos"] for each in found.tried)
    assert not found.verdict.kept
    before = len(scripted_server.requests)
    with pytest.raises(InputError, match="those of the training set are never shown"):
        search(program(), **asked(lm=lm, optimizer="bootstrap"))
    assert len(scripted_server.requests) == before


def test_mipro_searches_instructions_that_a_model_proposes(scripted_server: ScriptedServer) -> None:
    found = search(program(), **asked(lm=model(scripted_server), optimizer="mipro", rounds=4))
    assert found.optimizer == "mipro"
    assert found.tried
    assert found.prompts["self"].demos == ()
    with pytest.raises(ModelOutputError, match="in the form that mipro asks for"):
        search(program(), **asked(lm=model(scripted_server, better="Hm."), optimizer="mipro", rounds=4))


def test_mipro_without_its_package_says_what_to_install(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"hyperalign\[mipro\]"):
        search(program(), **asked(lm=model(scripted_server), optimizer="mipro"))
    assert not scripted_server.requests


def test_one_of_dspys_own_optimizers_may_be_given(scripted_server: ScriptedServer) -> None:
    theirs = dspy.LabeledFewShot(k=2)
    texts = [example.copy(prompt=example.question) for example in examples()]
    found = search(program(), **asked(lm=model(scripted_server), optimizer=theirs, trainset=texts))
    assert found.optimizer == "LabeledFewShot"
    assert not found.verdict.kept
    assert "gives away" in found.verdict.reason, "its demonstrations are people of the training set"


# Bad input


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
        search(program(), **asked(lm=model(scripted_server), trainset=trainset))
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
        search(program(), **asked(lm=model(scripted_server), metric=bad))


def test_a_metric_that_fails_half_way_ends_the_search(scripted_server: ScriptedServer) -> None:
    calls = []

    def late(gold: Any, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        calls.append(gold)
        return metric(gold, pred) if len(calls) < 12 else failing(gold, pred)

    with pytest.raises(InputError, match="The metric raised ZeroDivisionError"):
        search(program(), **asked(lm=model(scripted_server), metric=late))


def test_an_answer_that_is_none_is_one_examples_failure(scripted_server: ScriptedServer) -> None:
    class Moody(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = program()

        def forward(self, question: str) -> Any:
            if question.startswith("Question 1"):
                raise ModelOutputError("The model answered with nothing.")
            return self.ask(question=question)

    watched = Watched(metric)
    with dspy.context(lm=model(scripted_server)):
        found = watched.measure(Moody(), examples(2))
    assert [each.feedback for each in found[1::2]] == ["The program failed: ModelOutputError."] * 2
    assert all("please" in each.feedback for each in found[::2])


def test_a_budget_that_is_too_small(scripted_server: ScriptedServer) -> None:
    for cap in (1, 12):
        budget = Budget(max_calls=cap)
        with pytest.raises(BudgetExceededError, match="budget of"):
            search(program(), **asked(lm=model(scripted_server, budget), budget=budget))
        assert budget.spent.calls == cap


def test_a_budget_caps_models_that_were_connected_without_one(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.jsonl")
    lm = model(scripted_server, journal=journal)
    own = program()
    own.lm = lm
    for count, given in enumerate(({"lm": lm}, {"reflection": lm, "program": own}), start=1):
        budget = Budget(max_calls=12)
        with pytest.raises(BudgetExceededError, match="budget of 12 calls"):
            search(**asked(**{"program": program(), "budget": budget, **given}))
        assert budget.spent.calls == 12
        assert len(scripted_server.requests) == 12 * count
    assert lm.budget is None, "the model of the caller is as it was"
    assert own.lm is lm
    assert len(journal) > 0


def test_an_optimizer_that_there_is_not(scripted_server: ScriptedServer) -> None:
    with pytest.raises(InputError, match="There is no optimizer 'copro'"):
        search(program(), **asked(lm=model(scripted_server), optimizer="copro"))
    assert not scripted_server.requests


# What the model that reflects is asked, and what is made of its answers


def test_an_improvement_is_kept_though_nothing_else_was_of_use(scripted_server: ScriptedServer) -> None:
    lm = model(scripted_server, better="Hm.")
    asked_before: list[bool] = []

    def first(request: Recorded) -> bool:
        asked_before.append(reflects(request))
        return asked_before[-1] and sum(asked_before) == 1

    but(scripted_server, first, reply(json.dumps({"better": POLITE})))
    found = search(program(), **asked(lm=lm, rounds=12))
    assert found.verdict.kept
    assert found.prompts["self"].instructions == POLITE
    assert found.refused == {"too short": 6}


def test_what_is_asked_of_it_has_limits_and_comes_again(scripted_server: ScriptedServer) -> None:
    lm = model(scripted_server, better="Answer every question with great care and some patience, always.")
    for _ in range(2):
        search(program(), **asked(lm=lm, seed=7))
    bodies = [request.body for request in scripted_server.requests if reflects(request)]
    first, second = bodies[: len(bodies) // 2], bodies[len(bodies) // 2 :]
    assert first == second
    assert len({body["seed"] for body in first}) == len(first) == 3
    assert all(body["max_tokens"] == 400 for body in first)
    assert all("JSON object" in json.dumps(body["messages"]) for body in first)


def test_field_markers_and_space_make_no_new_instruction(scripted_server: ScriptedServer) -> None:
    marked = f"[[ ## better ## ]]\n{POLITE}\n\n[[ ## completed ## ]]"
    assert search(program(), **asked(lm=model(scripted_server, better=marked))).found["self"].instructions == POLITE
    lm = model(scripted_server, better=POLITE.replace(" ", "\n "))
    reflected = Reflected(lm, LeakCheck([]))
    assert reflected({"self": POLITE}, {}, ["self"]) == {}
    assert reflected.refused == {"the same": 1}


def test_what_is_not_new_is_not_run(scripted_server: ScriptedServer) -> None:
    search(program(), **asked(lm=model(scripted_server, better="Hm."), rounds=2))
    # Before on 8 examples of either half; by round 4 answers to reflect on, and the question.
    assert len(scripted_server.requests) == 8 + 8 + 2 * (4 + 1)
    del scripted_server.requests[:]
    search(program(), **asked(lm=model(scripted_server), rounds=1))
    # The 4 examples that a candidate was first run on are not run again among all 8.
    assert len(scripted_server.requests) == 8 + 8 + (4 + 1 + 4) + 4 + 8


def test_candidates_that_did_no_better_are_told_of(scripted_server: ScriptedServer) -> None:
    better = "Answer every question with great care and some patience, always."
    found = search(program(), **asked(lm=model(scripted_server, better=better), rounds=1))
    assert [set(each) for each in found.tried] == [{"instructions", "score"}, {"instructions", "few", "few_before"}]
    assert found.tried[1]["instructions"] == {"self": better}
    assert found.tried[1]["few"] <= found.tried[1]["few_before"]


def test_other_peoples_texts_and_held_answers_give_somebody_away_too(scripted_server: ScriptedServer) -> None:
    said = Sample(user="stranger", text="I went to the mill with Haverstock before the rain came.")
    for part in ({"others": [said]}, {"against": [said]}, {"held": said}):
        lm = model(scripted_server, better="Answer politely, as Haverstock would, and always say please.")
        texts = [example.copy(**part) for example in examples()]
        found = search(program(), **asked(lm=lm, trainset=texts, rounds=1))
        assert found.refused == {"leaking": 1}


# Models that can't be used


def test_a_model_that_cannot_reflect_is_no_null(scripted_server: ScriptedServer) -> None:
    for instead, kind in ((error(401, "No such key."), MissingKeyError), (error(404), UnknownModelError)):
        lm = model(scripted_server)
        but(scripted_server, reflects, instead)
        del scripted_server.requests[:]
        with pytest.raises(kind):
            search(program(), **asked(lm=lm, rounds=8))
        assert sum(map(reflects, scripted_server.requests)) == 1, "it is asked no more"


@pytest.mark.parametrize("optimizer", ["gepa", "bootstrap", "mipro"])
def test_a_server_that_dies_in_a_search_ends_it(optimizer: str, scripted_server: ScriptedServer) -> None:
    lm = model(scripted_server)
    but(scripted_server, lambda request: len(scripted_server.requests) > 13, error(503, "Down."))
    shown = [example.copy(user="example", cares=False) for example in examples(4, 1)]
    with pytest.raises(ModelServerError, match=r"Down\."):
        search(program(), **asked(lm=lm, optimizer=optimizer, demos=shown))
    assert len(scripted_server.requests) == 14, "it is asked no more"


def test_what_a_program_or_a_metric_catches_is_no_fault() -> None:
    class Broken(dspy.Module):
        def forward(self) -> Any:
            raise ModelServerError("Down.")

    class Careful(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part = Broken()

        def forward(self) -> Any:
            try:
                return self.part()
            except ModelServerError:
                return "fine"

    told: list[Any] = []
    with dspy.context(callbacks=[Faults(told.append)]):
        assert Careful()() == "fine"
        with judging(), pytest.raises(ModelServerError):
            Broken()()
        assert not told
        with pytest.raises(Ended):
            Broken()()
    assert [str(fault) for fault in told] == ["Down."]
    plain = ending(LMAuthError("No key.", model="any"))
    assert isinstance(plain, ModelError)
    assert ending(ModelOutputError("Nothing.")) is None
    assert ending(ValueError()) is None


def test_people_are_split_once_and_for_all() -> None:
    one, two = split_people(examples(10), seed=3), split_people(examples(10)[::-1], seed=3)
    assert one.users() == two.users()
    assert one.users() != split_people(examples(10), seed=4).users()
    assert len(one.users()["validation"]) == 5


# Stopped and taken up again


@pytest.mark.parametrize("stop", [3, 11, 20])
def test_a_stopped_search_goes_on_and_spends_nothing_twice(
    stop: int, scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    def run(path: Path, cap: int | None = None) -> tuple[Any, Budget]:
        budget = Budget(max_calls=cap)
        lm = model(scripted_server, budget, Journal(path))
        return search(program(), **asked(lm=lm, budget=budget)), budget

    whole, spent = run(tmp_path / "whole.jsonl")
    with pytest.raises(BudgetExceededError):
        run(tmp_path / "stopped.jsonl", stop)
    again, rest = run(tmp_path / "stopped.jsonl")
    assert rest.spent.calls == spent.spent.calls - stop
    assert rest.spent.replayed == stop
    assert again.prompts == whole.prompts
    assert again.tried == whole.tried
    assert again.verdict == whole.verdict


# What it leaves


def test_an_artifact_is_read_again(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    found = search(program(), **asked(lm=model(scripted_server), step="extract", task="manners"))
    write_artifact(tmp_path / "out", found)
    assert read_artifact(tmp_path / "out") == found
    fresh = program()
    apply(fresh, read_artifact(tmp_path / "out").prompts)
    assert prompts_of(fresh) == found.prompts
    said = (tmp_path / "out" / "changes.md").read_text(encoding="utf-8")
    assert "+" + POLITE in said.replace("\n+", " ") or "+Answer each question politely" in said
    assert "Kept: better for people" in said
    assert POLITE in (tmp_path / "out" / "prompts.md").read_text(encoding="utf-8")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".md"}


def test_an_artifact_that_does_not_fit_or_is_damaged(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    found = search(program(), **asked(lm=model(scripted_server)))
    write_artifact(tmp_path, found)
    other = dspy.Predict("letter -> reply")
    with pytest.raises(InputError, match="was tuned for 'self' with question, answer, and it has letter, reply now"):
        apply(other, found.prompts)
    with pytest.raises(InputError, match="has prompts for 'self'"):
        apply(dspy.Module(), found.prompts)
    text = (tmp_path / "artifact.json").read_text(encoding="utf-8")
    (tmp_path / "artifact.json").write_text(
        text.replace('"schema_version": 1', '"schema_version": 9'), encoding="utf-8"
    )
    with pytest.raises(InputError, match="of version 9"):
        read_artifact(tmp_path)
    (tmp_path / "artifact.json").write_text(text[:-20], encoding="utf-8")
    with pytest.raises(InputError, match="can't be read"):
        read_artifact(tmp_path)
