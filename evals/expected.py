"""What a run will cost, said before anything is done.

Counts words, not tokens, and every score as one that must be made. This file calls no model.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.budget import Usage
from hyperalign.contrast import Contrast, reference_records
from hyperalign.programs.estimate import TOKENS_PER_WORD
from hyperalign.programs.estimate import estimate as one_fit
from hyperalign.programs.strategies import PROFILE_WORDS
from hyperalign.records import own_text

from .arms import named, needs_fit
from .cases import Case
from .plan import Plan
from .requests import ANSWER_TOKENS, request_ways
from .roles import DELIBERATE, DELIBERATE_HOSTILE, GOLD, HOSTILE, INVERTED, NONE, WRONG_USER

__all__ = ["expected"]

_ANSWER_TOKENS = 400
_STATEMENT_WORDS = 30
_DELIBERATION_TOKENS = 250
_READING_TOKENS = 120


def expected(
    cases: Sequence[Case], others: Contrast, plan: Plan, *, reference: int, by_choice: bool = False
) -> dict[str, Usage]:
    """Expected usage by step.

    Args:
        cases: those drawn.
        others: the other people of the task.
        plan: what is asked.
        reference: how many of the others' records hypotheses are tested against.
        by_choice: the model offers no log-probabilities of text, and is asked for letters.
    """
    if any(case.safe is not None for case in cases):
        return _requests(cases, [str(each) for each in plan.strategies])
    strategies = named(plan.strategies)
    points = 1 + len(plan.curve)
    found: dict[str, Usage] = {}
    if any(needs_fit(name) for name in strategies):
        histories = {case.records[0].user: case.records for case in cases if case.records}
        for user, records in histories.items():
            fit = one_fit(records, reference_records(others, user, records, reference), by_choice=by_choice)
            for step, usage in fit.items():
                found[step] = sum([usage] * points, found.get(step, Usage()))
    arms = [name for name in strategies for _ in range(points)]
    strangers = arms if WRONG_USER in plan.controls else []
    controls = [name for name in (WRONG_USER, INVERTED, GOLD) if name in plan.controls]
    for case in cases:
        step = "answers" if case.reference else "choices"
        names = [*arms, *controls, NONE, *([] if case.reference else strangers)]
        found[step] = sum((_asked(name, case, plan, by_choice) for name in names), found.get(step, Usage()))
    return found


def _requests(cases: Sequence[Case], names: Sequence[str]) -> dict[str, Usage]:
    """Each way answers; deliberation reads once and weighs twice before, and the judge reads twice after."""
    found = {"answers": Usage(), "deliberation": Usage(), "judge": Usage()}
    for case in cases:
        words = round(len(case.prompt.split()) * TOKENS_PER_WORD)
        for way in request_ways(names):
            if case.safe and way in {HOSTILE, DELIBERATE_HOSTILE}:
                continue
            found["answers"] += Usage(calls=1, tokens_in=words, tokens_out=ANSWER_TOKENS)
            if way in {DELIBERATE, DELIBERATE_HOSTILE}:
                asked = _DELIBERATION_TOKENS + words
                found["deliberation"] += Usage(calls=3, tokens_in=3 * asked, tokens_out=_READING_TOKENS)
            if case.safe and way != NONE:
                found["judge"] += Usage(calls=2, tokens_in=2 * (_DELIBERATION_TOKENS + 2 * ANSWER_TOKENS))
    return found


def _asked(arm: str, case: Case, plan: Plan, by_choice: bool) -> Usage:
    """One arm of one case."""
    raw = sum(len(own_text(record).split()) for record in case.records)
    profile = 0 if arm == NONE else min(PROFILE_WORDS, raw) if arm == "few-shot" else _STATEMENT_WORDS
    context = round((profile + len(case.prompt.split())) * TOKENS_PER_WORD)
    if case.reference:
        drafts = plan.best_of if needs_fit(arm) else 1
        return Usage(calls=drafts, tokens_in=context * drafts, tokens_out=_ANSWER_TOKENS * drafts)
    answers = round((len(case.chosen.split()) + len(case.rejected.split())) * TOKENS_PER_WORD)
    # In both orders.
    letters = Usage(calls=2, tokens_in=2 * (context + answers), tokens_out=2)
    if by_choice:
        return letters
    likelihood = Usage(calls=1, tokens_in=context + answers)
    return likelihood + letters if plan.letters else likelihood
