"""A summary says what was found and nothing more: nothing wins where there is nothing to win."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from hyperalign.budget import Usage
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import CONTROLS, CONTROLS_TO_BEAT, condition_kind
from hyperalign.evals.runner import Outcome
from hyperalign.evals.statistics import Equity, equity
from hyperalign.evals.summary import Tables, _verdicts, summarize

from .small_task import Given, GivenTexts

RUNS = 1_000
SCHEMA = Draft202012Validator(json.loads(files("hyperalign.evals").joinpath("summary.schema.json").read_text()))
CHOICE_CONTROLS = ("wrong-user", "inverted", "vote-length", "vote-word-length", "vote-readability")
TASK = Given([])


def outcome(case: str, user: str, cluster: str | None = None, /, **scores: float | dict[str, float]) -> Outcome:
    """An outcome with scores by condition; a bare number is the accuracy."""
    found = {
        condition.replace("_", "-"): value if isinstance(value, dict) else {"accuracy": value}
        for condition, value in scores.items()
    }
    return Outcome(case, user, cluster or user, {"scores": found})


def found_in(outcomes: Sequence[Outcome], **settings: Any) -> dict[str, Any]:
    """A summary that is true to its published form, also after its way through a file."""
    task = settings.pop("task", TASK)
    summary = summarize(task, outcomes, **{"model": "m", "seed": 3, **settings})
    SCHEMA.validate(json.loads(json.dumps(summary, allow_nan=False)))
    return summary


def test_the_schema_is_one_and_refuses_what_is_no_summary() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)
    good = found_in([outcome("1", "ada", verified=1.0, wrong_user=0.0)])
    for spoil in (
        lambda s: s.pop("disabled_controls"),
        lambda s: s["conditions"]["verified"]["accuracy"].pop("low"),
        lambda s: s["differences"]["wrong-user"]["verified"].pop("p_holm"),
        lambda s: s["verdicts"]["verified"].update(beats_all="yes"),
        lambda s: s.update(kind="essay"),
    ):
        bad = json.loads(json.dumps(good))
        spoil(bad)
        assert not SCHEMA.is_valid(bad)


def test_how_much_of_the_way_to_gold_is_covered() -> None:
    """At every number of records; not of what gold does not reach, nor of what has no chance of one half."""

    def told(case: str, user: str, verified: float, early: float, gold: float) -> Outcome:
        both = {"accuracy": verified, "own_over_other": 1.0, "order_consistency": 1.0}
        ceiling = {"accuracy": gold, "own_over_other": 0.5, "order_consistency": 1.0}
        found = outcome(case, user, verified=both, gold=ceiling, wrong_user=0.0)
        return Outcome(case, user, user, {"scores": {**found.result["scores"], "verified@4": {"accuracy": early}}})

    summary = found_in(
        [
            told(f"{case}{user}", user, verified, 0.5, 1.0)
            for user in "abcdef"
            for case, verified in ((1, 1.0), (2, 0.5))
        ]
    )
    assert set(summary["gap_closed"]) == {"verified", "verified@4"}
    assert summary["gap_closed"]["verified@4"]["accuracy"]["mean"] == 0.0
    assert list(summary["gap_closed"]["verified"]) == ["accuracy"]
    share = summary["gap_closed"]["verified"]["accuracy"]
    assert (share["mean"], share["low"], share["high"], share["n_clusters"], share["n_cases"]) == (0.5, 0.5, 0.5, 6, 12)
    assert "gap_closed" not in found_in([outcome("1", "ada", verified=1.0, wrong_user=0.0)])


def test_figures_by_hand() -> None:
    summary = found_in(
        [
            outcome("1", "ada", verified=1.0, wrong_user=0.0),
            outcome("2", "ada", verified=0.0, wrong_user=0.0),
            outcome("3", "bob", verified=1.0, wrong_user=1.0),
            Outcome("4", "cal", "cal", {}, "ModelServerError: It hung up."),
        ],
        usage={"infer": Usage(calls=3, tokens_in=30, tokens_out=6)},
        authorship={"style": 0.75},
    )
    assert summary["cases"] == {"scored": 3, "errors": 1}
    assert summary["cluster"] == {"unit": "person", "n": 2}
    # Means of people, not of cases.
    assert summary["conditions"]["verified"]["accuracy"]["mean"] == 0.75
    assert summary["conditions"]["verified"]["accuracy"]["n_cases"] == 3
    against = summary["differences"]["wrong-user"]["verified"]
    assert (against["mean"], against["n_clusters"], against["p_holm"]) == (0.25, 2, 0.5)
    assert summary["cost"]["infer"]["tokens_in"] == 30
    assert summary["authorship_accuracy"] == {"style": 0.75}
    assert (summary["note"], summary["seed"], summary["model"]) == ("Invented.", 3, "m")


def test_a_run_in_which_every_case_failed_has_no_figure() -> None:
    summary = found_in([Outcome("1", "ada", "ada", {}, "ModelServerError: no.")])
    assert summary["cases"] == {"scored": 0, "errors": 1}
    assert summary["conditions"] == summary["verdicts"] == summary["differences"] == summary["equity"] == {}
    assert summary["cluster"]["n"] == 0


def test_controls_that_were_off_are_named() -> None:
    outcomes = [outcome("1", "ada", verified=1.0, gold=1.0)]
    assert found_in(outcomes, controls=["gold"])["disabled_controls"] == ["none", "wrong-user", "inverted", "votes"]
    assert found_in(outcomes, controls=CONTROLS)["disabled_controls"] == []
    assert found_in(outcomes)["controls"] == ["gold"]
    assert [
        condition for condition in (*CONTROLS_TO_BEAT, "gold", "own-text") if condition_kind(condition) == "strategy"
    ] == []
    assert condition_kind("verified") == "strategy"


# Wins


def draws(rng: np.random.Generator, rates: np.ndarray, sizes: np.ndarray) -> dict[str, list[float]]:
    return {
        str(number): rng.binomial(1, rate, size).astype(float).tolist()
        for number, (rate, size) in enumerate(zip(rates, sizes, strict=True))
    }


def world(
    rng: np.random.Generator,
    clusters: int,
    *,
    rates: tuple[float, float],
    share: Mapping[str, float],
    others: float,
    own: float,
) -> Tables:
    """Four strategies and the controls: what a strategy gets right, and what a control does as a share of that.

    Args:
        rng: draws all of it.
        clusters: how many people.
        rates: the beta distribution of how often a strategy picks a person's choice.
        share: the share of that rate that a control reaches.
        others: the same for every control that ``share`` does not name.
        own: how often a strategy's own profile beats another user's.
    """
    sizes, right = rng.integers(2, 6, clusters), rng.beta(*rates, clusters)
    conditions: Tables = {
        name: {"accuracy": draws(rng, right * share.get(name, others), sizes)} for name in CHOICE_CONTROLS
    }
    for name in "abcd":
        beaten = draws(rng, np.full(clusters, own), sizes)
        conditions[name] = {"accuracy": draws(rng, right, sizes), "own_over_other": beaten}
    return conditions


NOTHING_TO_WIN = {
    "every condition picks as well as every other, and nobody's own profile is better than another user's": {
        "rates": (4, 2.5), "share": {}, "others": 1.0, "own": 0.5,
    },
    "everything is beaten but the wrong user's profile: the null that is hardest to keep": {
        "rates": (8, 2), "share": {"wrong-user": 1.0}, "others": 1 / 8, "own": 0.97,
    },
    "every control is beaten, but another user's profile would do as well": {
        "rates": (12, 1), "share": {}, "others": 1 / 8, "own": 0.5,
    },
}  # fmt: skip


@pytest.mark.parametrize("drawn", NOTHING_TO_WIN.values(), ids=NOTHING_TO_WIN)
def test_where_there_is_nothing_to_win_nearly_nothing_wins(drawn: dict[str, Any]) -> None:
    rng = np.random.default_rng(11)
    claims = sum(
        any(found["beats_all"] for found in _verdicts(world(rng, 10, **drawn), "accuracy").values())
        for _ in range(RUNS)
    )
    assert claims / RUNS <= 0.065


def test_what_is_there_is_found() -> None:
    rng = np.random.default_rng(12)
    won = []
    for _ in range(50):
        conditions = world(rng, 12, rates=(12, 1), share={}, others=1 / 8, own=0.5)
        sizes = np.array([len(values) for values in conditions["a"]["accuracy"].values()])
        conditions["a"]["own_over_other"] = draws(rng, np.full(12, 0.95), sizes)
        won.append(_verdicts(conditions, "accuracy"))
    assert sum(found["a"]["beats_all"] for found in won) >= 45
    assert sum(found["b"]["beats_all"] for found in won) <= 5


USERS = [f"u{number}" for number in range(12)]


def run(**conditions: float | dict[str, float]) -> dict[str, Any]:
    return found_in([outcome(user, user, **conditions) for user in USERS])


def test_who_beats_every_control_but_one_has_not_won() -> None:
    beaten = {"wrong_user": 0.0, "inverted": 0.0, "vote_length": 0.0, "vote_word-length": 0.0}
    own = {"accuracy": 1.0, "own_over_other": 1.0}
    all_but_one = run(verified=own, **beaten, **{"vote_readability": 1.0})["verdicts"]["verified"]
    assert all_but_one == {"p_holm": 1.0, "beats_all": False, "closest": "vote-readability"}
    all_of_them = run(verified=own, **beaten, **{"vote_readability": 0.0})["verdicts"]["verified"]
    assert all_of_them["beats_all"]
    assert all_of_them["p_holm"] == pytest.approx(1 / 2**12, abs=1e-5)


def test_who_does_as_well_with_another_s_profile_has_not_won() -> None:
    wins = run(
        verified={"accuracy": 1.0, "own_over_other": 0.5}, hypotheses={"accuracy": 1.0, "own_over_other": 1.0}, none=0.0
    )["verdicts"]
    assert not wins["verified"]["beats_all"]
    assert wins["verified"]["closest"] == "another user's profile"
    assert wins["hypotheses"]["beats_all"]
    assert set(wins) == {"verified", "hypotheses"}, "a control does not win"


def test_in_writing_only_the_main_strategy_can_beat_all_controls() -> None:
    task = GivenTexts([Case("1", "a", "a", "p", (), reference="r")], {})

    def wins(*names: str, **controls: float) -> dict[str, Any]:
        means = {
            **dict.fromkeys(names, -0.1),
            **{condition.replace("_", "-"): mean for condition, mean in controls.items()},
        }
        scores = {condition: {"author_logprob": mean} for condition, mean in means.items()}
        outcomes = [Outcome(user, user, user, {"scores": scores}) for user in USERS]
        found: dict[str, Any] = found_in(outcomes, task=task)["verdicts"]
        return found

    found = wins("few-shot", "verified", "hypotheses", none=-0.9, wrong_user=-0.8)
    assert {condition for condition, each in found.items() if each["beats_all"]} == {"verified"}
    assert {each["p_holm"] for each in found.values()} == {round(3 / 2**12, 5)}, "all of them beat all"
    assert {condition: each.get("wrong_user_strategy") for condition, each in found.items()} == {
        "few-shot": "verified", "verified": None, "hypotheses": "verified"
    }  # fmt: skip
    # Without it the last one is what controls are made under.
    last = wins("hypotheses", "few-shot", none=-0.9, wrong_user=-0.8)
    assert [condition for condition, each in last.items() if each["beats_all"]] == ["few-shot"]
    # Where the control was off, the report's first line says so.
    assert all(each["beats_all"] for each in wins("few-shot", "verified", none=-0.9).values())


def test_gold_need_not_be_beaten_and_what_one_wins_is_adjusted_for_the_others() -> None:
    conditions = {f"s{number}": 1.0 for number in range(4)}
    few = USERS[:6]
    alone = found_in([outcome(user, user, s0=1.0, none=0.0, gold=1.0) for user in few])
    assert alone["verdicts"]["s0"] == {"p_holm": pytest.approx(1 / 64, abs=1e-5), "beats_all": True, "closest": "none"}
    four = found_in([outcome(user, user, none=0.0, gold=1.0, **conditions) for user in few])
    assert {found["beats_all"] for found in four["verdicts"].values()} == {False}
    assert {found["p_holm"] for found in four["verdicts"].values()} == {0.0625}
    assert set(four["differences"]) == {"none", "gold"}


# Parts, people and curves


def test_questions_about_which_people_differ_are_told_apart() -> None:
    outcomes = [
        outcome("d1", "ada", verified=1.0),
        outcome("d2", "bob", verified=1.0),
        outcome("p1", "ada", verified=0.0),
        outcome("p2", "bob", verified=0.0),
    ]
    questions = found_in(outcomes, divergent=["d1", "d2"])["questions"]
    assert questions["divergent"]["verified"]["accuracy"]["mean"] == 1.0
    assert questions["personal"]["verified"]["accuracy"]["mean"] == 0.0
    for one_kind in ([], ["d1", "d2", "p1", "p2"], ["of another run"]):
        assert "questions" not in found_in(outcomes, divergent=one_kind)


def test_equity_is_over_personas_where_there_are_some() -> None:
    outcomes = [
        outcome("1", "u1", verified=1.0, none=0.0),
        outcome("2", "u2", verified=0.0, none=0.0),
        outcome("3", "u3", verified=0.0, none=1.0),
    ]
    alone = found_in(outcomes)["equity"]["verified"]
    assert alone["n_users"] == 3
    assert alone["made_worse"] == pytest.approx(1 / 3)
    grouped = found_in(outcomes, personas={"u1": "warm", "u2": "warm", "u3": "", "u4": "cold"})["equity"]["verified"]
    assert grouped["n_users"] == 2, "two of one persona, and one of their own"
    assert grouped["made_worse"] == pytest.approx(1 / 2)
    assert grouped["spread"] == pytest.approx(np.std([0.5, 0.0], ddof=1))
    assert grouped["worst_decile"] == 0.0


def test_without_a_bare_condition_nobody_is_known_to_write_worse() -> None:
    outcomes = [outcome(user, user, verified={"author_logprob": score}) for user, score in (("a", -1.0), ("b", -2.0))]
    assert found_in(outcomes, task=Given([], "given", "writing"))["equity"]["verified"]["made_worse"] is None


def test_without_a_bare_condition_worse_is_below_chance() -> None:
    outcomes = [outcome(user, user, verified=score) for user, score in (("a", 1.0), ("b", 0.0), ("c", 0.5))]
    assert found_in(outcomes)["equity"]["verified"]["made_worse"] == pytest.approx(1 / 3)


def test_curves_hold_each_number_of_records_and_all() -> None:
    scores = {"verified": 1.0, "verified@1": 0.0, "verified@4": 1.0, "few-shot@1": 0.5, "none": 0.0}
    outcomes = [
        Outcome(u, u, u, {"scores": {condition: {"accuracy": x} for condition, x in scores.items()}})
        for u in ("a", "b")
    ]
    outcomes.append(outcome("c", "c", verified=0.0, none=0.0))  # with too few records for any point
    summary = found_in(outcomes)
    curve = {count: found["accuracy"]["mean"] for count, found in summary["learning_curves"]["verified"].items()}
    assert curve == {"1": 0.0, "4": 1.0, "all": pytest.approx(2 / 3)}
    assert summary["learning_curves"]["few-shot"]["all"] == {}
    for part in ("conditions", "equity", "verdicts"):
        assert not any("@" in condition for condition in summary[part])


def test_writing_is_held_to_the_author_s_log_probability() -> None:
    task = GivenTexts([Case("1", "a", "a", "p", (), reference="r")], {})
    conditions: dict[str, dict[str, float]] = {
        "verified": {"author_logprob": -0.1, "win_rate_vs_none": 1.0, "words": 30.0},
        "none": {"author_logprob": -0.9},
        "own-text": {"author_logprob": -0.05},
    }
    summary = found_in([Outcome(user, user, user, {"scores": conditions}) for user in USERS], task=task)
    assert summary["kind"] == "writing"
    assert summary["controls"] == ["none", "own-text"]
    assert summary["verdicts"]["verified"]["beats_all"], "a ceiling need not be beaten"
    assert summary["differences"]["own-text"]["verified"]["mean"] == pytest.approx(-0.05)
    assert summary["conditions"]["verified"]["win_rate_vs_none"]["low"] < 1.0, "a share at its end is not certain"
    assert summary["conditions"]["verified"]["author_logprob"]["low"] == pytest.approx(-0.1)


def writing_outcomes() -> list[Outcome]:
    """Six people: by style few-shot is nearer than verified, by Delta it is the other way round."""

    def row(style: float, bits: float, delta: float, **content: float) -> dict[str, float]:
        return {"author_logprob": style, "author_bits_saved": bits, "burrows_delta": delta, **content}

    def scores(off: float) -> dict[str, dict[str, float]]:
        return {
            "few-shot": row(-1.0 + off, 0.2, 1.2, words=100.0, refused=0.0),
            "verified": row(-1.5 + off, 0.3, 1.1 - off, words=90.0 + 10 * off, refused=1.0),
            "none": row(-2.0 + off, 0.1, 1.4, words=120.0, refused=0.0),
            "wrong-user": row(-2.5 + off, 0.0, 1.4, words=100.0),
            "own-text": row(0.0 + off, 0.5, 1.0),
        }

    return [Outcome(user, user, user, {"scores": scores(number / 10)}) for number, user in enumerate("abcdef")]


def test_each_judge_says_how_much_nearer_a_strategy_is_and_how_far_it_has_come() -> None:
    task = GivenTexts([Case("1", "a", "a", "p", (), reference="r")], {})
    judges = found_in(writing_outcomes(), task=task)["judges"]
    assert judges["characters"] == {"metric": "author_logprob_characters", "differences": {}, "way_to_own_text": {}}
    style, bits, delta = (judges[name] for name in ("style", "language_model", "delta"))
    assert list(style["differences"]) == ["none", "few-shot", "wrong-user"]
    assert list(style["differences"]["few-shot"]) == ["verified"], "nothing is compared with itself, and no control"
    assert style["differences"]["few-shot"]["verified"]["mean"] == pytest.approx(-0.5)
    assert style["differences"]["none"]["few-shot"]["mean"] == pytest.approx(1.0)
    # Less Delta is nearer, and the difference says nearer.
    assert delta["differences"]["few-shot"]["verified"]["mean"] == pytest.approx(0.1 + 0.25)
    assert delta["differences"]["none"]["verified"]["low"] > 0
    assert {name: found["mean"] for name, found in style["way_to_own_text"].items()} == pytest.approx(
        {"few-shot": 0.5, "verified": 0.25, "wrong-user": -0.25}
    )
    assert bits["way_to_own_text"]["verified"]["mean"] == pytest.approx(0.5)
    assert delta["way_to_own_text"]["verified"]["mean"] == pytest.approx((0.3 + 0.25) / 0.4)
    way = delta["way_to_own_text"]["verified"]
    assert way["low"] < way["mean"] < way["high"]


def test_no_way_is_told_to_where_nobody_is_nearer() -> None:
    task = GivenTexts([Case("1", "a", "a", "p", (), reference="r")], {})
    outcomes = writing_outcomes()
    for each in outcomes:
        each.result["scores"]["own-text"]["burrows_delta"] = 1.4
    judges = found_in(outcomes, task=task)["judges"]
    assert judges["delta"]["way_to_own_text"] == {}
    assert judges["style"]["way_to_own_text"]
    # A case that only one condition has makes them incomparable.
    outcomes[0].result["scores"].pop("none")
    assert found_in(outcomes, task=task)["judges"]["style"]["way_to_own_text"] == {}


def test_content_is_compared_with_few_shot_prompting() -> None:
    task = GivenTexts([Case("1", "a", "a", "p", (), reference="r")], {})
    found = found_in(writing_outcomes(), task=task)["content_differences"]
    assert set(found) == {"verified", "none", "wrong-user"}
    assert found["verified"]["words"]["mean"] == pytest.approx(-7.5)
    assert found["verified"]["words"]["low"] < -7.5 < found["verified"]["words"]["high"]
    assert found["none"]["words"]["mean"] == pytest.approx(20.0)
    assert set(found["verified"]) == {"words", "refused"}, "judges of authorship say nothing of content"
    assert set(found["wrong-user"]) == {"words"}
    outcomes = writing_outcomes()
    for each in outcomes:
        each.result["scores"].pop("few-shot")
    assert found_in(outcomes, task=task)["content_differences"] == {}
    assert "judges" not in found_in([outcome("1", "ada", verified=1.0)]), "a choice has no author"


def test_undecided_questions_are_counted() -> None:
    one, other = outcome("1", "ada", verified=1.0), outcome("2", "bob", verified=0.0)
    assert "replies" not in found_in([one, other]), "where nothing was asked"
    one.result["replies"] = {"asked": 4, "undecided": 1}
    other.result["replies"] = {"asked": 6, "undecided": 2}
    assert found_in([one, other])["replies"] == {"asked": 10, "undecided": 3}


def test_equity_by_hand() -> None:
    scores = {"ada": [1.0, 0.0], "bob": [1.0], "cal": [0.0, 0.0, 0.0], "dan": [0.5]}
    found = equity(scores, 0.5)
    # Means 0.5, 1, 0 and 0.5: each a quarter of a unit squared from 0.5 where it is not there, over three.
    assert found.spread == pytest.approx(math.sqrt((0.25 + 0.25) / 3))
    assert (found.n_users, found.worst_decile) == (4, 0.0)
    assert found.made_worse == 0.25, "below, not equal"


def test_people_weigh_the_same_however_many_cases_they_have() -> None:
    few = equity({"ada": [1.0], "bob": [0.0]}, 0.5)
    many = equity({"ada": [1.0] * 50, "bob": [0.0]}, 0.5)
    assert few == many


def test_made_worse_is_against_each_person_s_own() -> None:
    scores = {"ada": [2.0], "bob": [2.0], "cal": [2.0]}
    without = {"ada": [3.0, 2.0], "bob": [2.0], "cal": [1.0], "zoe": [9.0]}
    assert equity(scores, without).made_worse == pytest.approx(1 / 3)
    assert equity(scores, {"ada": [3.0]}).made_worse == 1.0, "over those who have one"
    assert math.isnan(equity(scores, {}).made_worse), "nobody has one"


@pytest.mark.parametrize(
    ("people", "worst"), [(1, 0.0), (9, 0.0), (10, 0.0), (11, 0.5), (20, 0.5), (21, 1.0), (30, 1.0)]
)
def test_the_worst_tenth_has_at_least_one_person_and_is_rounded_up(people: int, worst: float) -> None:
    found = equity({f"u{number:02}": [float(number)] for number in reversed(range(people))}, 0.0)
    assert found.worst_decile == worst


def test_one_person_has_no_spread_and_nobody_has_no_figure() -> None:
    assert equity({"ada": [0.25, 0.75]}, 0.4) == Equity(1, 0.0, 0.5, 0.0)
    nobody = equity({"ada": []}, 0.5)
    assert (nobody.n_users, nobody.spread) == (0, 0.0)
    assert math.isnan(nobody.worst_decile)
    assert math.isnan(nobody.made_worse)
