"""Shows what an eval found on a terminal. This file does not run one, and prints nothing itself.

``hyperalign eval``: does it help, whom, and by how much; with its controls.

``hyperalign compare``: two runs of one task, case by case.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    DEFAULT_OPTIONS,
    DryRun,
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ModelOptions,
    ProgramOption,
    ScorerOption,
    SeedOption,
    model_options,
)

if TYPE_CHECKING:
    from rich.table import Table

    from hyperalign.budget import Budget
    from hyperalign.evals.cases import Split
    from hyperalign.evals.evaluation import Result
    from hyperalign.population import Population
    from hyperalign.programs.personalizer import Personalizer

    from .terminal import Reporter

__all__ = ["compare", "comparison_table", "eval_", "summary_table"]

_SHOWN = (
    "pick",
    "pick_own_over_other",
    "accuracy",
    "own_over_other",
    "accuracy_sum",
    "own_over_other_sum",
    "accuracy_letter",
    "order_consistency",
    "author_logprob",
    "win_rate_vs_none",
    "win_rate_vs_few_shot",
    "win_rate_vs_wrong_user",
    "copied_words",
    "refused_safe",
    "complied_unsafe",
    "helps_more",
    "informative",
)


def summary_table(summary: Mapping[str, Any]) -> Table:
    """Strategies and controls by row, metrics by column."""
    from rich.table import Table

    from hyperalign.evals.report.view import figure, metric_name

    conditions: Mapping[str, Any] = summary["strategies"]
    shown = [metric for metric in _SHOWN if any(metric in metrics for metrics in conditions.values())]
    cluster = summary["cluster"]
    title = (
        f"{summary['task']}: {summary['cases']['scored']} cases, 95 % intervals over {cluster['n']} × {cluster['unit']}"
    )
    table = Table("", title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for metric in shown:
        table.add_column(metric_name(metric), justify="right")
    table.columns[0].no_wrap = True
    for condition, metrics in conditions.items():
        table.add_row(condition, *(_brief(figure(metric, metrics.get(metric))) for metric in shown))
    return table


def comparison_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Differences between two runs, one row a strategy and metric."""
    from rich.table import Table

    from hyperalign.evals.report.view import figure, gap, metric_name

    said = "Shares in percent, their differences in points."
    table = Table("strategy", "metric", title=said, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("first", "second", "second minus first", "p (Holm)", "would settle it"):
        table.add_column(name, justify="right")
    for condition, metrics in rows.items():
        for metric, found in metrics.items():
            needed = found["clusters_needed"]
            table.add_row(
                condition,
                metric_name(metric),
                _brief(figure(metric, found["first"])),
                _brief(figure(metric, found["second"])),
                _brief(gap(metric, found["difference"])),
                f"{found['p_holm']:.3f}" if "p_holm" in found else "",
                "" if needed is None else str(needed),
            )
    return table


def _brief(figure: str) -> str:
    """A figure that a terminal can break only before its interval."""
    return figure.replace(" to ", "…").replace(" %", "\u202f%").replace(" points", "")


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
    split: Annotated[
        str | None, typer.Option("--split", help="Only people of the split 'dev', or only those of 'test'.")
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
    from hyperalign.concurrency import concurrency_of
    from hyperalign.evals.conditions import controls_without
    from hyperalign.evals.evaluation import evaluate
    from hyperalign.evals.plan import Plan, TaskPopulation, estimate_cost, sample_cases
    from hyperalign.evals.report import write_report
    from hyperalign.evals.solvers.requests import REQUEST_WAYS, deliberating
    from hyperalign.evals.tasks import load_task

    from .session import asks_by_choice, use_programs
    from .terminal import expect_cut_answers, priced_steps, reporter, say_expected

    expect_cut_answers()
    loaded = load_task(task, data=data, form=form)
    usual = REQUEST_WAYS if loaded.kind == "request" else _USUAL
    plan = Plan(
        strategies=usual if strategy is None else _names(strategy),
        split=_part(split),
        users=users,
        cases_each=cases,
        seed=seed,
        controls=controls_without(_names(without)),
        curve=_numbers(curve),
        letters=letters,
        best_of=best_of,
    )
    asked = sample_cases(loaded, plan)
    others = TaskPopulation(loaded.cases(seed=seed), asked)
    if dry_run:
        asks = asks_by_choice(models.model, scorer)
        cost = estimate_cost(asked, others, plan, reference=reference, by_choice=asks)
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
            plan = replace(plan, concurrency=concurrency_of(person.lm))
            result = evaluate(program, loaded, plan=plan, out=out, budget=budget, progress=report)
    written = write_report(result.folder)
    _show(result, [str(path) for path in written], as_json)


def _program(
    models: ModelOptions,
    scorer: str | None,
    others: Population,
    reference: int,
    seed: int,
    budget: Budget,
    report: Reporter,
) -> Personalizer:
    from hyperalign.programs.personalizer import Personalizer

    from .session import open_models

    lm, judge = open_models(models, scorer, budget, report)
    return Personalizer(lm, scorer=judge, population=others, reference=reference, budget=budget, seed=seed)


def _part(name: str | None) -> Split | None:
    from hyperalign.errors import InputError

    parts: dict[str, Split] = {"dev": "dev", "test": "test"}
    if name is not None and name not in parts:
        raise InputError(f"There is no split {name!r}.", remedy="--split is dev or test; all if left out.")
    return None if name is None else parts[name]


def _names(text: str) -> list[str]:
    return [name for name in (split.strip() for split in text.split(",")) if name]


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

    console = Console()
    console.print(summary_table(result.summary))
    console.print(f"\nThe run is in {result.folder}; read {written[-1]}", soft_wrap=True, markup=False)


def compare(
    first: Annotated[Path, typer.Argument(help="The folder of a run.")],
    second: Annotated[Path, typer.Argument(help="The folder of another run of the same task.")],
    as_json: JsonOption = False,
) -> None:
    """Say how much better the second run does than the first, on the cases that both have, with intervals."""
    import json

    from hyperalign.evals.compare import compare as compared

    found = compared(first, second)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    console.print(f"{found['task']}: {found['cases']} cases that both runs have; 95 % intervals over clusters.")
    console.print(comparison_table(found["strategies"]))
