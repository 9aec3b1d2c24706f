"""From cases to a summary, with a scorer that counts words: profiles that fit win, their controls lose."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dspy
import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.evals.cases import Case, CaseKind
from hyperalign.evals.conditions import CONTROLS, Conditions, resolve_strategies, wrong_users
from hyperalign.evals.runner import Outcome, run_cases
from hyperalign.evals.solvers.choice import ChoiceSolver
from hyperalign.evals.summary import summarize
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Pair, Record
from hyperalign.scores import Message, TextScore
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply
from tests.programs.toys import OverlapScorer

LIKES = {
    "ada": "marmalade toast jam",
    "bob": "engine oil smoke",
    "cal": "anchor sail rope",
    "dan": "violin bow rosin",
    "eva": "saddle hoof meadow",
    "fay": "kiln clay glaze",
    "gus": "chess rook gambit",
}
BEATEN_HERE = {"wrong-user", "inverted", "vote-length", "vote-word-length", "vote-readability"}


class Likes:
    """Some people who like their own words."""

    name = "likes"
    kind: CaseKind = "choice"
    unit = "person"

    def __init__(self, people: int = 3) -> None:
        self._people = people

    def cases(self, *, seed: int = 0) -> list[Case]:
        del seed
        return [
            Case(
                id=f"{user}{number}",
                user=user,
                cluster=user,
                prompt="What now?",
                records=(Pair(user=user, prompt="?", chosen="A long answer.", rejected="No."),),
                chosen=f"{words.split()[number]} today.",
                rejected="Nothing whatever.",
                gold=f"Talks of {words}.",
            )
            for user, words in list(LIKES.items())[: self._people]
            for number in range(3)
        ]

    def note(self) -> str:
        return "Invented."


def profile_of(records: Sequence[Record]) -> Profile:
    user, opposite = records[0].user, "Nothing whatever."
    likes = Hypothesis(id="h", statement=f"Likes {LIKES[user]}.", opposite=opposite, aspect="style", weight=0.9)
    return Profile(user=user, hypotheses=[likes])


def arms_of(cases: Sequence[Case], *strategies: str) -> Conditions:
    return Conditions(resolve_strategies(strategies), profile_of, other_users=wrong_users(cases, 7))


def test_a_profile_that_fits_wins_and_its_controls_do_not(tmp_path: Path) -> None:
    task = Likes()
    cases = task.cases()
    work = ChoiceSolver(arms_of(cases, "none", "verified", "few-shot"), OverlapScorer())
    outcomes = run_cases(cases, work, tmp_path / "cases.jsonl")
    summary = summarize(task, outcomes, model="overlap", seed=7)
    conditions = summary["conditions"]
    sure = conditions["verified"]["accuracy"]
    assert (sure["mean"], sure["high"], sure["n_clusters"], sure["n_cases"]) == (1.0, 1.0, 3, 9)
    assert 0.25 < sure["low"] < 0.35, "three people in a row are seen where three in ten are right: 0.025 ** (1 / 3)"
    assert conditions["verified"]["own_over_other"]["mean"] == 1.0
    assert conditions["gold"]["accuracy"]["mean"] == conditions["gold"]["own_over_other"]["mean"] == 1.0
    assert conditions["inverted"]["accuracy"]["mean"] == 0.0
    assert conditions["wrong-user"]["accuracy"]["mean"] == 0.5, "it says nothing of these answers"
    assert conditions["few-shot"]["accuracy"]["mean"] == 0.5, "its example says nothing of these answers"
    assert "none" not in conditions, "gains are counted from it"
    assert {"vote-length", "vote-word-length", "vote-readability"} <= set(conditions)
    won = summary["differences"]["inverted"]["verified"]
    assert (won["mean"], won["n_clusters"]) == (1.0, 3)
    # Three people can't show more than one in eight, times two strategies.
    assert won["p_holm"] >= 2 * 0.125
    assert not any(win["beats_all"] for win in summary["verdicts"].values())
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["cluster"] == {"unit": "person", "n": 3}
    assert (summary["disabled_controls"], set(summary["controls"])) == ([], {*BEATEN_HERE, "gold"})


def test_a_win_needs_people_enough_and_every_control_beaten(tmp_path: Path) -> None:
    task = Likes(7)
    cases = task.cases()
    outcomes = run_cases(
        cases, ChoiceSolver(arms_of(cases, "verified", "few-shot"), OverlapScorer()), tmp_path / "cases.jsonl"
    )
    wins = summarize(task, outcomes, model="overlap", seed=7)["verdicts"]
    assert set(wins) == {"verified", "few-shot"}
    # Seven people all of one mind are seen once in 128 by chance; two strategies were tried.
    assert (wins["verified"]["p_holm"], wins["verified"]["beats_all"]) == (round(2 / 128, 5), True)
    assert wins["verified"]["closest"] in BEATEN_HERE | {"another user's profile"}
    assert not wins["few-shot"]["beats_all"]
    assert wins["few-shot"]["p_holm"] == 1.0


def test_one_control_that_is_not_beaten_is_no_win() -> None:
    task, people = Likes(7), list(LIKES)

    def outcome(user: str, **accuracy: float) -> Outcome:
        return Outcome(
            user, user, user, {"scores": {condition: {"accuracy": value} for condition, value in accuracy.items()}}
        )

    outcomes = [
        outcome(user, **{"verified": 1.0, "wrong-user": 0.0, "inverted": 0.0, "vote-length": 1.0}) for user in people
    ]
    summary = summarize(task, outcomes, model="m", seed=1, controls=["wrong-user", "inverted", "votes"])
    assert summary["verdicts"] == {"verified": {"p_holm": 1.0, "beats_all": False, "closest": "vote-length"}}
    assert summary["differences"]["inverted"]["verified"]["p_holm"] == round(1 / 128, 5)
    assert summary["disabled_controls"] == ["none", "gold"]


def test_margins_are_kept_and_nothing_but_the_strategy_differs() -> None:
    scorer = OverlapScorer()
    case = Likes().cases()[0]
    found = ChoiceSolver(Conditions(resolve_strategies(["verified"]), profile_of, controls=["gold"]), scorer)(case)
    assert set(found["margins"]) == {"none", "verified", "gold"}
    assert found["margins"]["verified"]["total"] > found["margins"]["none"]["total"]
    assert set(found["scores"]) == {"verified", "gold"}
    assert all(texts == [case.chosen, case.rejected] for _, texts in scorer.asked)
    assert all(turn["content"] for context, _ in scorer.asked for turn in context)
    assert "Likes marmalade toast jam." in found["context"]["verified"][-1]["content"]


def test_a_budget_bounds_what_is_said_of_the_person() -> None:
    case = Likes().cases()[0]
    found = ChoiceSolver(
        Conditions(resolve_strategies(["verified"]), profile_of, controls=[]), OverlapScorer(), max_words=3
    )(case)
    assert found["context"]["verified"] == [{"role": "user", "content": "…"}], "four words do not fit into three"
    assert found["scores"]["verified"]["accuracy"] == 0.5


def test_letters_stand_beside_likelihoods_where_they_are_asked_for() -> None:
    cases = Likes().cases()
    found = ChoiceSolver(arms_of(cases, "verified"), OverlapScorer(), letters=True)(cases[0])
    scores = found["scores"]
    assert set(scores["verified"]) == {
        "accuracy",
        "accuracy_sum",
        "own_over_other",
        "own_over_other_sum",
        "pick",
        "pick_own_over_other",
        "accuracy_letter",
        "order_consistency",
    }
    # A and B are words of every question: the counter of words has no side.
    assert scores["verified"]["accuracy_letter"] == scores["none"]["accuracy_letter"] == 0.5
    assert set(scores["none"]) == {"accuracy_letter", "order_consistency"}


def likes_told(request: Recorded) -> str:
    """The answer that shares a word with what the request says of the person; A where none does."""
    told, _, asked = request.prompt.partition("<prompt>")
    likes = set(re.findall(r"\w+", told.partition("- ")[2].lower())) - {"likes", "talks", "of"}
    second = asked.partition("<B>")[2].partition("</B>")[0]
    return "B" if likes & set(re.findall(r"\w+", second.lower())) else "A"


def test_without_a_scorer_letters_are_the_accuracy(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(likes_told)
    cases = Likes().cases()
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        found = ChoiceSolver(arms_of(cases, "verified"), None)(cases[0])
    assert found["margins"] == {}
    undecided = {"accuracy": 0.5, "order_consistency": 0.0}
    assert {name: scores for name, scores in found["scores"].items() if not name.startswith("vote-")} == {
        "verified": {"accuracy": 1.0, "order_consistency": 1.0, "own_over_other": 1.0},
        "gold": {"accuracy": 1.0, "order_consistency": 1.0, "own_over_other": 1.0},
        "wrong-user": undecided,
        "inverted": {"accuracy": 0.0, "order_consistency": 1.0},
        "none": undecided,
    }
    # Five conditions, and another user's profile for two of them, each in both orders.
    assert len(scripted_server.requests) == 2 * 7


def test_controls_that_are_off_cost_nothing(scripted_server: ScriptedServer) -> None:
    with dspy.context(lm=connect(f"vllm:{scripted_server.url}", num_retries=0)):
        conditions = Conditions(resolve_strategies(["verified"]), profile_of, controls=[])
        found = ChoiceSolver(conditions, None)(Likes().cases()[0])
    assert set(found["scores"]) == {"verified"}
    assert len(scripted_server.requests) == 2


def test_one_cluster_has_no_interval_and_errors_are_counted() -> None:
    task = Likes()
    good = Outcome("a", "ada", "ada", {"scores": {"verified": {"accuracy": 1.0}}})
    bad = Outcome("b", "bob", "bob", {}, "ModelServerError: It hung up.")
    summary = summarize(task, [good, bad], model="m", seed=1, controls=[])
    assert summary["cases"] == {"scored": 1, "errors": 1}
    assert summary["conditions"]["verified"]["accuracy"]["low"] is None
    assert summary["conditions"]["verified"]["accuracy"]["mean"] == pytest.approx(1.0)
    assert summary["disabled_controls"] == list(CONTROLS)
    assert (summary["differences"], summary["verdicts"]) == ({}, {}), "nothing was held against it"


class Agrees:
    """Says Yes to statements that share a word with what it was told of the person."""

    name = "agrees"

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        told, _, asked = context[-1]["content"].partition("Would you say: ")
        shared = set(re.findall(r"\w+", told.lower())) & set(re.findall(r"\w+", asked.lower()))
        return [TextScore(-1.0 if (text == "Yes") == bool(shared) else -3.0, 1) for text in texts]


def test_statements_are_agreed_to_and_not_compared_as_texts() -> None:
    plain = Likes().cases()
    cases = [replace(case, agreement="Would you say: {text}") for case in plain]
    found = ChoiceSolver(arms_of(cases, "verified"), Agrees())(cases[0])
    assert found["margins"]["verified"] == {"total": 4.0, "mean": 4.0}, "Yes to the one, No to the other"
    assert found["margins"]["none"] == {"total": 0.0, "mean": 0.0}
    assert found["scores"]["verified"]["accuracy"] == 1.0 > found["scores"]["inverted"]["accuracy"]


class Picked(Likes):
    """Likes, held to what is picked."""

    primary = "pick"


def test_a_task_says_what_its_strategies_are_held_to(tmp_path: Path) -> None:
    task = Picked(7)
    outcomes = run_cases(
        task.cases(), ChoiceSolver(arms_of(task.cases(), "verified"), OverlapScorer()), tmp_path / "cases.jsonl"
    )
    summary = summarize(task, outcomes, model="overlap", seed=7)
    assert summary["primary"] == "pick"
    untested = 0.5
    assert (
        summary["differences"]["wrong-user"]["verified"]["mean"]
        == summary["conditions"]["verified"]["pick"]["mean"] - untested
    )
    by_letter = [replace(outcome, result={"scores": {"verified": {"accuracy": 1.0}}}) for outcome in outcomes]
    assert summarize(task, by_letter, model="m", seed=7)["primary"] == "accuracy"
