"""The other people of a benchmark: what a profile's hypotheses are tested against.

They are people who were not drawn, so that nobody who is reported on is anybody else's reference; where all were
drawn, they are each other's. Nothing that a case asks about is among their records.

What a run asks, and the cases that it draws. This file runs nothing.

What a run will cost, said before anything is done.

Counts words, not tokens, and every score as one that must be made. This file calls no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from hyperalign.budget import Usage
from hyperalign.errors import InputError
from hyperalign.population import Population, reference_records
from hyperalign.programs.cost_estimate import TOKENS_PER_WORD
from hyperalign.programs.cost_estimate import estimate_cost as one_fit
from hyperalign.programs.strategies import PROFILE_WORDS, STRATEGIES, Strategy
from hyperalign.records import Record, other_text, own_text, without_repeats

from .cases import Case, Split, Task, choose_users
from .conditions import (
    CONTROLS,
    DELIBERATE,
    DELIBERATE_HOSTILE,
    GOLD,
    HOSTILE,
    INVERTED,
    NONE,
    WRONG_USER,
    named,
    needs_fit,
)
from .solvers.requests import ANSWER_TOKENS, request_ways

__all__ = ["Plan", "TaskPopulation", "estimate_cost", "sample_cases"]

_MIN_PEOPLE = 2
_MIN_RECORDS = 6


class TaskPopulation:
    """A ``Population`` of a benchmark's people.

    Args:
        everybody: all cases of the task.
        sampled: those of this run.
    """

    name = "other people of the task"

    def __init__(self, everybody: Iterable[Case], sampled: Sequence[Case]) -> None:
        users = {case.user for case in sampled}
        asked = {text for case in sampled for text in (case.chosen, case.rejected, case.reference) if text}
        people: dict[str, list[Record]] = {}
        for case in everybody:
            for record in case.records:
                if not asked & {own_text(record), other_text(record)}:
                    people.setdefault(case.user, []).append(record)
        people = {user: without_repeats(theirs) for user, theirs in people.items()}
        undrawn = {user: theirs for user, theirs in people.items() if user not in users}
        enough = len(undrawn) >= _MIN_PEOPLE and sum(map(len, undrawn.values())) >= _MIN_RECORDS
        self._records = [record for theirs in (undrawn if enough else people).values() for record in theirs]

    def records(self, user: str) -> list[Record]:
        """Records of everybody but ``user``: those that agree with them, too, as people do."""
        return [record for record in self._records if record.user != user]


@dataclass(frozen=True)
class Plan:
    """What a run asks, beside its program and task.

    Attributes:
        strategies: names, or strategies of one's own; ``none`` and ``gold`` may stand among the names.
        split: ``dev`` or ``test``: ways of working are chosen on the one and reported on the other; all people if None.
        users: at most so many of them, drawn by the seed; all if None.
        cases_each: at most so many cases of each user; all if None.
        seed: of all draws.
        controls: which of ``CONTROLS`` to add; what is missing is told on the report's first line.
        curve: numbers of records to learn from, beside all of them.
        letters: whether choices are also asked for by letter.
        best_of: drafts to choose each written answer from.
        concurrency: cases at a time.
    """

    strategies: Sequence[str | Strategy] = tuple(STRATEGIES)
    split: Split | None = None
    users: int | None = None
    cases_each: int | None = None
    seed: int = 0
    controls: Collection[str] = CONTROLS
    curve: Sequence[int] = ()
    letters: bool = False
    best_of: int = 1
    concurrency: int = 8

    def __post_init__(self) -> None:
        if any(count < 1 for count in self.curve):
            raise InputError("A curve needs numbers of records, from 1.", remedy="For example: --curve 1,2,4.")


def sample_cases(task: Task, plan: Plan) -> list[Case]:
    """The cases that a plan asks about.

    Raises:
        InputError: the task's data are missing or wrong.
    """
    kept: list[Case] = []
    of_user: Counter[str] = Counter()
    split = [case for case in task.cases(seed=plan.seed) if plan.split in {None, case.split}]
    for case in choose_users(split, plan.users, plan.seed):
        of_user[case.user] += 1
        if plan.cases_each is None or of_user[case.user] <= plan.cases_each:
            kept.append(case)
    return kept


_ANSWER_TOKENS = 400
_STATEMENT_WORDS = 30
_DELIBERATION_TOKENS = 250
_READING_TOKENS = 120


def estimate_cost(
    cases: Sequence[Case], others: Population, plan: Plan, *, reference: int, by_choice: bool = False
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
    conditions = [name for name in strategies for _ in range(points)]
    strangers = conditions if WRONG_USER in plan.controls else []
    controls = [name for name in (WRONG_USER, INVERTED, GOLD) if name in plan.controls]
    for case in cases:
        step = "answers" if case.reference else "choices"
        names = [*conditions, *controls, NONE, *([] if case.reference else strangers)]
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


def _asked(condition: str, case: Case, plan: Plan, by_choice: bool) -> Usage:
    """One condition of one case."""
    raw = sum(len(own_text(record).split()) for record in case.records)
    profile = 0 if condition == NONE else min(PROFILE_WORDS, raw) if condition == "few-shot" else _STATEMENT_WORDS
    context = round((profile + len(case.prompt.split())) * TOKENS_PER_WORD)
    if case.reference:
        drafts = plan.best_of if needs_fit(condition) else 1
        return Usage(calls=drafts, tokens_in=context * drafts, tokens_out=_ANSWER_TOKENS * drafts)
    answers = round((len(case.chosen.split()) + len(case.rejected.split())) * TOKENS_PER_WORD)
    # In both orders.
    letters = Usage(calls=2, tokens_in=2 * (context + answers), tokens_out=2)
    if by_choice:
        return letters
    likelihood = Usage(calls=1, tokens_in=context + answers)
    return likelihood + letters if plan.letters else likelihood
