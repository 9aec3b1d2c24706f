"""What a run asks, and the cases that it draws. This file runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hyperalign.errors import InputError
from hyperalign.programs.strategies import STRATEGIES, Strategy

from .cases import Case, Part, Task, choose_users
from .roles import CONTROLS

__all__ = ["Plan", "drawn"]


@dataclass(frozen=True)
class Plan:
    """What a run asks, beside its program and task.

    Attributes:
        strategies: names, or strategies of one's own; ``none`` and ``gold`` may stand among the names.
        part: which part of the people; ways of working are chosen on the one, and told of on the other.
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
    part: Part | None = None
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


def drawn(task: Task, plan: Plan) -> list[Case]:
    """The cases that a plan asks about.

    Raises:
        InputError: the task's data are missing or wrong.
    """
    kept: list[Case] = []
    of_user: Counter[str] = Counter()
    part = [case for case in task.cases(seed=plan.seed) if plan.part in {None, case.part}]
    for case in choose_users(part, plan.users, plan.seed):
        of_user[case.user] += 1
        if plan.cases_each is None or of_user[case.user] <= plan.cases_each:
            kept.append(case)
    return kept
