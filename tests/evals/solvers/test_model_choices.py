"""Strategies that ask a model, in the choice table: scores are kept, strangers compared, and texts left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.choices import REWARD, REWARD_STATEMENTS, STACKED, ChoicePlan, SampledTask, evaluate_choices
from hyperalign.evals.metrics.calibration import to_log_odds
from hyperalign.evals.runner import EvalFolder, read_outcomes
from hyperalign.evals.solvers.model_choices import MODEL_STRATEGIES, ModelChoices
from hyperalign.programs.personalizer import Personalizer
from hyperalign.scores import Message, Scorer, TextScore
from tests.evals.small_people import Tastes
from tests.evals.small_task import answered, listed, personalizer
from tests.fixtures.scripted_server import ScriptedServer, reply


def source(server: ScriptedServer, *strategies: str, scorer: Scorer | None = None) -> ModelChoices:
    server.default = reply(answered)
    program = personalizer(server, **({"scorer": scorer} if scorer else {}))

    def same(_: SampledTask) -> Personalizer:
        return program

    return ModelChoices(same, strategies)


def test_strategies_stand_beside_the_reward(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    tasks = {"tastes": Tastes(people=8, cases_each=1)}
    plan = ChoicePlan(split="dev")
    asking = source(scripted_server, "few-shot", "verified")
    summary, folder = evaluate_choices(tasks, plan, source=asking, out=tmp_path / "run")
    conditions = summary["tasks"]["tastes"]["conditions"]
    assert {"reward", "few-shot", "verified", "none"} <= set(conditions)
    # The scorer finds an answer likelier the more of its words were shown, so examples in one's own manner win.
    assert conditions["few-shot"]["pick"]["mean"] > 0.6
    assert conditions["few-shot"]["pick"]["n_cases"] == summary["tasks"]["tastes"]["cases"]["scored"]
    assert "pick_own_over_other" in conditions["verified"]
    people = {outcome.user for outcome in read_outcomes(folder.cases)}
    assert len(listed(folder.path, "profiles.jsonl", "key")) == len(people), "one fit a person"
    asked = len(scripted_server.requests)
    again, _ = evaluate_choices(
        tasks, plan, source=source(scripted_server, "few-shot", "verified"), out=tmp_path / "run"
    )
    assert again == summary
    assert len(scripted_server.requests) == asked, "what is kept is not asked again"


def test_letters_give_probabilities(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    summary, folder = evaluate_choices(
        {"tastes": Tastes(people=6, cases_each=1)},
        ChoicePlan(split="dev", users=2),
        source=source(scripted_server, "few-shot-letter"),
        out=tmp_path / "run",
    )
    found = summary["tasks"]["tastes"]["calibration"]["few-shot-letter"]
    assert 0 <= found["ece"] <= 0.5
    assert all(key.startswith("tastes/few-shot-letter/") for key in listed(folder.path, "scores.jsonl", "key"))


def test_synthesizeme_learns_each_person_once(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    summary, folder = evaluate_choices(
        {"tastes": Tastes(people=6, records=4, cases_each=3)},
        ChoicePlan(split="dev", users=2),
        source=source(scripted_server, "synthesizeme"),
        out=tmp_path / "run",
    )
    found = summary["tasks"]["tastes"]["conditions"]["synthesizeme"]
    assert found["pick"]["n_cases"] == 6
    assert "pick_own_over_other" in found
    learned = [key for key in listed(folder.path, "scores.jsonl", "key") if key.startswith("synthesizeme/")]
    assert len(learned) == len(set(learned)) == 2


def test_a_strategy_that_does_not_exist(scripted_server: ScriptedServer) -> None:
    with pytest.raises(InputError, match="no strategy 'magic'"):
        source(scripted_server, "magic")
    assert "none" not in MODEL_STRATEGIES


class Exclaiming:
    """Finds a text warm that exclaims."""

    name = "exclaiming@1"

    def __init__(self) -> None:
        self.asked = 0

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        self.asked += 1
        exclaims = "!" in context[-1]["content"]
        return [TextScore(-1.0 if (text == "Warm") == exclaims else -4.0, 1) for text in texts]


def test_a_reward_that_reads_statements_stands_beside_the_reward(
    scripted_server: ScriptedServer, tmp_path: Path
) -> None:
    tasks = {"tastes": Tastes(people=4, records=1, cases_each=2)}
    scorer = Exclaiming()

    def run() -> tuple[dict[str, Any], EvalFolder]:
        asking = source(scripted_server, REWARD_STATEMENTS, scorer=scorer)
        return evaluate_choices(tasks, ChoicePlan(split="dev"), source=asking, out=tmp_path / "run")

    summary, folder = run()
    found = summary["tasks"]["tastes"]["conditions"]
    assert found[REWARD_STATEMENTS]["log_loss"]["mean"] < found[REWARD]["log_loss"]["mean"]
    assert "pick_own_over_other" in found[REWARD_STATEMENTS]
    assert listed(folder.path, "scores.jsonl", "key") == [f"tastes/{REWARD_STATEMENTS}"]
    asked = scorer.asked
    again, _ = run()
    assert again == summary
    assert scorer.asked == asked, "what is kept is not read again"
    assert not scripted_server.requests


def test_two_readings_stand_together_where_both_were_asked_for(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    tasks = {"tastes": Tastes(people=6, records=2, cases_each=2)}
    asking = source(scripted_server, "few-shot", REWARD_STATEMENTS, scorer=Exclaiming())
    summary, folder = evaluate_choices(tasks, ChoicePlan(split="test"), source=asking, out=tmp_path / "run")
    found = summary["tasks"]["tastes"]["conditions"]
    assert "pick_own_over_other" in found[STACKED]
    slope = summary["tasks"]["tastes"]["calibration"][STACKED]["slope"]
    outcomes = listed(folder.path, "cases.jsonl", "result")
    assert outcomes
    for outcome in outcomes:
        odds = {name: to_log_odds(p) for name, p in outcome["probabilities"].items()}
        assert odds[STACKED] == pytest.approx(slope * (odds[REWARD_STATEMENTS] + odds["few-shot"]), abs=1e-3)


def test_statements_are_not_read_without_log_probabilities(scripted_server: ScriptedServer, tmp_path: Path) -> None:
    program = personalizer(scripted_server, scorer=None)
    asking = ModelChoices(lambda _: program, [REWARD_STATEMENTS])
    with pytest.raises(InputError, match="log-probabilities of statements"):
        evaluate_choices({"tastes": Tastes(people=4)}, ChoicePlan(split="dev"), source=asking, out=tmp_path / "run")
