"""``evaluate`` of any DSPy program."""

from __future__ import annotations

from pathlib import Path

import dspy
import pytest

from hyperalign.budget import Budget
from hyperalign.errors import ModelError
from hyperalign.evals import Plan, evaluate
from hyperalign.evals.cases import Task
from tests.evals.small_task import FirstWords, listed, personalizer
from tests.evals.test_summary import SCHEMA
from tests.fixtures.scripted_server import ScriptedServer, reply


def test_choices_of_any_program(choices: Task, tmp_path: Path) -> None:
    program = FirstWords()
    result = evaluate(program, choices, plan=Plan(concurrency=2), out=tmp_path / "run")
    SCHEMA.validate(dict(result.summary))
    conditions = result.summary["conditions"]
    assert set(conditions) == {"program", "wrong-user", "vote-length", "vote-word-length", "vote-readability"}
    assert conditions["program"]["accuracy"]["mean"] == conditions["program"]["order_consistency"]["mean"] == 1.0
    # Texts of others share no word with either answer; then it says A, and both orders disagree.
    assert conditions["wrong-user"]["order_consistency"]["mean"] < 1.0
    assert conditions["program"]["own_over_other"]["mean"] > 0.5
    assert (result.summary["disabled_controls"], result.summary["unsupported_controls"]) == (
        [],
        ["none", "inverted", "gold"],
    )
    assert len(program.asked) == 6 * 4, "own and another user's records, in both orders"
    for outcome in result.outcomes:
        shown = [prompt for prompt, _ in program.asked if outcome.result["chosen"] in prompt]
        assert len(shown) == 4
        assert (
            sum(prompt.index(outcome.result["chosen"]) < prompt.index(outcome.result["rejected"]) for prompt in shown)
            == 2
        )
    assert not any(case in ids for _, ids in program.asked for case in ("ada-6", "ada-7", "bob-6", "cal-7"))


def test_writing_of_any_program(texts: Task, tmp_path: Path) -> None:
    program = FirstWords()
    result = evaluate(program, texts, out=tmp_path / "run")
    SCHEMA.validate(dict(result.summary))
    conditions = result.summary["conditions"]
    assert set(conditions) == {"program", "none", "wrong-user", "own-text"}
    # It answers with the first record of whomever it is shown.
    assert (
        conditions["program"]["win_rate_vs_none"]["mean"]
        == conditions["program"]["win_rate_vs_wrong_user"]["mean"]
        == 1.0
    )
    assert conditions["program"]["copied_words"]["mean"] == conditions["program"]["words"]["mean"] > 20
    assert conditions["wrong-user"]["copied_words"]["mean"] == conditions["wrong-user"]["words"]["mean"], (
        "of the other user it was shown"
    )
    assert conditions["none"]["copied_words"]["mean"] < 5
    assert len(program.asked) == 4 * 3
    assert result.summary["unsupported_controls"] == ["inverted", "gold"]


def test_controls_of_a_program_can_be_off(choices: Task, texts: Task, tmp_path: Path) -> None:
    chosen = evaluate(FirstWords(), choices, plan=Plan(controls=()), out=tmp_path / "a")
    assert set(chosen.summary["conditions"]) == {"program"}
    assert chosen.summary["disabled_controls"] == ["none", "wrong-user", "inverted", "votes", "gold"]
    assert chosen.summary["verdicts"] == {}
    assert chosen.summary["unsupported_controls"] == [], "what was switched off is told once"
    program = FirstWords()
    wrote = evaluate(program, texts, plan=Plan(controls=("wrong-user",)), out=tmp_path / "b")
    assert set(wrote.summary["conditions"]) == {"program", "wrong-user", "own-text"}
    assert all(ids for _, ids in program.asked)


def test_a_program_s_own_model_is_named_and_paid_for(
    scripted_server: ScriptedServer, texts: Task, tmp_path: Path
) -> None:
    scripted_server.default = reply(lambda request: "[[ ## answer ## ]]\nSo it was.\n[[ ## completed ## ]]")
    budget = Budget()
    lm = personalizer(scripted_server, budget).lm
    assert lm is not None
    program = dspy.Predict("prompt, records -> answer")
    with dspy.context(lm=lm):
        result = evaluate(program, texts, users=2, seed=5, out=tmp_path / "run", budget=budget)
    assert result.summary["model"] == lm.model
    assert result.summary["seed"] == 5
    assert {answer for outcome in result.outcomes for answer in outcome.result["answers"].values()} == {"So it was."}
    assert all(outcome.result["tokens"]["in"] == 30 for outcome in result.outcomes), "three conditions of ten tokens"
    assert sum(step["calls"] for step in result.summary["cost"].values()) == 12


def test_an_answer_that_cannot_be_read_is_an_error_of_its_case(
    scripted_server: ScriptedServer, texts: Task, tmp_path: Path
) -> None:
    readable = "[[ ## answer ## ]]\nSo it was.\n[[ ## completed ## ]]"
    program = dspy.Predict("prompt, records -> answer")
    plan = Plan(controls=("none",), concurrency=1)
    with dspy.context(lm=personalizer(scripted_server).lm):
        scripted_server.default = reply(lambda request: "I would rather not say.")
        with pytest.raises(ModelError, match=r"All 4 cases ended in an error; .* not in the form asked for"):
            evaluate(program, texts, plan=plan, out=tmp_path / "run")
        assert set(listed(tmp_path / "run", "cases.jsonl", "error")) == {
            "ModelOutputError: The answer was not in the form asked for."
        }
        scripted_server.default = reply(
            lambda request: "I would rather not say." if "number 6" in request.prompt else readable
        )
        again = evaluate(program, texts, plan=plan, out=tmp_path / "run")
    assert again.summary["cases"] == {"scored": 2, "errors": 2}
    assert again.summary["conditions"]["program"]["author_logprob"]["n_cases"] == 2, "an error is no score"
    assert [bool(outcome.error) for outcome in again.outcomes] == [True, False, True, False]
