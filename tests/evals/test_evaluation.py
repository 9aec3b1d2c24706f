"""``evaluate`` of a whole ``Personalizer``, from a task to a summary."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError, ModelError
from hyperalign.evals import Plan, evaluate
from hyperalign.evals.cases import Task
from hyperalign.evals.metrics.authorship import JUDGES
from hyperalign.profile import Profile
from hyperalign.scores import Message
from tests.fixtures.scripted_server import ScriptedServer, error, reply

from .small_task import answered, listed, personalizer, read_lines
from .test_summary import SCHEMA

STRATEGIES = ("few-shot", "verified")


def whole(folder: Path) -> dict[str, Any]:
    """What a run's folder holds, but for how long it took and which case paid for a profile that several share."""
    cases = {entry["case"]: entry for entry in read_lines(folder / "cases.jsonl")}
    for entry in cases.values():
        entry.pop("seconds")
        entry["result"].pop("tokens")
        entry["result"].pop("replies")
    summary = json.loads((folder / "summary.json").read_text())
    for step in summary["cost"].values():
        step.pop("seconds")
    return {"cases": cases, "summary": summary}


def test_choices_of_a_personalizer(scripted_server: ScriptedServer, choices: Task, tmp_path: Path) -> None:
    scripted_server.default = reply(answered)
    told: list[tuple[str, int, int]] = []
    budget = Budget()
    result = evaluate(
        personalizer(scripted_server, budget),
        choices,
        plan=Plan(STRATEGIES, curve=(2,), seed=7),
        out=tmp_path / "run",
        budget=budget,
        progress=lambda *said: told.append(said),
    )
    SCHEMA.validate(dict(result.summary))
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == result.summary
    assert result.folder == tmp_path / "run"
    conditions = result.summary["conditions"]
    assert set(conditions) == {
        *STRATEGIES, "wrong-user", "inverted", "vote-length", "vote-word-length", "vote-readability"
    }  # fmt: skip
    assert result.summary["disabled_controls"] == []
    assert result.summary["cases"] == {"scored": 6, "errors": 0}
    assert result.summary["cluster"] == {"unit": "person", "n": 3}
    by_likelihood = {"accuracy", "accuracy_sum", "own_over_other", "own_over_other_sum"}
    assert set(conditions["few-shot"]) == {*by_likelihood, "pick", "pick_own_over_other"}
    # The scorer counts known words: a person's own texts hold those of the answer they prefer, another user's do not.
    assert conditions["few-shot"]["accuracy"]["mean"] == conditions["few-shot"]["own_over_other"]["mean"] == 1.0
    assert set(result.summary["learning_curves"]) == set(STRATEGIES)
    assert set(result.summary["learning_curves"]["verified"]) == {"2", "all"}
    assert ("cases", 6, 6) in told
    assert [said for said in told if said[0] == "profiles"][-1] == ("profiles", 6, 6), "all records, and two of them"
    outcome = result.outcomes[0]
    assert {"prompt", "chosen", "rejected", "margins", "context", "scores", "tokens"} <= set(outcome.result)
    assert result.summary["cost"]["infer"]["calls"] == len(scripted_server.requests) > 0


def test_letters_are_asked_for_in_both_orders(scripted_server: ScriptedServer, choices: Task, tmp_path: Path) -> None:
    scripted_server.default = reply(lambda request: answered(request) if "hypothesis" in request.prompt else "A")
    plan = Plan(("few-shot",), letters=True, controls=("none",), users=1)
    result = evaluate(personalizer(scripted_server), choices, plan=plan, out=tmp_path / "run")
    conditions = result.summary["conditions"]
    # The scorer, not the model, gives the letters here; neither letter is among the words it has seen.
    assert set(conditions["few-shot"]) == {"accuracy", "accuracy_sum", "accuracy_letter", "order_consistency"}
    assert set(conditions["none"]) == {"accuracy_letter", "order_consistency"}
    assert result.summary["disabled_controls"] == ["wrong-user", "inverted", "votes", "gold"]
    before = len(scripted_server.requests)
    without = evaluate(personalizer(scripted_server, scorer=None), choices, plan=plan, out=tmp_path / "asked")
    conditions = without.summary["conditions"]
    assert set(conditions["few-shot"]) == {"accuracy", "order_consistency"}
    assert {each.result["replies"]["undecided"] for each in without.outcomes} == {0}
    assert sum(each.result["replies"]["asked"] for each in without.outcomes) == len(scripted_server.requests) - before
    # A model that always says A has a position and no opinion.
    assert conditions["few-shot"]["accuracy"]["mean"] == 0.5
    assert conditions["few-shot"]["order_consistency"]["mean"] == 0.0


