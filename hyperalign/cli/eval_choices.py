"""``hyperalign eval choices``: one table of how well everything predicts people's choices, over all choice tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from hyperalign.budget import Budget
    from hyperalign.evals.cases import Split
    from hyperalign.programs.reward.features import Encoder
    from hyperalign.programs.reward.population import RewardPopulation

    from .terminal import Reporter

__all__ = ["choice_table", "eval_choices"]


def eval_choices(
    data: str | None,
    *,
    tasks: Sequence[str],
    strategies: Sequence[str],
    split: Split | None,
    users: int | None,
    seed: int,
    encoder: str | None,
    budget: Budget,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make the choice table, print it, and write the report.

    Args:
        data: the folder with a subfolder for each task's data.
        tasks: names or labels of tasks; all if empty.
        strategies: ``reward`` and ``collaborative``; both if empty.
        split: whose people are asked; ``test`` if None.
        users: at most this many users of each task.
        seed: of all sampling.
        encoder: its name; ``none`` for none, and the default one if None.
        budget: counts what is read.
        out: the run's folder.
        as_json: whether to print JSON.

    Raises:
        InputError: there are no data, no such task, or no such strategy.
    """
    from hyperalign.errors import InputError
    from hyperalign.evals.choices import COLLABORATIVE, REWARD, ChoicePlan, evaluate_choices, find_choice_tasks
    from hyperalign.evals.report.choices import write_choice_report
    from hyperalign.programs.reward.population import load_population

    from .terminal import print_json, print_rich, reporter

    if data is None:
        raise InputError("The choice table reads its data from a folder.", remedy="Give it with --data PATH.")
    if unknown := sorted(set(strategies) - {REWARD, COLLABORATIVE}):
        raise InputError(
            f"The choice table has no strategy {unknown[0]!r}.", remedy=f"Choose from: {REWARD}, {COLLABORATIVE}."
        )
    found, missing = find_choice_tasks(Path(data).expanduser(), tasks)
    for line in missing:
        typer.echo(line, err=True)
    plan = ChoicePlan(
        split=split or "test",
        tasks=tuple(tasks),
        users=users,
        seed=seed,
        reward=not strategies or REWARD in strategies,
        collaborative=not strategies or COLLABORATIVE in strategies,
    )
    population = load_population()
    with reporter(quiet=as_json) as report:
        reads = _open_encoder(encoder, population, budget, report)
        summary, folder = evaluate_choices(found, plan, population=population, encoder=reads, out=out, progress=report)
    written = write_choice_report(folder.path)
    if as_json:
        print_json(summary)
    else:
        print_rich(choice_table(summary))
        typer.echo(f"The run is in {folder.path}; read {written[-1]}")


def choice_table(summary: Mapping[str, Any]) -> Table:
    """One row per task and condition."""
    from hyperalign.evals.report.choices import choice_rows

    from .terminal import make_table

    columns = ("picks", "log loss", "ECE (chance)", "own > other")
    title = f"Choices: split {summary['split']}, 95 % intervals over clusters"
    table = make_table("", title=title, numbers=columns)
    for column in table.columns[1:]:
        column.no_wrap = True
    task = ""
    for row in choice_rows(summary):
        if row.task != task:
            task = row.task
            table.add_row()
            table.add_row(task, style="bold")
        cells = (row.picks, row.loss, row.calibration, row.own_over_other)
        table.add_row(f"  {row.condition}", *(_brief(cell) for cell in cells))
    return table


def _open_encoder(name: str | None, population: RewardPopulation, budget: Budget, report: Reporter) -> Encoder | None:
    """The encoder, where the population knows one; what is missing is said in a line."""
    from hyperalign.errors import MissingExtraError

    axes = population.space.encoder_axes
    if name == "none" or axes is None:
        if name not in {None, "none"}:
            typer.echo(f"The population has no axes for an encoder: '{name}' is not used.", err=True)
        return None
    from hyperalign.backends.models.encoders import DEFAULT_ENCODER, open_encoder

    try:
        found = open_encoder(name or DEFAULT_ENCODER, budget=budget, progress=report.bytes)
    except MissingExtraError as error:
        if name is not None:
            raise
        typer.echo(f"Measured features alone are read. {error.message} {error.remedy}", err=True)
        return None
    if found.name != axes.name:
        typer.echo(f"The population has axes for '{axes.name}', not for '{found.name}': it is not used.", err=True)
        return None
    return found


def _brief(text: str) -> str:
    return text.replace(" to ", "…").replace(" %", "\u202f%").replace("(0.", "(.")
