"""What conditions pick: a tested profile by its tests, everything else as it chooses anyway."""

from __future__ import annotations

from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import Condition
from hyperalign.evals.solvers.choice import fill_picks, pick_scores
from hyperalign.profile import Profile
from hyperalign.programs.judge import Judge
from hyperalign.programs.strategies import strategy
from tests.programs.rewards import brief_reward

LONG = (
    "I had meant, dear friend, to write to you long before; but the garden, and the rain, kept me from it; forgive me."
)
CASE = Case("c", "ada", "ada", "Why so late?", (), chosen=LONG, rejected="Late. Sorry. Go ahead!")
CURT = Profile(user="ada", reward=brief_reward("ada"))
LENGTHY = Profile(user="ada", reward=brief_reward("ada", turned=True))
BLANK = Profile(user="ada")


def picked(profile: Profile, other: Profile | None = None, *, name: str = "verified") -> dict[str, float]:
    return pick_scores(CASE, Condition(name, strategy("verified"), profile, other), Judge(None))


def test_a_tested_profile_picks_by_its_tests() -> None:
    assert picked(LENGTHY, CURT) == {"pick": 1.0, "pick_own_over_other": 1.0}
    assert picked(CURT, LENGTHY, name="wrong-user") == {"pick": 0.0, "pick_own_over_other": 0.0}
    assert picked(BLANK, BLANK) == {"pick": 0.5, "pick_own_over_other": 0.5}
    assert picked(LENGTHY) == {"pick": 1.0}


def test_gold_and_untested_profiles_are_not_judged() -> None:
    assert picked(LENGTHY, name="gold") == {}
    assert pick_scores(CASE, Condition("few-shot", strategy("few-shot"), LENGTHY), Judge(None)) == {}


def test_where_somebody_was_judged_everybody_picks() -> None:
    scores = {
        "verified": {"accuracy": 0.0, "pick": 1.0},
        "vote-length": {"accuracy": 0.5},
        "none": {"accuracy_letter": 0.5},
    }
    assert fill_picks(scores) == {
        "verified": {"accuracy": 0.0, "pick": 1.0},
        "vote-length": {"pick": 0.5, "accuracy": 0.5},
        "none": {"accuracy_letter": 0.5},
    }
    alone = {"few-shot": {"accuracy": 1.0, "own_over_other": 0.5}}
    assert fill_picks(alone) == alone
