"""``hyperalign eval``: measure strategies against controls. ``hyperalign compare``: compare two runs case by case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import (
    DEFAULT_OPTIONS,
    DataOption,
    DryRun,
    EncoderOption,
    FormOption,
    JsonOption,
    ModelOptions,
    ProgramOption,
    ScorerOption,
    SeedOption,
    model_options,
)
from .terminal import echo

if TYPE_CHECKING:
    from rich.table import Table

    from hyperalign.evals.cases import Split
    from hyperalign.evals.evaluation import Result
    from hyperalign.evals.report.view import View

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
    "nearer_style",
    "nearer_characters",
    "nearer_words",
    "copied_words",
    "refused_safe",
    "complied_unsafe",
    "helps_more",
    "informative",
)
_REFERENCE = 12
_DEFAULT_STRATEGIES = ("none", "few-shot", "hypotheses", "verified")
_STEPS = ("infer", "extract", "choice", "generate", "weigh")


@model_options()
def eval_(
    task: Annotated[
        str,
        typer.Argument(
            help="Name of a task, a JSONL file of your own people, 'choices' for one table of all choice tasks, or "
            "'list'."
        ),
    ],
    data: DataOption = None,
    form: FormOption = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy",
            help="Comma-separated strategies, 'guided' among them to steer writing, and 'gold' if the task has gold "
            "profiles. Default: none,few-shot,hypotheses,verified, or all solvers of xstest.",
        ),
    ] = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", help="Of 'choices': only this task. Repeatable.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Only people of this split: dev or test.")] = None,
    users: Annotated[int | None, typer.Option("--users", min=1, help="At most this many people, sampled.")] = None,
    cases: Annotated[int | None, typer.Option("--cases", min=1, help="At most this many cases per person.")] = None,
    without: Annotated[
        str, typer.Option("--without", help="Controls to leave out: none, wrong-user, inverted, votes, gold.")
    ] = "",
    curve: Annotated[
        str, typer.Option("--curve", help="Learning curve: also fit to these numbers of records, such as 1,2,4,8.")
    ] = "",
    letters: Annotated[
        bool, typer.Option("--letters", help="Also let the model choose between answers A and B, in both orders.")
    ] = False,
    best_of: Annotated[int, typer.Option("--best-of", min=1, help="Drafts to choose each answer from.")] = 1,
    effort: Annotated[
        Literal["medium", "high"],
        typer.Option("--effort", help="What the strategy 'guided' spends on an answer: medium or high."),
    ] = "high",
    reference: Annotated[
        int,
        typer.Option("--reference", min=1, help="Records of the reference population to test against; fit takes 6."),
    ] = _REFERENCE,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    encoder: EncoderOption = None,
    optimized: ProgramOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the run. Default: one in the data folder.")
    ] = None,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Measure strategies on people whose answers are known, beside controls that they must beat.

    The run's folder holds report.html, report.md, summary.json and every case. The same command resumes an interrupted
    run.

    Example: hyperalign eval people.jsonl --strategy none,verified --users 20
    """
    if task == "list":
        _print_tasks(as_json)
        return
    if task == "choices":
        from .eval_choices import eval_choices

        unused = {"--form": form, "--cases": cases, "--without": without, "--curve": curve, "--letters": letters}
        _refuse(
            task,
            {
                **unused,
                "--best-of": best_of > 1,
                "--effort": effort != "high",
                "--program": optimized,
                "--dry-run": dry_run,
            },
        )
        eval_choices(
            data,
            tasks=tasks or [],
            strategies=_parse_names(strategy or ""),
            split=_parse_split(split),
            users=users,
            seed=seed,
            models=models,
            scorer=scorer,
            encoder=encoder,
            reference=reference,
            out=out,
            as_json=as_json,
        )
        return
    _refuse(task, {"--task": tasks})
    from dataclasses import replace

    import dspy

    from hyperalign.backends.models.encoders import open_population
    from hyperalign.backends.models.writers import open_writer
    from hyperalign.concurrency import concurrency_of
    from hyperalign.evals.conditions import GUIDED, controls_without
    from hyperalign.evals.evaluation import evaluate
    from hyperalign.evals.plan import Plan, TaskPopulation, estimate_cost, sample_cases
    from hyperalign.evals.solvers.requests import REQUEST_CONDITIONS, as_deliberate
    from hyperalign.evals.tasks import load_task
    from hyperalign.programs.personalizer import Personalizer

    from .session import asks_by_choice, choose_encoder, open_models, use_programs
    from .terminal import mute_length_warnings, price_steps, print_estimate, reporter

    mute_length_warnings()
    loaded = load_task(task, data=data, form=form)
    default = REQUEST_CONDITIONS if loaded.kind == "request" else _DEFAULT_STRATEGIES
    plan = Plan(
        strategies=default if strategy is None else _parse_names(strategy),
        split=_parse_split(split),
        users=users,
        cases_each=cases,
        seed=seed,
        controls=controls_without(_parse_names(without)),
        curve=_parse_numbers(curve),
        letters=letters,
        best_of=best_of,
        effort=effort,
    )
    sampled = sample_cases(loaded, plan)
    others = TaskPopulation(loaded.cases(seed=seed), sampled)
    if dry_run:
        asks = asks_by_choice(models.model, scorer)
        cost = estimate_cost(sampled, others, plan, reference=reference, by_choice=asks, has_encoder=encoder != "none")
        free = set() if asks else {"score", "evidence"} if letters else {"score", "evidence", "choices"}
        print_estimate(
            price_steps(cost, set(cost) - free, models),
            models,
            f"{len(sampled)} case(s). Nothing was done.",
            "Profiles and scores that are remembered cost nothing.",
            as_json=as_json,
        )
        return
    budget = models.new_budget()
    with reporter(quiet=as_json) as report:
        lm, judge = open_models(models, scorer, budget, report)
        writes = GUIDED in plan.strategies
        writer = open_writer(models.model, budget=budget, progress=report.bytes) if writes else None
        reads = None if loaded.kind == "request" else choose_encoder(encoder, budget, report)
        person = Personalizer(
            lm,
            scorer=judge,
            population=others,
            reference=reference,
            encoder=reads,
            reward_population=open_population(reads),
            budget=budget,
            seed=seed,
        )
        program = as_deliberate(person) if loaded.kind == "request" else person
        use_programs({name: getattr(program, name) for name in _STEPS if hasattr(program, name)}, optimized)
        with dspy.context(lm=lm):
            plan = replace(plan, concurrency=concurrency_of(lm))
            result = evaluate(
                program,
                loaded,
                plan=plan,
                writer=writer,
                population=others,
                out=out,
                budget=budget,
                progress=report,
            )
    _show(result, as_json)


