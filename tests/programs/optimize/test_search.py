"""Searches on a scripted model: what is kept and what is not, and how a stopped one goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dspy
import pytest

from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, InputError, MissingExtraError, ModelOutputError
from hyperalign.programs.optimize import optimize
from hyperalign.programs.optimize.artifact import apply, prompts_of, read_artifact, write_artifact
from hyperalign.programs.optimize.search import search, split_people
from hyperalign.runs import Journal
from tests.fixtures.scripted_server import ScriptedServer
from tests.programs.optimize.polite_task import POLITE, examples, model, program, search_options


def test_what_helps_others_too_is_kept(scripted_server: ScriptedServer) -> None:
    before = program()
    better = optimize(before, **search_options(lm=model(scripted_server)))
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
    better = optimize(program(), **search_options(lm=lm))
    assert better.signature.instructions == "Answer the question."
    assert not better.optimization.verdict.kept
    assert "no improvement found" in better.optimization.verdict.reason


def test_what_gives_somebody_away_is_never_run(scripted_server: ScriptedServer) -> None:
    told = "Answer politely, as Mrs. Okafor from number nine would, and say please."
    texts = [example.copy(prompt="Tell us about Okafor.") for example in examples()]
    lm = model(scripted_server, better=told)
    found = search(program(), **search_options(lm=lm, trainset=texts, max_steps=8))
    assert not found.verdict.kept
    assert found.refused == {"leaking": 6}
    assert "Okafor" not in found.model_dump_json(), "the artifact is shown to others"
    assert not any("Okafor" in request.messages[0]["content"] for request in scripted_server.requests)


def test_a_model_that_reflects_nonsense_is_told_of(scripted_server: ScriptedServer) -> None:
    found = search(program(), **search_options(lm=model(scripted_server, better="Hm."), max_steps=12))
    assert not found.verdict.kept
    assert "nothing of use any more (6 too short); give a larger --reflection model" in found.verdict.reason
    assert [each for each in found.tried if "refused" in each] == [{"refused": "too short", "proposed": "Hm."}] * 6
    few = search(program(), **search_options(lm=model(scripted_server, better="Hm."), max_steps=2))
    assert "nothing that was proposed was of use (2 too short)" in few.verdict.reason


def test_written_instructions_need_no_model_that_reflects(scripted_server: ScriptedServer) -> None:
    class WhichText(dspy.Signature):
        """Answer the question."""

        question: str = dspy.InputField()
        answer: str = dspy.OutputField()

    found = search(dspy.Predict(WhichText), **search_options(lm=model(scripted_server), optimizer="variants"))
    assert len(found.tried) <= 2
    assert not any("better instruction" in str(request.body) for request in scripted_server.requests)
    before = len(scripted_server.requests)
    with pytest.raises(InputError, match="No written instructions ship"):
        search(program(), **search_options(lm=model(scripted_server), optimizer="variants"))
    assert len(scripted_server.requests) == before, "nothing is spent on what can't be done"


def test_demonstrations_are_of_people_who_may_be_shown(
    scripted_server: ScriptedServer, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = [example.copy(user="example", cares=False) for example in examples(4, 1)]
    lm = model(scripted_server)
    found = search(program(), **search_options(lm=lm, optimizer="bootstrap", demos=shown))
    assert any(each["demos"] for each in found.tried)
    assert "".join(capfd.readouterr()) == "", "the optimizer's own bars break those of whoever started the search"
    assert not found.verdict.kept
    before = len(scripted_server.requests)
    with pytest.raises(InputError, match="those of the training set are never shown"):
        search(program(), **search_options(lm=lm, optimizer="bootstrap"))
    assert len(scripted_server.requests) == before


def test_mipro_searches_instructions_that_a_model_proposes(scripted_server: ScriptedServer) -> None:
    found = search(program(), **search_options(lm=model(scripted_server), optimizer="mipro", max_steps=4))
    assert found.optimizer == "mipro"
    assert found.tried
    assert found.prompts["self"].demos == ()
    with pytest.raises(ModelOutputError, match="in the form that mipro asks for"):
        search(program(), **search_options(lm=model(scripted_server, better="Hm."), optimizer="mipro", max_steps=4))


def test_mipro_without_its_package_says_what_to_install(
    scripted_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"hyperalign\[mipro\]"):
        search(program(), **search_options(lm=model(scripted_server), optimizer="mipro"))
    assert not scripted_server.requests


def test_one_of_dspys_own_optimizers_may_be_given(scripted_server: ScriptedServer) -> None:
    theirs = dspy.LabeledFewShot(k=2)
    texts = [example.copy(prompt=example.question) for example in examples()]
    found = search(program(), **search_options(lm=model(scripted_server), optimizer=theirs, trainset=texts))
    assert found.optimizer == "LabeledFewShot"
    assert not found.verdict.kept
    assert "gives away" in found.verdict.reason, "its demonstrations are people of the training set"


def test_people_are_split_once_and_for_all() -> None:
    def users(people: list[dspy.Example], seed: int) -> list[set[str]]:
        return [{example.user for example in part} for part in split_people(people, seed=seed)]

    one = users(examples(10), 3)
    assert one == users(examples(10)[::-1], 3)
    assert one != users(examples(10), 4)
    assert len(one[1]) == 5
    assert not one[0] & one[1]


# Stopped and taken up again


def test_a_stopped_search_goes_on_and_spends_nothing_twice(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    def run(path: Path, cap: int | None = None) -> tuple[Any, Budget]:
        budget = Budget(max_calls=cap)
        lm = model(scripted_server, budget, Journal(path))
        return search(program(), **search_options(lm=lm, budget=budget)), budget

    whole, spent = run(tmp_path / "whole.jsonl")
    for stop in (3, 11, 20):
        path = tmp_path / f"stopped-{stop}.jsonl"
        with pytest.raises(BudgetExceededError):
            run(path, stop)
        again, rest = run(path)
        assert rest.spent.calls == spent.spent.calls - stop
        assert rest.spent.replayed == stop
        assert again.prompts == whole.prompts
        assert again.tried == whole.tried
        assert again.verdict == whole.verdict


# What it leaves


def test_an_artifact_is_read_again(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    found = search(program(), **search_options(lm=model(scripted_server), step="extract", task="manners"))
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
    found = search(program(), **search_options(lm=model(scripted_server)))
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
