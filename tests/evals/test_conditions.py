"""Each condition that there is: strategies with other users, learning curves, and controls under one strategy."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case
from hyperalign.evals.conditions import (
    CONTROLS,
    Condition,
    Conditions,
    controls_without,
    curve_point,
    needs_fit,
    resolve_strategies,
    wrong_users,
)
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Record, Sample


class Fits:
    """Fits a person at once, and remembers on what."""

    def __init__(self) -> None:
        self.fitted: list[tuple[str, ...]] = []

    def __call__(self, records: Sequence[Record]) -> Profile:
        self.fitted.append(tuple(record.id for record in records))
        likes = Hypothesis(id="h", statement=f"Has {len(records)}.", opposite="Has none.", aspect="style", weight=1.0)
        return Profile(user=records[0].user if records else "nobody", hypotheses=[likes], stated=["Of the fit."])


def case(user: str, records: int = 6, *, gold: str = "", stated: str = "") -> Case:
    samples = tuple(Sample(user=user, id=f"{user}-{number}", text=f"{user} {number}") for number in range(records))
    return Case(f"q-{user}", user, user, "p", samples, chosen="x", rejected="y", gold=gold, stated=stated)


ADA, BOB = case("ada", gold="Is Ada.", stated="Ada says so."), case("bob", 3, gold="Is Bob.")
OTHER_USERS = {ADA.id: BOB, BOB.id: ADA}


def of(
    case: Case, *strategies: str, controls: Sequence[str] = CONTROLS, curve: Sequence[int] = ()
) -> dict[str, Condition]:
    conditions = Conditions(
        resolve_strategies(strategies), Fits(), other_users=OTHER_USERS, controls=controls, curve=curve
    ).of(case)
    found = {condition.name: condition for condition in conditions}
    assert len(found) == len(conditions), "no name stands for two conditions"
    return found


def statements(profile: Profile | None) -> list[str]:
    assert profile is not None
    return [hypothesis.statement for hypothesis in profile.hypotheses]


def test_all_conditions() -> None:
    conditions = of(ADA, "none", "few-shot", "verified", "hypotheses", "gold")
    assert list(conditions) == ["few-shot", "verified", "hypotheses", "gold", "wrong-user", "inverted"]
    for name in ("verified", "hypotheses"):
        assert (conditions[name].strategy.name, conditions[name].profile.user) == (name, "ada")
        assert statements(conditions[name].profile) == ["Has 6."]
        assert statements(conditions[name].other) == ["Has 3."]
    assert [example.text for example in conditions["few-shot"].profile.examples] == [f"ada {n}" for n in range(6)]
    assert conditions["few-shot"].profile.hypotheses == [], "raw records, not tested"
    gold = conditions["gold"]
    assert (gold.strategy.name, gold.profile.stated, gold.profile.hypotheses) == ("verified", ["Is Ada."], [])
    assert gold.other is not None
    assert gold.other.stated == ["Is Bob."]
    wrong = conditions["wrong-user"]
    assert (wrong.strategy.name, wrong.profile.user, wrong.other) == ("verified", "bob", None)
    turned = conditions["inverted"]
    assert (turned.strategy.name, statements(turned.profile), turned.other) == ("verified", ["Has none."], None)
    assert turned.profile.stated == [], "nobody wrote the opposite of what was stated"


def test_what_came_stated_with_a_person_is_theirs_under_every_strategy() -> None:
    conditions = of(ADA, "few-shot", "verified")
    assert conditions["verified"].profile.stated == ["Of the fit.", "Ada says so."]
    assert conditions["few-shot"].profile.stated == ["Ada says so."]
    theirs = of(BOB, "few-shot", "verified")
    assert theirs["verified"].profile.stated == ["Of the fit."]
    assert theirs["wrong-user"].profile.stated == ["Of the fit.", "Ada says so."], "another user's are that user's"
    for name in ("few-shot", "verified"):
        other = theirs[name].other
        assert other is not None
        assert other.stated[-1] == "Ada says so."
    assert "Ada says so." not in conditions["gold"].profile.stated


def test_a_person_without_records_has_what_is_stated() -> None:
    nobody = case("cal", 0, stated="A sailor.")
    conditions = of(nobody, "few-shot")
    assert (conditions["few-shot"].profile.examples, conditions["few-shot"].profile.stated) == ([], ["A sailor."])


def test_curve_points_learn_from_the_first_records() -> None:
    fits = Fits()
    conditions = Conditions(
        resolve_strategies(["verified", "few-shot"]), fits, other_users=OTHER_USERS, curve=(1, 2, 6, 9)
    ).of(ADA)
    names = [condition.name for condition in conditions]
    assert names[:6] == ["verified", "few-shot", "verified@1", "few-shot@1", "verified@2", "few-shot@2"]
    assert not {"verified@6", "verified@9"} & set(names), "all records are no point beside themselves"
    by_name = {condition.name: condition for condition in conditions}
    assert statements(by_name[curve_point("verified", 2)].profile) == ["Has 2."]
    assert statements(by_name["verified@2"].other) == ["Has 2."], "another user with as many records"
    assert [example.text for example in by_name["few-shot@2"].profile.examples] == ["ada 0", "ada 1"]
    assert ("ada-0", "ada-1") in fits.fitted
    assert by_name["inverted"].profile.user == "ada"
    assert statements(by_name["wrong-user"].profile) == ["Has 3."], "controls have all records"


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_that_is_off_is_not_there(control: str) -> None:
    conditions = of(ADA, "verified", controls=controls_without([control]))
    everything = {"verified", "gold", "wrong-user", "inverted"}
    assert set(conditions) == everything - {control}
    assert control not in controls_without([control])
    assert len(controls_without([control])) == len(CONTROLS) - 1


def test_without_other_users_there_is_nobody_to_compare_with() -> None:
    conditions = Conditions(resolve_strategies(["verified"]), Fits()).of(ADA)
    assert [condition.name for condition in conditions] == ["verified", "gold", "inverted"]
    assert all(condition.other is None for condition in conditions)


def test_without_gold_there_is_no_such_condition() -> None:
    assert "gold" not in of(case("cal"), "verified")


def test_what_no_statement_is_in_cannot_be_inverted() -> None:
    conditions = of(ADA, "few-shot")
    assert "inverted" not in conditions
    assert [example.text for example in conditions["wrong-user"].profile.examples] == [f"bob {n}" for n in range(3)]


@pytest.mark.parametrize(
    ("strategies", "main"),
    [
        (("verified", "few-shot"), "verified"),
        (("few-shot", "hypotheses"), "hypotheses"),
        (("hypotheses", "few-shot", "none"), "few-shot"),
        (("none", "gold"), None),
    ],
)
def test_controls_are_made_under_verified_or_the_last_strategy(strategies: tuple[str, ...], main: str | None) -> None:
    assert Conditions(resolve_strategies(strategies), Fits()).main == main
    conditions = of(ADA, *strategies)
    if main is None:
        assert list(conditions) == ["gold"]
    else:
        assert conditions["wrong-user"].strategy.name == main


def test_nobody_gets_their_own_as_another_s() -> None:
    cases = [case(user, gold=f"Is {user}.") for user in ("ada", "bob", "cal", "dan")]
    for seed in range(5):
        conditions = Conditions(
            resolve_strategies(["verified", "few-shot"]), Fits(), other_users=wrong_users(cases, seed), curve=(2,)
        )
        for each in cases:
            for condition in conditions.of(each):
                assert (condition.profile.user == each.user) is (condition.name != "wrong-user")
                if condition.other is not None:
                    assert condition.other.user != each.user


def test_raw_records_alone_need_no_fit() -> None:
    fits = Fits()
    Conditions(resolve_strategies(["few-shot", "gold", "none", "guided"]), fits, other_users=OTHER_USERS).of(ADA)
    assert fits.fitted == []
    assert {name: needs_fit(name) for name in ("none", "gold", "few-shot", "guided", "hypotheses", "verified")} == {
        "none": False,
        "gold": False,
        "few-shot": False,
        "guided": False,
        "hypotheses": True,
        "verified": True,
    }


def test_names_that_are_none_are_said() -> None:
    with pytest.raises(InputError, match="no strategy 'magic'"):
        resolve_strategies(["verified", "magic"])
    for nothing in ([], ["none"]):
        with pytest.raises(InputError, match="No strategy is named"):
            resolve_strategies(nothing)
    with pytest.raises(InputError, match="no control 'magic'") as caught:
        controls_without(["votes", "magic"])
    assert "wrong-user" in caught.value.remedy
    assert list(resolve_strategies(["few-shot", "none", "verified"])) == ["few-shot", "verified"]
