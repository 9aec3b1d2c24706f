"""From cases to a summary, with a scorer that counts words: profiles that fit win, their controls lose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.evals.cases import Case, Kind
from hyperalign.evals.choosing import Choosing
from hyperalign.evals.controls import wrong_users
from hyperalign.evals.runner import Outcome, run_cases
from hyperalign.evals.summary import summarize
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.strategies import strategy
from hyperalign.records import Pair
from tests.programs.parts import Overlap

LIKES = {"ada": "marmalade toast jam", "bob": "engine oil smoke", "cal": "anchor sail rope"}


class Likes:
    """Three people who like their own words."""

    name = "likes"
    kind: Kind = "choice"
    unit = "person"

    def cases(self, *, users: int | None = None, seed: int = 0) -> list[Case]:
        del users, seed
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
            for user, words in LIKES.items()
            for number in range(3)
        ]

    def note(self) -> str:
        return "Invented."


def profile_of(case: Case) -> Profile:
    opposite = "Nothing whatever."
    likes = Hypothesis(id="h", statement=f"Likes {LIKES[case.user]}.", opposite=opposite, aspect="style", weight=0.9)
    return Profile(user=case.user, hypotheses=[likes])


def test_a_profile_that_fits_wins_and_its_controls_do_not(tmp_path: Path) -> None:
    task = Likes()
    cases = task.cases()
    strategies = {name: strategy(name) for name in ("none", "verified", "few-shot")}
    work = Choosing(strategies, profile_of, Overlap(), strangers=wrong_users(cases, 7))
    outcomes = run_cases(cases, work, tmp_path / "cases.jsonl")
    summary = summarize(task, outcomes, model="overlap", seed=7, controls=["wrong-user", "inverted", "vote-length"])
    arms = summary["strategies"]
    assert arms["verified"]["accuracy"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n_clusters": 3, "n_cases": 9}
    assert arms["verified"]["own_over_other"]["mean"] == 1.0
    assert arms["gold"]["accuracy"]["mean"] == arms["gold"]["own_over_other"]["mean"] == 1.0
    assert arms["inverted"]["accuracy"]["mean"] == 0.0
    assert arms["wrong-user"]["accuracy"]["mean"] == 0.5, "it says nothing of these answers"
    assert arms["few-shot"]["accuracy"]["mean"] == 0.5, "there is no example to show"
    assert "none" not in arms, "gains are counted from it"
    assert {"vote-length", "vote-word-length", "vote-readability"} <= set(arms)
    won = summary["against"]["inverted"]["verified"]
    assert (won["mean"], won["n_clusters"]) == (1.0, 3)
    # Three people can't show more than one in eight, times two strategies.
    assert won["p_holm"] >= 2 * 0.125
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["cluster"] == {"unit": "person", "n": 3}


def test_margins_are_kept_and_nothing_but_the_strategy_differs() -> None:
    scorer = Overlap()
    case = Likes().cases()[0]
    found = Choosing({"verified": strategy("verified")}, profile_of, scorer, controls=(), votes=False)(case)
    assert set(found["margins"]) == {"none", "verified", "gold"}
    assert found["margins"]["verified"]["total"] > found["margins"]["none"]["total"]
    assert set(found["scores"]) == {"verified", "gold"}
    assert all(texts == [case.chosen, case.rejected] for _, texts in scorer.asked)
    assert all(turn["content"] for context, _ in scorer.asked for turn in context)


def test_one_cluster_has_no_interval_and_errors_are_counted() -> None:
    task = Likes()
    good = Outcome("a", "ada", "ada", {"scores": {"verified": {"accuracy": 1.0}}})
    bad = Outcome("b", "bob", "bob", {}, "ModelServerError: It hung up.")
    summary = summarize(task, [good, bad], model="m", seed=1, controls=[])
    assert summary["cases"] == {"scored": 1, "errors": 1}
    assert summary["strategies"]["verified"]["accuracy"]["low"] is None
    assert summary["strategies"]["verified"]["accuracy"]["mean"] == pytest.approx(1.0)
