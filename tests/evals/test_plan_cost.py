"""What a run will cost, by hand: histories are fitted once, cases are asked under each condition."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hyperalign.budget import Usage
from hyperalign.errors import InputError
from hyperalign.evals.cases import Case
from hyperalign.evals.plan import Plan, estimate_cost
from hyperalign.programs.cost_estimate import estimate_cost as estimate_fit
from hyperalign.records import Record, Sample
from tests.programs.toys import OTHERS, FixedPopulation, jam_sample

HISTORY: tuple[Record, ...] = tuple(jam_sample(number) for number in range(3))
BARE = Case("q", "ada", "ada", "What is it now?", HISTORY, chosen="A b c d e.", rejected="F g h i j.")
WRITTEN = replace(BARE, id="w", chosen="", rejected="", reference="A text of her own.")
ALONE = Plan(strategies=("few-shot",), controls=())


def cost(*cases: Case, **changes: object) -> dict[str, Usage]:
    return estimate_cost(cases, FixedPopulation(OTHERS), replace(ALONE, **changes), reference=6)  # type: ignore[arg-type]


def test_a_choice_is_scored_once_for_each_condition_and_the_bare_prompt() -> None:
    found = cost(BARE)
    assert list(found) == ["choices"], "raw records are not fitted"
    shown = sum(len(record.text.split()) for record in HISTORY if isinstance(record, Sample))
    # 1.4 tokens a word: four words of prompt, ten of answers, and what is shown of the person.
    assert found["choices"] == Usage(calls=2, tokens_in=round((shown + 4) * 1.4) + 14 + round(4 * 1.4) + 14)


def test_every_history_is_fitted_once() -> None:
    fitted = {"strategies": ("verified",)}
    once = cost(BARE, **fitted)["score"]
    assert cost(BARE, replace(BARE, id="r", prompt="And now?"), **fitted)["score"] == once
    # The same person, known by other records: another profile.
    assert cost(BARE, replace(BARE, id="s", records=HISTORY[::-1]), **fitted)["score"] == once + once


def test_letters_are_asked_for_in_both_orders_too() -> None:
    silent, asked = cost(BARE)["choices"], cost(BARE, letters=True)["choices"]
    assert (asked.calls, asked.tokens_in, asked.tokens_out) == (3 * silent.calls, 3 * silent.tokens_in, 2 * 2)


def test_a_model_without_log_probabilities_is_asked_for_letters_alone_and_more_often() -> None:
    read, chosen = (
        estimate_cost(
            [BARE], FixedPopulation(OTHERS), replace(ALONE, strategies=("verified",)), reference=6, by_choice=by_choice
        )
        for by_choice in (False, True)
    )
    assert chosen["choices"].calls == 2 * read["choices"].calls
    assert chosen["choices"].tokens_out == chosen["choices"].calls
    assert chosen["score"].calls == 2 * read["score"].calls, "all statements at once, in both orders"


def test_controls_and_other_users_are_counted() -> None:
    calls = {
        "alone": cost(BARE)["choices"].calls,
        "wrong": cost(BARE, controls=("wrong-user",))["choices"].calls,
        "inverted": cost(BARE, controls=("inverted", "votes"))["choices"].calls,
    }
    # Another user's profile is scored as a control, and under each strategy; votes need no model.
    assert calls == {"alone": 2, "wrong": 4, "inverted": 3}


def test_writing_is_generated_and_drafts_multiply_it() -> None:
    raw, raw_three = cost(WRITTEN)["answers"], cost(WRITTEN, best_of=3)["answers"]
    assert (raw.calls, raw.tokens_out) == (2, 800)
    assert raw_three == raw, "nothing chooses where nothing is tested"
    both = ("few-shot", "verified")
    one, three = cost(WRITTEN, strategies=both)["answers"], cost(WRITTEN, strategies=both, best_of=3)["answers"]
    assert (three.calls, three.tokens_out) == (5, 2000)
    assert three.tokens_in - raw.tokens_in == 3 * (one.tokens_in - raw.tokens_in)
    assert cost(WRITTEN, controls=("wrong-user",))["answers"].calls == 3, "none with other profiles"


def test_a_history_is_fitted_once_and_again_for_each_point_of_a_curve() -> None:
    fit = estimate_fit(HISTORY, OTHERS)
    again = replace(BARE, id="r")
    for cases in ((BARE,), (BARE, again)):
        found = cost(*cases, strategies=("verified", "few-shot"))
        assert {step: found[step] for step in fit} == fit
        assert found["choices"].calls == 3 * len(cases)
    curved = cost(BARE, strategies=("verified",), curve=(1, 2))
    assert {step: curved[step] for step in fit} == {step: sum([usage] * 3, Usage()) for step, usage in fit.items()}
    assert curved["choices"].calls == 4


def test_two_people_cost_twice_as_much() -> None:
    bob = replace(BARE, id="b", user="bob", records=tuple(jam_sample(number, "bob") for number in range(3)))
    one, two = cost(BARE, strategies=("verified",)), cost(BARE, bob, strategies=("verified",))
    assert two == {step: usage + usage for step, usage in one.items()}


def test_a_guided_answer_takes_drafts_and_a_revision_and_no_fit() -> None:
    bare, high = cost(WRITTEN), cost(WRITTEN, strategies=("few-shot", "guided"))
    assert list(high) == ["answers"]
    assert high["answers"].calls - bare["answers"].calls == 7, "the bare answer, five drafts, and one revision"
    medium = cost(WRITTEN, strategies=("few-shot", "guided"), effort="medium")
    assert medium["answers"].calls - bare["answers"].calls == 4
    wrong = cost(WRITTEN, strategies=("few-shot", "guided"), controls=("wrong-user",))
    assert wrong["answers"].calls - high["answers"].calls == 7, "the main strategy's control is guided too"
    with pytest.raises(InputError, match="no effort 'most'"):
        Plan(effort="most")  # type: ignore[arg-type]
