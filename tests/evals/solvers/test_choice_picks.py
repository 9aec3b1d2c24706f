"""What conditions pick: a tested profile by its tests, everything else as it chooses anyway."""

from __future__ import annotations

from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import Condition
from hyperalign.evals.solvers.choice import fill_picks, pick_scores
from hyperalign.population import ShippedPopulation
from hyperalign.profile import Measurement, Profile
from hyperalign.programs.judge import Judge
from hyperalign.programs.strategies import strategy
from hyperalign.records import Sample
from hyperalign.style import estimate, likeness

LONG = (
    "I had meant, dear friend, to write to you long before; but the garden, and the rain, kept me from it; forgive me."
)
USERS = ["ada", "bruno", "chiara"]
CASE = Case("c", "ada", "ada", "Why so late?", (), chosen=LONG, rejected="Late. Sorry. Go ahead!")
LENGTHY, CURT, BLANK = (
    Profile(
        user="ada", style={"sentence_words": Measurement(value=17 + 8 * z, reference=17, z=z, spread=6)} if z else {}
    )
    for z in (1.5, -1.5, 0)
)


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


def test_measured_style_alone_picks_the_example_peoples_own_texts() -> None:
    samples = [record for record in ShippedPopulation().records("") if isinstance(record, Sample)]
    people = {user: [record.text for record in samples if record.user == user] for user in USERS}
    styles = {user: estimate(texts[:4]) for user, texts in people.items()}
    others_right = 0
    for user, other in zip(USERS, [*USERS[1:], USERS[0]], strict=True):
        for own, rejected in zip(people[user][4:8], people[other][4:8], strict=True):
            mine, theirs = (likeness(own, styles[who]) - likeness(rejected, styles[who]) for who in (user, other))
            assert mine > 0
            assert mine > theirs
            others_right += theirs > 0
    assert others_right < 12