def _show(result: Result, as_json: bool) -> None:
    """Write a run's report, and print its table or its data."""
    from rich.text import Text

    from hyperalign.evals.report import write_report
    from hyperalign.evals.report.view import load_view

    from .terminal import print_json, print_rich

    written = write_report(result.folder)
    if as_json:
        print_json(result.summary)
        return
    print_rich(summary_table(result.summary), *writing_tables(load_view(result.folder)), Text())
    echo(f"The run is in {result.folder}; read {written[-1]}")


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another run of the same task.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two runs of a task on the cases that both have, with intervals and corrected p-values.

    Example: hyperalign compare runs/before runs/after
    """
    from hyperalign.evals.summary import compare as compare_runs

    from .terminal import print_json, print_rich

    found = compare_runs(first, second)
    if as_json:
        print_json(found)
        return
    echo(f"{found['task']}: {found['cases']} cases that both runs have; 95 % intervals over clusters.")
    if not found["judges"]:
        echo("The judges of authorship of the two runs learned from other texts: what they say is not compared.")
    print_rich(comparison_table(found["conditions"]))


def summary_table(summary: Mapping[str, Any]) -> Table:
    """One row per strategy or control, one column per metric."""
    from hyperalign.evals.report.view import format_estimate, metric_name

    from .terminal import make_table

    conditions: Mapping[str, Any] = summary["conditions"]
    shown = [metric for metric in _SHOWN if any(metric in metrics for metrics in conditions.values())]
    cluster = summary["cluster"]
    title = (
        f"{summary['task']}: {summary['cases']['scored']} cases, 95 % intervals over {cluster['n']} × {cluster['unit']}"
    )
    table = make_table("", title=title, numbers=[metric_name(metric) for metric in shown])
    table.columns[0].no_wrap = True
    for condition, metrics in conditions.items():
        table.add_row(condition, *(_brief(format_estimate(metric, metrics.get(metric))) for metric in shown))
    return table


def writing_tables(view: View) -> list[Table]:
    """Of a writing run: what each judge of authorship finds, and what the answers say; nothing of other runs."""
    from hyperalign.evals.conditions import CONTROLS, OWN_TEXT
    from hyperalign.evals.metrics.authorship import RIVALS
    from hyperalign.evals.report.view import metric_name

    from .terminal import make_table

    tables = []
    judged = {name: rows for name, rows in view.judges.items() if name not in {*CONTROLS, OWN_TEXT}}
    if judged:
        columns = [*(f"nearer than {rival}" for rival in RIVALS), "way to own texts"]
        tables.append(make_table("", "judge", title="Nearer to the author, by judge", numbers=columns))
        for name, rows in judged.items():
            for row in rows:
                wins = [_brief(row.wins.get(rival, "")) for rival in RIVALS]
                tables[-1].add_row(name, row.judge, *wins, _brief(row.way))
    if view.content:
        columns = [metric_name(metric) for metric in view.content_metrics]
        tables.append(
            make_table("", title="What the answers say; beside it the difference from few-shot", numbers=columns)
        )
        for name, found in view.content.items():
            tables[-1].add_row(name, *map(_brief, found))
    return tables


def comparison_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Differences between two runs, one row per strategy and metric."""
    from hyperalign.evals.report.view import format_difference, format_estimate, metric_name

    from .terminal import make_table

    columns = ("first", "second", "second minus first", "p (Holm)", "clusters needed")
    title = "Shares in percent, their differences in points."
    table = make_table("strategy", "metric", title=title, numbers=columns)
    for condition, metrics in rows.items():
        for metric, found in metrics.items():
            needed = found["clusters_needed"]
            table.add_row(
                condition,
                metric_name(metric),
                _brief(format_estimate(metric, found["first"])),
                _brief(format_estimate(metric, found["second"])),
                _brief(format_difference(metric, found["difference"])),
                f"{found['p_holm']:.3f}" if "p_holm" in found else "",
                "" if needed is None else str(needed),
            )
    return table