def test_writing_of_a_personalizer(
    scripted_server: ScriptedServer, texts: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The scripted writer has so few sentences that it cannot but repeat those of the examples.
    monkeypatch.setattr("hyperalign.programs.generate.MAX_COPIED", 1_000)
    scripted_server.default = reply(answered, tokens_in=50, cached=20)
    budget = Budget()
    plan = Plan(STRATEGIES, concurrency=1)
    result = evaluate(personalizer(scripted_server, budget), texts, plan=plan, out=tmp_path / "run", budget=budget)
    SCHEMA.validate(dict(result.summary))
    conditions = result.summary["conditions"]
    assert {*STRATEGIES, "none", "wrong-user", "own-text"} <= set(conditions)
    assert result.summary["authorship_accuracy"] == dict.fromkeys(JUDGES, 1.0)
    assert set(result.summary["judges"]) == set(JUDGES)
    # The model writes with doubts only where texts of the one who has them are shown.
    assert conditions["few-shot"]["win_rate_vs_none"]["mean"] == 0.75
    assert {"author_logprob", "burrows_delta", "copied_words", "words"} <= set(conditions["verified"])
    (tokens,) = {tuple(outcome.result["tokens"]) for outcome in result.outcomes}
    assert tokens == ("in", "out", "cached")
    spent = Counter[str]()
    for outcome in result.outcomes:
        spent.update(outcome.result["tokens"])
    used = budget.spent
    assert used.replayed > 0, "the same question is asked once"
    assert spent["in"] == 50 * (len(scripted_server.requests) + used.replayed), "a case's tokens whoever asked first"
    assert spent["cached"] == 20 * (len(scripted_server.requests) + used.replayed)
    assert spent["out"] >= used.tokens_out > 0
    cost = json.loads((tmp_path / "run" / "cost.json").read_text())
    assert sum(step["tokens_in"] for step in cost.values()) == 50 * len(scripted_server.requests) == used.tokens_in


@pytest.mark.parametrize("kind", ["choices", "texts"])
def test_how_many_run_at_a_time_decides_nothing(
    scripted_server: ScriptedServer, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    scripted_server.default = reply(answered)
    task: Task = request.getfixturevalue(kind)
    folders = [tmp_path / str(count) for count in (1, 8)]
    for folder, count in zip(folders, (1, 8), strict=True):
        plan = Plan(STRATEGIES, concurrency=count, curve=(2,))
        budget = Budget()
        evaluate(personalizer(scripted_server, budget), task, plan=plan, out=folder, budget=budget)
    one, eight = (whole(folder) for folder in folders)
    assert one == eight
    profiles = [sorted(listed(folder, "profiles.jsonl", "key")) for folder in folders]
    assert profiles[0] == profiles[1]
    assert len(profiles[0]) == len(set(profiles[0])) > 0


def test_after_a_budget_it_goes_on_and_nothing_runs_twice(
    scripted_server: ScriptedServer, choices: Task, tmp_path: Path
) -> None:
    scripted_server.default = reply(answered)
    plan = Plan(STRATEGIES, concurrency=1)
    undisturbed = evaluate(personalizer(scripted_server), choices, plan=plan, out=tmp_path / "whole")
    each = len(scripted_server.requests) // 3
    assert each * 3 == len(scripted_server.requests), "each person's profile takes as many calls"

    # Enough for two profiles, the person's and the other user's: the first person's cases, and not the third profile.
    budget = Budget(max_calls=2 * each)
    with pytest.raises(BudgetExceededError) as stopped:
        evaluate(personalizer(scripted_server, budget), choices, plan=plan, out=tmp_path / "run", budget=budget)
    assert "higher --max-calls" in str(stopped.value.remedy)
    done = listed(tmp_path / "run", "cases.jsonl", "case")
    assert 0 < len(done) < 6
    assert len(listed(tmp_path / "run", "profiles.jsonl", "key")) == 2
    cost = json.loads((tmp_path / "run" / "cost.json").read_text())
    assert cost["infer"]["calls"] == 2 * each
    assert not (tmp_path / "run" / "summary.json").exists()

    before = len(scripted_server.requests)
    budget = Budget()
    again = evaluate(personalizer(scripted_server, budget), choices, plan=plan, out=tmp_path / "run", budget=budget)
    assert len(scripted_server.requests) - before == each, "the profile that was not whole, and no other"
    cases = listed(tmp_path / "run", "cases.jsonl", "case")
    assert (cases[: len(done)], len(cases), len(set(cases))) == (done, 6, 6)
    profiles = listed(tmp_path / "run", "profiles.jsonl", "key")
    assert len(profiles) == len(set(profiles)) == 3
    assert again.summary["cost"]["infer"]["calls"] == 3 * each, "both sittings"
    assert whole(tmp_path / "run")["cases"] == whole(tmp_path / "whole")["cases"]
    assert again.summary["conditions"] == undisturbed.summary["conditions"]

    # A third time there is nothing left to do.
    before = len(scripted_server.requests)
    third = evaluate(personalizer(scripted_server), choices, plan=plan, out=tmp_path / "run")
    assert len(scripted_server.requests) == before
    assert third.summary == again.summary


def test_a_case_that_failed_is_counted_and_tried_again(
    scripted_server: ScriptedServer, texts: Task, tmp_path: Path
) -> None:
    plan = Plan(("few-shot",), concurrency=1, controls=("none",))
    # What is refused without a reason is asked once more with fewer parameters.
    scripted_server.script(*[error(400, "This one I refuse.")] * 2)
    scripted_server.default = reply(answered)
    first = evaluate(personalizer(scripted_server), texts, plan=plan, out=tmp_path / "run")
    assert first.summary["cases"] == {"scored": 3, "errors": 1}
    assert [bool(outcome.error) for outcome in first.outcomes] == [True, False, False, False]
    assert first.summary["conditions"]["few-shot"]["author_logprob"]["n_cases"] == 3, "an error is no score"
    again = evaluate(personalizer(scripted_server), texts, plan=plan, out=tmp_path / "run")
    assert again.summary["cases"] == {"scored": 4, "errors": 0}


def test_where_every_case_failed_there_is_no_summary(
    scripted_server: ScriptedServer, texts: Task, tmp_path: Path
) -> None:
    plan = Plan(("few-shot",), controls=("none",))
    scripted_server.default = error(400, "I refuse.")
    with pytest.raises(ModelError, match=r"All 4 cases ended in an error; the first: .*I refuse"):
        evaluate(personalizer(scripted_server), texts, plan=plan, out=tmp_path / "run")
    assert len(listed(tmp_path / "run", "cases.jsonl", "case")) == 4
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_strategy_of_ones_own_is_measured(choices: Task, scripted_server: ScriptedServer) -> None:
    class Shouting:
        name = "shouting"

        def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
            del max_words
            return [{"role": "user", "content": f"FOR {profile.user.upper()}: {prompt}"}]

    result = evaluate(personalizer(scripted_server), choices, plan=Plan(strategies=(Shouting(), "few-shot")))
    assert {"shouting", "few-shot"} <= set(result.summary["conditions"])
    assert json.loads((result.folder / "eval.json").read_text())["strategies"] == ["shouting", "few-shot"]
