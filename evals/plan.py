"""What a run does: its plan, the cases it samples, its reference population, and what it will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hyperalign.budget import Usage
from hyperalign.dependence import drop_repeats
from hyperalign.errors import InputError, check_counts, check_seed
from hyperalign.population import Population, choose_reference_records
from hyperalign.programs.cost_estimate import TOKENS_PER_WORD
from hyperalign.programs.cost_estimate import estimate_cost as estimate_fit
from hyperalign.programs.guided import EFFORTS, Effort
from hyperalign.programs.strategies import PROFILE_WORDS, STRATEGIES, Strategy
from hyperalign.records import Record, own_text

from .cases import Case, Split, Task, choose_users, records_id, texts_in
from .conditions import (
    CONTROLS,
    DELIBERATE,
    DELIBERATE_HOSTILE,
    FEW_SHOT,
    GOLD,
    GUIDED,
    HOSTILE,
    INVERTED,
    NONE,
    WRONG_USER,
    main_strategy,
    needs_fit,
    resolve_strategies,
)
from .solvers.requests import ANSWER_TOKENS, request_conditions
from .solvers.writing import GUIDED_WORDS

__all__ = ["Plan", "TaskPopulation", "estimate_cost", "sample_cases"]

_MIN_PEOPLE = 2
_MIN_RECORDS = 6


class TaskPopulation:
    """A reference population of a benchmark's people: those who were not sampled, or all if those are too few.

    No record holds an answer of a sampled case.

    Args:
        everybody: all cases of the task.
        sampled: those of this run.
    """

    name = "other people of the task"

    def __init__(self, everybody: Iterable[Case], sampled: Sequence[Case]) -> None:
        users = {case.user for case in sampled}
        answers = set[str]().union(*(case.answers for case in sampled))
        people: dict[str, list[Record]] = {}
        for case in everybody:
            for record in case.records:
                if not answers & texts_in([record]):
                    people.setdefault(case.user, []).append(record)
        people = {user: drop_repeats(theirs) for user, theirs in people.items()}
        unsampled = {user: theirs for user, theirs in people.items() if user not in users}
        enough = len(unsampled) >= _MIN_PEOPLE and sum(map(len, unsampled.values())) >= _MIN_RECORDS
        self._records = [record for theirs in (unsampled if enough else people).values() for record in theirs]

    def records(self, user: str) -> list[Record]:
        """Records of everybody but ``user``."""
        return [record for record in self._records if record.user != user]


@dataclass(frozen=True)
class Plan:
    """What a run does with its program and task.

    Attributes:
        strategies: names, or strategies of your own; ``none`` and ``gold`` may be among the names.
        split: ``dev`` to choose settings on, ``test`` to report on; all people if None.
        users: at most this many of them, sampled; all if None.
        cases_each: at most this many cases of each user; all if None.
        seed: of all sampling.
        controls: which of ``CONTROLS`` to add; the report starts with those that are missing.
        curve: numbers of records to learn from, in addition to all of them.
        letters: whether choices are also asked by letter.
        best_of: drafts that each written answer is chosen from.
        effort: what the strategy ``guided`` spends on an answer.
        concurrency: how many cases run at a time.
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
    effort: Effort = "high"
    concurrency: int = 8

    def __post_init__(self) -> None:
        if self.effort not in EFFORTS:
            raise InputError(f"There is no effort {self.effort!r}.", remedy=f"Choose one of: {', '.join(EFFORTS)}.")
        if any(count < 1 for count in self.curve):
            raise InputError("A learning curve needs numbers of records, from 1.", remedy="For example: --curve 1,2,4.")
        check_counts(users=self.users, cases_each=self.cases_each, best_of=self.best_of, concurrency=self.concurrency)
        check_seed(self.seed)


