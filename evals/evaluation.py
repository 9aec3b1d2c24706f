"""``evaluate``: runs a program on a task under all conditions, and writes the outcomes and a summary.

A ``Personalizer`` is run with each strategy, a ``Deliberate`` under each condition of requests. Any other DSPy program
is called as it is, with ``prompt`` and ``records``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, ModelError, ModelOutputError
from hyperalign.files import lock_folder, write_whole
from hyperalign.population import Population, ShippedPopulation
from hyperalign.programs.binary_choice import KeepsContent, resolve_scorer
from hyperalign.programs.decoding import Writer
from hyperalign.programs.deliberate import Deliberate
from hyperalign.programs.dspy_internals import AdapterParseError
from hyperalign.programs.personalizer import Personalizer
from hyperalign.programs.replies import tally_answers
from hyperalign.runs import Journal, journaling, read_cost, track_cost

from .cases import Case, Task, WritingTask, case_id, divergent, fingerprint, records_id
from .conditions import GUIDED, WRONG_USER, Conditions, Profiles, resolve_strategies, wrong_users
from .metrics.authorship import AuthorshipMetrics, authorship_metrics_for
from .metrics.nearness import Nearness
from .plan import Plan, sample_cases
from .runner import EvalFolder, Outcome, Solver, run_cases
from .solvers.choice import ChoiceSolver
from .solvers.programs import ProgramChoiceSolver, ProgramRequestSolver, ProgramWritingSolver, unsupported_controls
from .solvers.requests import HelpsMore, RequestSolver, as_deliberate, request_conditions
from .solvers.writing import Guide, WritingMetrics, WritingSolver
from .summary import summarize

__all__ = ["Result", "evaluate"]


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        summary: the data of ``summary.json``.
        outcomes: one a case; each is read from the folder when it is asked for.
        folder: of the run.
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
    writer: Writer | None = None,
    population: Population | None = None,
    out: Path | str | None = None,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run a program on a task.

    Args:
        program: a ``Personalizer``, a ``Deliberate`` for requests, or any DSPy program that takes ``prompt`` and
            ``records`` and returns ``answer``. In a choice task the prompt shows two answers, A and B, and the
            program answers with a letter.
        task: from ``load_task``, or your own.
        users: at most this many, if no plan is given.
        seed: of all sampling, if no plan is given.
        plan: all settings of the run.
        writer: continues answers for the strategy ``guided``; None lets the program's model draft and revise.
        population: other people, from whose records ``guided`` tells a person's; those that ship if None.
        out: the run's folder; one in the data folder, named by the settings, if None.
        budget: counts calls; the model must have been created with the same one.
        progress: called after each case and step.

    Returns:
        Summary, outcomes and folder. Called again with the same settings, a stopped run continues.

    Raises:
        InputError: the task's data, the plan or the folder do not fit, or both a plan and its fields are given.
        BudgetExceededError: a cap was reached; finished cases are kept.
        ModelError: the model cannot be used at all, or every case ended in an error.
        StorageError: another process uses the folder, or it cannot be written.
    """
    if plan is not None and (users is not None or seed):
        raise InputError("Both a plan and users or a seed are given.", remedy="Put them into the plan.")
    plan = plan or Plan(users=users, seed=seed)
    budget = budget or Budget()
    cases = sample_cases(task, plan)
    if not cases:
        raise InputError(f"The task '{task.name}' has no case.", remedy="Check its data, or raise --users.")
    # Everything that can be refused is refused before the folder is marked as this run's.
    is_request = task.kind == "request"
    ways = request_conditions([str(each) for each in plan.strategies]) if is_request else []
    strategies = resolve_strategies(plan.strategies) if isinstance(program, Personalizer) and not is_request else {}
    other_users = wrong_users(cases, plan.seed) if WRONG_USER in plan.controls and not is_request else {}
    guide = _guide(task, plan, writer, population or ShippedPopulation()) if GUIDED in strategies else None
    metrics = _writing_metrics(task, cases, guide, program)
    notes = {"concurrency": plan.concurrency}
    judges = {"judges": metrics.digest if isinstance(metrics, AuthorshipMetrics) else ""}
    config = _config(program, task, plan, cases, guide) | judges
    folder = EvalFolder(Path(out) if out is not None else None, config, notes=notes)
    solver: Solver
    profiles: Profiles | None = None
    if is_request:
        solver = _request_solver(program, ways)
    elif isinstance(program, Personalizer):
        histories = {records_id(case.records) for case in cases}
        expected = len(histories) * (1 + len(plan.curve))
        profiles = Profiles(program.fit, folder.profiles, expected=expected, progress=progress)
        conditions = Conditions(
            strategies, profiles, other_users=other_users, controls=plan.controls, curve=tuple(plan.curve)
        )
        solver = _strategy_solver(program, conditions, plan, metrics, guide)
    elif metrics is None:
        solver = ProgramChoiceSolver(program, other_users, plan.controls)
    else:
        solver = ProgramWritingSolver(program, metrics, other_users, plan.controls)
    model = program.lm if isinstance(program, Personalizer) else None
    with lock_folder(folder.path), track_cost(folder.path, budget), ExitStack() as held:
        held.enter_context(dspy.context(**({"lm": model} if model else {})))
        for each in _models(program):
            held.enter_context(journaling(each, folder.journal))
        outcomes = run_cases(
            cases,
            _with_usage(solver, budget, folder.journal),
            folder.cases,
            concurrency=plan.concurrency,
            progress=progress,
        )
    if all(outcome.error for outcome in outcomes):
        raise ModelError(
            f"All {len(outcomes)} cases ended in an error; the first: {outcomes[0].error}",
            remedy=f"All errors are in {folder.cases}. Run the same command to try again.",
        )
    supports_all = isinstance(program, Personalizer) or (is_request and isinstance(program, Deliberate))
    summary = summarize(
        task,
        outcomes,
        model=_model(program),
        seed=plan.seed,
        controls=list(plan.controls),
        unsupported=[] if supports_all else unsupported_controls(task.kind, plan.controls),
        personas={case.user: case.persona for case in cases},
        divergent=divergent(cases),
        usage=read_cost(folder.path),
        replies=profiles.replies() if profiles is not None else {},
        authorship=metrics.accuracy(cases) if isinstance(metrics, AuthorshipMetrics) else None,
    )
    if isinstance(metrics, AuthorshipMetrics) and metrics.shared:
        said = (
            f"{len(metrics.shared)} of the authors have too few other texts: the judges learned from those that their "
            "profiles are made from, so that copies count as likeness."
        )
        summary["note"] = f"{summary['note']} {said}".strip()
    write_whole(folder.path / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return Result(summary, outcomes, folder.path)


def _guide(task: Task, plan: Plan, writer: Writer | None, population: Population) -> Guide:
    if task.kind != "writing":
        raise InputError(
            f"The strategy '{GUIDED}' writes, and there is nothing to write in '{task.name}'.",
            remedy="Leave it out, or take a writing task: c50, popquorn-write, or a file of samples with prompts.",
        )
    return Guide(plan.effort, writer, population)


def _writing_metrics(
    task: Task, cases: Sequence[Case], guide: Guide | None, program: dspy.Module
) -> WritingMetrics | None:
    if task.kind == "writing" and all(case.draft and case.rejected for case in cases):
        keeps = KeepsContent(resolve_scorer(program.scorer)) if isinstance(program, Personalizer) else None
        return Nearness(cases, keeps)
    steered = guide.population.records("") if guide is not None else []
    return authorship_metrics_for(task, cases, steered)


def _strategy_solver(
    program: Personalizer,
    conditions: Conditions,
    plan: Plan,
    metrics: WritingMetrics | None,
    guide: Guide | None,
) -> Solver:
    if metrics is None:
        return ChoiceSolver(conditions, program.scorer, letters=plan.letters, encoder=program.encoder)
    judge = program.scorer if plan.best_of > 1 else None
    return WritingSolver(
        conditions, metrics, best_of=plan.best_of, scorer=judge, answer=program.generate.answer, guide=guide
    )


def _request_solver(program: dspy.Module, conditions: Sequence[str]) -> Solver:
    if isinstance(program, Personalizer):
        program = as_deliberate(program)
    if not isinstance(program, Deliberate):
        return ProgramRequestSolver(program)
    return RequestSolver(conditions, program, HelpsMore(resolve_scorer(program.scorer)))


def _with_usage(solver: Solver, budget: Budget, journal: Journal) -> Solver:
    """The same solver, with each case's tokens and unreadable replies added to its result.

    The answers of a case that could not be used are forgotten, so that they are asked anew when the case is.
    """

    def solve(case: Case) -> dict[str, Any]:
        with journal.unless(ModelOutputError):
            return count(case)

    def count(case: Case) -> dict[str, Any]:
        with budget.step("cases"), budget.tally(with_replayed=True) as spent, tally_answers(ends=False) as replies:
            try:
                result = solver(case)
            except AdapterParseError as error:
                # The program may not be ours: one unreadable answer is an error of its case, not of the run.
                raise ModelOutputError("The answer was not in the form asked for.") from error
        usage = spent()
        tokens = {"in": usage.tokens_in, "out": usage.tokens_out, "cached": usage.tokens_cached}
        return {**result, "tokens": tokens, "replies": {"asked": replies.asked, "undecided": replies.undecided}}

    return solve


def _config(program: dspy.Module, task: Task, plan: Plan, cases: Sequence[Case], guide: Guide | None) -> dict[str, Any]:
    """Everything that decides the result; concurrency does not, nor does the effort where nothing is guided."""
    scorer = resolve_scorer(program.scorer if isinstance(program, (Personalizer, Deliberate)) else None)
    settings = {name: value for name, value in vars(plan).items() if name not in {"concurrency", "effort"}}
    if guide is not None:
        people = sorted(record.id for record in guide.population.records(""))
        writer = guide.writer.name if guide.writer is not None else ""
        settings["guided"] = {"effort": guide.effort, "writer": writer, "population": case_id(*people)}
    return {
        "task": task.name,
        "cases": fingerprint(cases),
        "texts": case_id(json.dumps(task.texts(), sort_keys=True)) if isinstance(task, WritingTask) else "",
        "program": type(program).__name__,
        "state": _state(program),
        "model": _model(program),
        **_call_settings(program),
        "scorer": scorer.name if scorer is not None else "",
        **settings,
        "strategies": [each if isinstance(each, str) else each.name for each in plan.strategies],
        "controls": sorted(plan.controls),
    }


def _state(program: dspy.Module) -> str:
    """A hash of the program's instructions, demonstrations and settings, which optimization changes."""
    state: dict[str, Any] = {
        name: {key: value for key, value in each.dump_state().items() if key not in {"lm", "traces", "train"}}
        for name, each in program.named_predictors()
    }
    if isinstance(program, Personalizer):
        state["settings"] = program.settings
    return hashlib.sha256(json.dumps(state, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _model(program: dspy.Module) -> str:
    return str(getattr(_lm(program), "model", "unknown"))


def _call_settings(program: dspy.Module) -> dict[str, Any]:
    """Settings and address of the model, as far as they were given and may change its answers."""
    lm = _lm(program)
    target = getattr(lm, "target", None)
    settings = {**getattr(lm, "kwargs", {}), **getattr(target, "fixed", {})}
    # A local server's port may differ each time. Passwords in addresses are not written to files.
    address = getattr(target, "api_base", None) if getattr(target, "kind", None) == "hosted" else None
    given = {
        "temperature": settings.get("temperature"),
        "reasoning_effort": settings.get("reasoning_effort"),
        "api_base": re.sub(r"//[^/@]*@", "//", address) if address else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _models(program: dspy.Module) -> list[Any]:
    """All models that a program calls."""
    own = [_lm(program), *(predictor.lm for predictor in program.predictors())]
    return list({id(model): model for model in own if model is not None}.values())


def _lm(program: dspy.Module) -> Any:
    return (program.lm if isinstance(program, Personalizer) else None) or dspy.settings.lm
