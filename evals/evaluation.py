"""``evaluate``: a program and a task in, a summary with its controls out; everything it did lies in the run's folder.

A ``Personalizer`` is taken apart: its profiles are put before the model by each strategy, and requests are met by
its model; so is a ``Deliberate``, which meets requests in every way. Any other DSPy program is asked as it is, with
``prompt`` and ``records``. This file wires the parts; it measures nothing itself.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, ModelError, ModelOutputError
from hyperalign.files import alone_in
from hyperalign.programs.binary_choice import resolve_scorer
from hyperalign.programs.deliberate import Deliberate
from hyperalign.programs.dspy_internals import AdapterParseError
from hyperalign.programs.personalizer import Personalizer
from hyperalign.programs.replies import tally_answers

from .cases import Case, Task, WritingTask, case_id, fingerprint, records_id
from .conditions import WRONG_USER, Conditions, Profiles, named
from .controls import divergent, wrong_users
from .metrics.authorship import AuthorshipMetrics, authorship_metrics_for
from .metrics.helpfulness import HelpsMore
from .plan import Plan, sample_cases
from .runner import EvalFolder, Outcome, Solver, run_cases
from .solvers.choice import ChoiceSolver
from .solvers.programs import ProgramChoiceSolver, ProgramRequestSolver, ProgramWritingSolver, not_asked
from .solvers.requests import RequestSolver, deliberating, request_ways
from .solvers.writing import WritingSolver
from .summary import summarize

__all__ = ["Result", "evaluate"]


@dataclass(frozen=True)
class Result:
    """What a run found.

    Attributes:
        summary: the data of ``summary.json``.
        outcomes: one a case.
        folder: where everything lies.
    """

    summary: Mapping[str, Any]
    outcomes: Sequence[Outcome]
    folder: Path


def evaluate(
    program: dspy.Module,
    task: Task,
    *,
    users: int | None = None,
    seed: int = 0,
    plan: Plan | None = None,
    out: Path | str | None = None,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run a task.

    Args:
        program: a ``Personalizer``, a ``Deliberate`` for requests, or any DSPy program that takes ``prompt`` and
            ``records`` and answers with ``answer``. In a choice task the prompt shows two answers, A and B, and the
            answer is a letter.
        task: from ``load_task``, or your own.
        users: at most so many, where no plan is given.
        seed: of all draws, where no plan is given.
        plan: everything that is asked.
        out: the run's folder; one in the data folder, named by what is asked, if None.
        budget: where calls are counted; the model must have been given the same one.
        progress: told after each case and step.

    Returns:
        Summary, outcomes and folder. Run again with the same folder, it goes on where it stopped.

    Raises:
        InputError: the task's data, the plan or the folder do not fit, or a plan and its parts are both given.
        BudgetExceededError: a cap was reached; what is done is kept.
        ModelError: the model can't be used at all, or every case ended in an error.
        StorageError: another process is at work in the folder, or it can't be written.
    """
    if plan is not None and (users is not None or seed):
        raise InputError("A plan is given, and users or seed beside it.", remedy="Put them into the plan.")
    plan = plan or Plan(users=users, seed=seed)
    budget = budget or Budget()
    cases = sample_cases(task, plan)
    if not cases:
        raise InputError(f"The task '{task.name}' has no case.", remedy="Look at its data, or ask for more --users.")
    # All that can be refused is refused before the folder is marked as this run's.
    asks_for_help = task.kind == "request"
    ways = request_ways([str(each) for each in plan.strategies]) if asks_for_help else []
    strategies = named(plan.strategies) if isinstance(program, Personalizer) and not asks_for_help else {}
    strangers = wrong_users(cases, plan.seed) if WRONG_USER in plan.controls and not asks_for_help else {}
    authorship = authorship_metrics_for(task, cases)
    beside = {"concurrency": plan.concurrency}
    folder = EvalFolder(Path(out) if out is not None else None, _asked(program, task, plan, cases), beside=beside)
    work: Solver
    if asks_for_help:
        work = _meeting_requests(program, ways)
    elif isinstance(program, Personalizer):
        histories = {records_id(case.records) for case in cases}
        expected = len(histories) * (1 + len(plan.curve))
        profiles = Profiles(program.fit, folder.profiles, expected=expected, progress=progress)
        conditions = Conditions(
            strategies, profiles, strangers=strangers, controls=plan.controls, curve=tuple(plan.curve)
        )
        work = _by_strategy(program, conditions, plan, authorship)
    else:
        work = _as_it_is(program, plan, strangers, authorship)
    model = program.lm if isinstance(program, Personalizer) else None
    with alone_in(folder.path), folder.sitting(budget), dspy.context(**({"lm": model} if model else {})):
        outcomes = run_cases(
            cases, _counted(work, budget), folder.cases, concurrency=plan.concurrency, progress=progress
        )
    if all(outcome.error for outcome in outcomes):
        raise ModelError(
            f"All {len(outcomes)} cases ended in an error; the first: {outcomes[0].error}",
            remedy=f"{folder.cases} has them all. Run the same again to try once more.",
        )
    taken_apart = isinstance(program, Personalizer) or (asks_for_help and isinstance(program, Deliberate))
    summary = summarize(
        task,
        outcomes,
        model=_model(program),
        seed=plan.seed,
        controls=list(plan.controls),
        not_asked=[] if taken_apart else not_asked(task.kind, plan.controls),
        personas={case.user: case.persona for case in cases},
        divergent=divergent(cases),
        usage=folder.cost(),
        authorship=authorship.accuracy(cases) if authorship else None,
    )
    folder.write("summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return Result(summary, outcomes, folder.path)


def _by_strategy(
    program: Personalizer, conditions: Conditions, plan: Plan, authorship: AuthorshipMetrics | None
) -> Solver:
    if authorship is None:
        return ChoiceSolver(conditions, program.scorer, letters=plan.letters)
    judge = program.scorer if plan.best_of > 1 else None
    return WritingSolver(conditions, authorship, best_of=plan.best_of, scorer=judge, answer=program.generate.answer)


def _meeting_requests(program: dspy.Module, ways: Sequence[str]) -> Solver:
    if isinstance(program, Personalizer):
        program = deliberating(program)
    if not isinstance(program, Deliberate):
        return ProgramRequestSolver(program)
    return RequestSolver(ways, program, HelpsMore(resolve_scorer(program.scorer)))


def _as_it_is(
    program: dspy.Module, plan: Plan, strangers: Mapping[str, Case], authorship: AuthorshipMetrics | None
) -> Solver:
    if authorship is None:
        return ProgramChoiceSolver(program, strangers, plan.controls)
    return ProgramWritingSolver(program, authorship, strangers, plan.controls)


def _counted(work: Solver, budget: Budget) -> Solver:
    """The same work, which also says what each case has cost.

    An answer that can't be read is an error of its case, as it may come from a program that is not ours.
    """

    def counting(case: Case) -> dict[str, Any]:
        with budget.step("cases"), budget.tally() as spent, tally_answers(ends=False) as answers:
            try:
                found = work(case)
            except AdapterParseError as error:
                raise ModelOutputError("The answer was not in the form asked for.") from error
        usage = spent()
        tokens = {"in": usage.tokens_in, "out": usage.tokens_out, "cached": usage.tokens_cached}
        return {**found, "tokens": tokens, "questions": {"asked": answers.asked, "undecided": answers.undecided}}

    return counting


def _asked(program: dspy.Module, task: Task, plan: Plan, cases: Sequence[Case]) -> dict[str, Any]:
    """What decides the result; how many cases run at a time does not."""
    chosen = program.scorer if isinstance(program, (Personalizer, Deliberate)) else None
    scorer = resolve_scorer(chosen)
    asked = {name: value for name, value in vars(plan).items() if name != "concurrency"}
    return {
        "task": task.name,
        "cases": fingerprint(cases),
        "texts": case_id(json.dumps(task.texts(), sort_keys=True)) if isinstance(task, WritingTask) else "",
        "program": type(program).__name__,
        "state": _state(program),
        "model": _model(program),
        **_called(program),
        "scorer": scorer.name if scorer is not None else "",
        **asked,
        "strategies": [each if isinstance(each, str) else each.name for each in plan.strategies],
        "controls": sorted(plan.controls),
    }


def _state(program: dspy.Module) -> str:
    """A hash of the program's instructions, demonstrations and settings: one that was optimized is another program."""
    state: dict[str, Any] = {
        name: {key: value for key, value in each.dump_state().items() if key not in {"lm", "traces", "train"}}
        for name, each in program.named_predictors()
    }
    if isinstance(program, Personalizer):
        state["settings"] = program.settings
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _model(program: dspy.Module) -> str:
    return str(getattr(_lm(program), "model", "unknown"))


def _called(program: dspy.Module) -> dict[str, Any]:
    """How the model is called and where it is, as far as its answers may hang on it and it was said."""
    lm = _lm(program)
    target = getattr(lm, "target", None)
    settings = {**getattr(lm, "kwargs", {}), **getattr(target, "fixed", {})}
    # The port of a server of one's own may be another one each time; a password in an address is nobody's to read.
    place = getattr(target, "api_base", None) if getattr(target, "kind", None) == "hosted" else None
    said = {
        "temperature": settings.get("temperature"),
        "reasoning_effort": settings.get("reasoning_effort"),
        "api_base": re.sub(r"//[^/@]*@", "//", place) if place else None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _lm(program: dspy.Module) -> Any:
    return (program.lm if isinstance(program, Personalizer) else None) or dspy.settings.lm