def _brief(text: str) -> str:
    """A figure that a terminal can break only before its interval."""
    return text.replace(" to ", "…").replace(" %", "\u202f%").replace(" points", "")


def _refuse(task: str, options: Mapping[str, object]) -> None:
    """Raise an error for an option that was given and means nothing here."""
    from hyperalign.errors import InputError

    for flag, value in options.items():
        if value:
            raise InputError(f"{flag} does not apply to '{task}'.", remedy="Leave it out.")


def _parse_split(name: str | None) -> Split | None:
    from hyperalign.errors import InputError

    splits: dict[str, Split] = {"dev": "dev", "test": "test"}
    if name is not None and name not in splits:
        raise InputError(f"There is no split {name!r}.", remedy="--split is dev or test; all if left out.")
    return None if name is None else splits[name]


def _parse_names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _parse_numbers(text: str) -> list[int]:
    from hyperalign.errors import InputError

    try:
        return [int(name) for name in _parse_names(text)]
    except ValueError as error:
        raise InputError(
            f"--curve takes numbers of records, not {text!r}.", remedy="For example: --curve 1,2,4."
        ) from error


def _print_tasks(as_json: bool) -> None:
    from inspect import getdoc

    from hyperalign.evals.tasks import TASKS

    from .terminal import print_json

    about = {
        name: {"kind": task.kind, "cluster": task.unit, "data": task.data, "about": (getdoc(task) or "").split("\n")[0]}
        for name, task in sorted(TASKS.items())
    }
    if as_json:
        print_json(about)
        return
    for name, told in about.items():
        echo(f"{name:<15} {told['about']}")
        echo(f"{'':<15} {told['kind']}, intervals over each {told['cluster']}; --data: {told['data']}")
    echo("FILE.jsonl Your own people: pairs and edits make choices, samples with a prompt make writing.")
