"""Strangers are never oneself, and an inverted profile says the opposite."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case, divergent
from hyperalign.evals.conditions import inverted, wrong_users
from hyperalign.profile import Hypothesis, Measurement, Profile
from hyperalign.programs.reward import Reward
from hyperalign.records import Edit, Pair, Record, Sample
from tests.programs.rewards import LONG, SHORT, brief_reward


def case(user: str, number: int, records: tuple[Record, ...] = ()) -> Case:
    name = f"{user}{number}"
    return Case(name, user, user, "p", records, chosen=f"{name} chose", rejected=f"{name} refused")


@given(st.lists(st.integers(1, 4), min_size=2, max_size=6), st.integers(0, 99))
def test_nobody_gets_their_own_and_everybody_serves(sizes: list[int], seed: int) -> None:
    cases = [case(f"u{user}-", number) for user, size in enumerate(sizes) for number in range(size)]
    found = wrong_users(cases, seed)
    assert set(found) == {c.id for c in cases}
    assert all(found[c.id].user != c.user for c in cases)
    served = Counter(frozenset({c.user, found[c.id].user}) for c in cases)
    assert len({found[c.id].user for c in cases}) == len(sizes), served
    assert wrong_users(cases, seed) == found


def test_another_user_who_has_seen_the_answers_is_skipped() -> None:
    told = Pair(user="bob", prompt="p", chosen="ada0 refused", rejected="ada0 chose")
    cases = [case("ada", 0), case("bob", 0, (told,)), case("bob", 1)]
    assert wrong_users(cases, 1)["ada0"].id == "bob1"


def test_one_user_has_no_other_user() -> None:
    with pytest.raises(InputError, match="of one user"):
        wrong_users([case("ada", 0), case("ada", 1)], 1)


@given(st.lists(st.sampled_from(["warm", "cold", "dry", ""]), min_size=2, max_size=12), st.integers(0, 99))
def test_people_of_one_persona_are_no_controls(personas: list[str], seed: int) -> None:
    cases = [replace(case(f"u{number}-", 0), persona=persona) for number, persona in enumerate(personas)]
    kinds = {each.person for each in cases}
    if len(kinds) < 2:
        with pytest.raises(InputError, match="of one user"):
            wrong_users(cases, seed)
        return
    found = wrong_users(cases, seed)
    assert all(found[each.id].person != each.person for each in cases)
    assert {found[each.id].person for each in cases} == kinds


def test_another_user_is_found_who_neither_wrote_nor_edited_the_answers() -> None:
    wrote = Sample(user="bob", text="ada0 chose")
    mended = Edit(user="bob", prompt="p", draft="ada0 refused", edited="Fine.")
    cases = [case("ada", 0), case("bob", 0, (wrote,)), case("bob", 1, (mended,)), case("bob", 2)]
    assert wrong_users(cases, 1)["ada0"].id == "bob2"
    # Where all have seen them there is no better one.
    assert wrong_users(cases[:3], 1)["ada0"].user == "bob"


def test_people_differ_about_the_same_two_answers() -> None:
    def asked(user: str, chosen: str, rejected: str, prompt: str = "Tea?") -> Case:
        return Case(f"{user}/{prompt}/{chosen}", user, user, prompt, (), chosen=chosen, rejected=rejected)

    differ = [asked("ada", "Yes.", "No."), asked("bob", "No.", "Yes.")]
    agree = [asked("ada", "Yes.", "No.", "Cake?"), asked("bob", "Yes.", "No.", "Cake?")]
    apart = [asked("ada", "Yes.", "Never."), asked("bob", "Never.", "Yes.", "Coffee?")]
    assert divergent([*differ, *agree, *apart]) == [each.id for each in differ]
    assert divergent([*differ, asked("cal", "Yes.", "No.")]) == [*(each.id for each in differ), "cal/Tea?/Yes."]
    assert divergent([]) == divergent(differ[:1]) == []


def test_an_inverted_profile_says_the_opposite_and_no_more() -> None:
    warm = Hypothesis(id="w", statement="Warm.", opposite="Cold.", aspect="style", weight=0.5)
    alone = Hypothesis(id="a", statement="Signs with a star.", aspect="style", weight=0.5)
    own = Profile(
        user="ada",
        hypotheses=[warm, alone],
        examples=[Sample(user="ada", text="My words.")],
        stated=["No emoji."],
        dropped=[warm.model_copy(update={"id": "b", "statement": "Brief.", "opposite": "Long."}), alone],
        direction={"warmth": 0.8},
        style={"commas": Measurement(value=9, reference=5, z=1.5)},
    )
    turned = inverted(own)
    assert [(h.statement, h.opposite, h.weight) for h in turned.hypotheses] == [("Cold.", "Warm.", 0.5)]
    assert (turned.examples, turned.stated) == ([], [])
    assert [h.statement for h in turned.dropped] == ["Long."], "what strategies that test nothing say is turned, too"
    assert turned.direction == {"warmth": pytest.approx(0.2)}
    assert turned.style == {"commas": Measurement(value=1, reference=5, z=-1.5)}
    assert [h.statement for h in own.hypotheses] == ["Warm.", "Signs with a star."]


def test_an_inverted_reward_has_the_opposite_weights() -> None:
    kept = brief_reward("ada")
    turned = inverted(Profile(user="ada", reward=kept)).reward
    assert turned is not None
    own, other = Reward.from_profile(kept), Reward.from_profile(turned)
    assert own.prefer("?", SHORT, LONG).probability > 0.5
    assert other.posterior.mean == pytest.approx(-own.posterior.mean)
    assert other.prefer("?", SHORT, LONG).probability == pytest.approx(own.prefer("?", LONG, SHORT).probability)
