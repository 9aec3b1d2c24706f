"""``hyperalign eval``: does it help, whom, and by how much; with its controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .model_options import DEFAULT_OPTIONS, ModelOptions, model_options
from .options import (
    DryRun,
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ProgramOption,
    ScorerOption,
    SeedOption,
)

if TYPE_CHECKING:
    from hyperalign.budget import Budget
    from hyperalign.contrast import Contrast
    from hyperalign.evals.cases import Part
    from hyperalign.evals.evaluation import Result
    from hyperalign.programs.personalizer import Personalizer

    from .terminal import Reporter

__all__ = ["eval_"]

_REFERENCE = 12
_USUAL = ("none", "few-shot", "hypotheses", "verified")
_STEPS = ("infer", "extract", "choice", "generate", "weigh")


@model_options()
def eval_(
    task: Annotated[str, typer.Argument(help="A task's name, a JSONL file of your own people, or 'list'.")],
    data: Annotated[
        str | None, typer.Option("--data", help="Where the task's data lie: a path, or OWNER/NAME on the hub.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--form", help="Of AlignX's personas: pair, ugc, demo or all; pair if left out.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            help="Strategies, with commas between; gold where the data has one. none,few-shot,hypotheses,verified if "
            "left out; of xstest all its ways of meeting a request.",
        ),
    ] = None,
    part: Annotated[
        str | None, typer.Option("--part", help="Only people for 'development', or only those for 'report'.")
    ] = None,
    users: Annotated[int | None, typer.Option("--users", min=1, help="At most so many, drawn by the seed.")] = None,
    cases: Annotated[int | None, typer.Option("--cases", min=1, help="At most so many cases of each user.")] = None,
    without: Annotated[
        str, typer.Option("--without", help="Controls to switch off: none, wrong-user, inverted, votes, gold.")
    ] = "",
    curve: Annotated[str, typer.Option("--curve", help="Also learn from so many records each: 1,2,4,8,16.")] = "",
    letters: Annotated[bool, typer.Option("--letters", help="Also ask for choices by letter, in both orders.")] = False,
    best_of: Annotated[int, typer.Option("--best-of", min=1, help="Drafts to choose a written answer from.")] = 1,
    reference: Annotated[
        int,
        typer.Option("--reference", min=1, help="Records of other people to test against; infer and extract take 6."),
    ] = _REFERENCE,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    optimized: ProgramOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's folder; one in the data folder if left out.")
    ] = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Measure strategies on people whose answers are known, beside the controls that they must beat.

    The same command goes on with a run that was stopped. The run's folder holds report.html, report.md,
    summary.json and every case.
    """
    if task == "list":
        _list(as_json)
        return
    from dataclasses import replace

    import dspy

    from hyperalign.budget import Budget
    from hyperalign.concurrency import calls_at_once
    from hyperalign.evals.evaluation import evaluate
    from hyperalign.evals.expected import expected
    from hyperalign.evals.others import OtherPeople
    from hyperalign.evals.plan import Plan, drawn
    from hyperalign.evals.report import write_report
    from hyperalign.evals.requests import REQUEST_WAYS, deliberating
    from hyperalign.evals.roles import controls_without
    from hyperalign.evals.tasks import load_task

    from .costs import priced_steps, say_expected
    from .session import asks_by_choice, use_programs
    from .terminal import expect_cut_answers, reporter

    expect_cut_answers()
    loaded = load_task(task, data=data, form=form)
    usual = REQUEST_WAYS if loaded.kind == "request" else _USUAL
    plan = Plan(
        strategies=usual if strategy is None else _names(strategy),
        part=_part(part),
        users=users,
        cases_each=cases,
        seed=seed,
        controls=controls_without(_names(without)),
        curve=_numbers(curve),
        letters=letters,
        best_of=best_of,
    )
    asked = drawn(loaded, plan)
    others = OtherPeople(loaded.cases(seed=seed), asked)
    if dry_run:
        asks = asks_by_choice(models.model, scorer)
        cost = expected(asked, others, plan, reference=reference, by_choice=asks)
        by_model = {
            step for step in cost if asks or (step not in ("score", "evidence") and (letters or step != "choices"))
        }
        say_expected(
            priced_steps(cost, by_model, models),
            models,
            [f"{len(asked)} case(s). Nothing was done."],
            "Profiles and scores that are remembered cost nothing.",
            as_json=as_json,
        )
        return
    budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
    with reporter(quiet=as_json) as report:
        person = _program(models, scorer, others, reference, seed, budget, report)
        program = deliberating(person) if loaded.kind == "request" else person
        use_programs({name: getattr(program, name) for name in _STEPS if hasattr(program, name)}, optimized)
        with dspy.context(lm=person.lm):
            plan = replace(plan, concurrency=calls_at_once(person.lm))
            result = evaluate(program, loaded, plan=plan, out=out, budget=budget, progress=report)
    written = write_report(result.folder)
    _show(result, [str(path) for path in written], as_json)


def _program(
    models: ModelOptions,
    scorer: str | None,
    others: Contrast,
    reference: int,
    seed: int,
    budget: Budget,
    report: Reporter,
) -> Personalizer:
    from hyperalign.programs.personalizer import Personalizer

    from .session import open_models

    lm, judge = open_models(models, scorer, budget, report)
    return Personalizer(lm, scorer=judge, contrast=others, reference=reference, budget=budget, seed=seed)


def _part(name: str | None) -> Part | None:
    from hyperalign.errors import InputError

    parts: dict[str, Part] = {"development": "development", "report": "report"}
    if name is not None and name not in parts:
        raise InputError(f"There is no part {name!r}.", remedy="--part is development or report; all if left out.")
    return None if name is None else parts[name]


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _numbers(text: str) -> list[int]:
    from hyperalign.errors import InputError

    try:
        return [int(name) for name in _names(text)]
    except ValueError as error:
        raise InputError(
            f"--curve takes numbers of records, not {text!r}.", remedy="For example: --curve 1,2,4."
        ) from error


def _list(as_json: bool) -> None:
    import json
    from inspect import getdoc

    from hyperalign.evals.tasks import TASKS

    about = {
        name: {"kind": task.kind, "cluster": task.unit, "data": task.data, "about": (getdoc(task) or "").split("\n")[0]}
        for name, task in sorted(TASKS.items())
    }
    if as_json:
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
        return
    for name, told in about.items():
        typer.echo(f"{name:<10} {told['about']}")
        typer.echo(f"{'':<10} {told['kind']}, intervals over each {told['cluster']}; --data: {told['data']}")
    typer.echo("FILE.jsonl Your own people: pairs and edits make choices, samples with a prompt make writing.")


def _show(result: Result, written: list[str], as_json: bool) -> None:
    import json

    if as_json:
        typer.echo(json.dumps(result.summary, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from .show_eval import summary_table

    console = Console()
    console.print(summary_table(result.summary))
    console.print(f"\nThe run is in {result.folder}; read {written[-1]}", soft_wrap=True, markup=False)
