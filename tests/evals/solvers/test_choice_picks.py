"""What conditions pick: a tested profile by its tests, everything else as it chooses anyway."""

from __future__ import annotations

from benches.style_picks import picks as by_style
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import Condition
from hyperalign.evals.controls import wrong_users
from hyperalign.evals.solvers.choice import judged, picks
from hyperalign.population import ShippedPopulation
from hyperalign.profile import Measurement, Profile
from hyperalign.programs.judge import Judge
from hyperalign.programs.strategies import strategy
from hyperalign.records import Sample

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
    return judged(CASE, Condition(name, strategy("verified"), profile, other), Judge(None))


def test_a_tested_profile_picks_by_its_tests() -> None:
    assert picked(LENGTHY, CURT) == {"pick": 1.0, "pick_own_over_other": 1.0}
    assert picked(CURT, LENGTHY, name="wrong-user") == {"pick": 0.0, "pick_own_over_other": 0.0}
    assert picked(BLANK, BLANK) == {"pick": 0.5, "pick_own_over_other": 0.5}
    assert picked(LENGTHY) == {"pick": 1.0}


def test_gold_and_untested_profiles_are_not_judged() -> None:
    assert picked(LENGTHY, name="gold") == {}
    assert judged(CASE, Condition("few-shot", strategy("few-shot"), LENGTHY), Judge(None)) == {}


def test_where_somebody_was_judged_everybody_picks() -> None:
    scores = {
        "verified": {"accuracy": 0.0, "pick": 1.0},
        "vote-length": {"accuracy": 0.5},
        "none": {"accuracy_letter": 0.5},
    }
    assert picks(scores) == {
        "verified": {"accuracy": 0.0, "pick": 1.0},
        "vote-length": {"pick": 0.5, "accuracy": 0.5},
        "none": {"accuracy_letter": 0.5},
    }
    alone = {"few-shot": {"accuracy": 1.0, "own_over_other": 0.5}}
    assert picks(alone) == alone


def test_measured_style_alone_picks_the_example_peoples_own_texts() -> None:
    people = {
        user: [r.text for r in ShippedPopulation().records("") if isinstance(r, Sample) and r.user == user]
        for user in USERS
    }
    cases = [
        Case(
            f"{user}-{at}", user, user, "", tuple(Sample(user=user, text=text) for text in texts[:4]),
            chosen=texts[at], rejected=people[USERS[(USERS.index(user) + 1) % 3]][at],
        )
        for user, texts in people.items()
        for at in range(4, 8)
    ]  # fmt: skip
    own, others, above = by_style(cases, wrong_users(cases, 7))
    assert own == above == {user: [1.0] * 4 for user in USERS}
    assert sum(map(sum, others.values())) < 12