def sample_cases(task: Task, plan: Plan) -> list[Case]:
    """The cases of a run.

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
# The bare answer, drafts, and one revision.
_GUIDED_CALLS: Mapping[Effort, int] = {"low": 2, "medium": 4, "high": 7}


def estimate_cost(
    cases: Sequence[Case],
    others: Population,
    plan: Plan,
    *,
    reference: int,
    by_choice: bool = False,
    has_encoder: bool = False,
) -> dict[str, Usage]:
    """Expected usage by step, before anything runs. Tokens are estimated from words; no score is assumed cached.

    Args:
        cases: those of the run.
        others: the reference population.
        plan: of the run.
        reference: how many reference records hypotheses are tested against.
        by_choice: whether choices are asked by letter, as the model gives no log-probabilities of text.
        has_encoder: whether an encoder reads texts for profiles.
    """
    if any(case.safe is not None for case in cases):
        return _requests(cases, [str(each) for each in plan.strategies])
    strategies = resolve_strategies(plan.strategies)
    points = 1 + len(plan.curve)
    found: dict[str, Usage] = {}
    if any(needs_fit(name) for name in strategies):
        # A user may have another history in each case.
        histories = {records_id(case.records): case.records for case in cases if case.records}
        for records in histories.values():
            user = records[0].user
            like = choose_reference_records(others, user, records, reference)
            fit = estimate_fit(records, like, by_choice=by_choice, has_encoder=has_encoder)
            for step, usage in fit.items():
                found[step] = sum([usage] * points, found.get(step, Usage()))
    conditions = [name for name in strategies for _ in range(points)]
    other_users = conditions if WRONG_USER in plan.controls else []
    controls = [name for name in (WRONG_USER, INVERTED, GOLD) if name in plan.controls]
    if WRONG_USER in controls and main_strategy(list(strategies)) == GUIDED:
        controls[controls.index(WRONG_USER)] = GUIDED
    for case in cases:
        step = "answers" if case.reference else "choices"
        names = [*conditions, *controls, NONE, *([] if case.reference else other_users)]
        found[step] = sum((_asked(name, case, plan, by_choice) for name in names), found.get(step, Usage()))
    return found


def _requests(cases: Sequence[Case], strategies: Sequence[str]) -> dict[str, Usage]:
    """One answer a condition; deliberation takes three more calls, and the helpfulness judge two."""
    found = {"answers": Usage(), "deliberation": Usage(), "judge": Usage()}
    for case in cases:
        words = round(len(case.prompt.split()) * TOKENS_PER_WORD)
        for name in request_conditions(strategies):
            if case.safe and name in {HOSTILE, DELIBERATE_HOSTILE}:
                continue
            found["answers"] += Usage(calls=1, tokens_in=words, tokens_out=ANSWER_TOKENS)
            if name in {DELIBERATE, DELIBERATE_HOSTILE}:
                asked = _DELIBERATION_TOKENS + words
                found["deliberation"] += Usage(calls=3, tokens_in=3 * asked, tokens_out=_READING_TOKENS)
            if case.safe and name != NONE:
                found["judge"] += Usage(calls=2, tokens_in=2 * (_DELIBERATION_TOKENS + 2 * ANSWER_TOKENS))
    return found


def _asked(condition: str, case: Case, plan: Plan, by_choice: bool) -> Usage:
    raw = sum(len(own_text(record).split()) for record in case.records)
    few = GUIDED_WORDS if GUIDED in plan.strategies else PROFILE_WORDS
    shown = {NONE: 0, FEW_SHOT: min(few, raw), GUIDED: min(GUIDED_WORDS, raw)}
    profile = shown.get(condition, _STATEMENT_WORDS)
    context = round((profile + len(case.prompt.split())) * TOKENS_PER_WORD)
    if case.reference:
        drafts = _GUIDED_CALLS[plan.effort] if condition == GUIDED else plan.best_of if needs_fit(condition) else 1
        return Usage(calls=drafts, tokens_in=context * drafts, tokens_out=_ANSWER_TOKENS * drafts)
    answers = round((len(case.chosen.split()) + len(case.rejected.split())) * TOKENS_PER_WORD)
    letters = Usage(calls=2, tokens_in=2 * (context + answers), tokens_out=2)  # in both orders
    if by_choice:
        return letters
    likelihood = Usage(calls=1, tokens_in=context + answers)
    return likelihood + letters if plan.letters else likelihood
