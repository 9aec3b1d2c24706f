"""``hyperalign eval choices``: one table of how well everything predicts people's choices, over all choice tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import echo

if TYPE_CHECKING:
    from rich.table import Table

    from hyperalign.backends.models.lm import LM
    from hyperalign.budget import Budget
    from hyperalign.evals.cases import Split
    from hyperalign.evals.choices import SampledTask
    from hyperalign.programs.personalizer import Personalizer
    from hyperalign.scores import Scorer

    from .options import ModelOptions
    from .terminal import Reporter

__all__ = ["choice_table", "eval_choices"]

_DEV_USERS = 12
"""So many dev users calibrate strategies that ask a model; others are cheap enough for more."""


def eval_choices(
    data: str | None,
    *,
    tasks: Sequence[str],
    strategies: Sequence[str],
    split: Split | None,
    users: int | None,
    seed: int,
    models: ModelOptions,
    scorer: str | None,
    encoder: str | None,
    reference: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make the choice table, print it, and write the report.

    Args:
        data: the folder with a subfolder for each task's data.
        tasks: names or labels of tasks; all if empty.
        strategies: those that ask a model, beside the two that do not and are always there.
        split: whose people are asked; ``test`` if None.
        users: at most this many users of each task.
        seed: of all sampling.
        models: the model of the strategies that ask one.
        scorer: gives log-probabilities.
        encoder: its name, as ``session.choose_encoder`` takes it.
        reference: how many records of other people statements are tested against.
        out: the run's folder.
        as_json: whether to print JSON.

    Raises:
        InputError: there are no data, no such task, or no such strategy.
    """
    from hyperalign.backends.models.encoders import open_population
    from hyperalign.errors import InputError
    from hyperalign.evals.choices import COLLABORATIVE, REWARD, ChoicePlan, evaluate_choices
    from hyperalign.evals.report import write_choice_report
    from hyperalign.evals.tasks import find_choice_tasks

    from .session import choose_encoder
    from .terminal import print_json, print_rich, reporter

    if data is None:
        raise InputError("The choice table reads its data from a folder.", remedy="Give it with --data PATH.")
    found, missing = find_choice_tasks(Path(data).expanduser(), tasks)
    for line in missing:
        echo(line, err=True)
    asking = [name for name in strategies if name not in {REWARD, COLLABORATIVE}]
    plan = ChoicePlan(
        split=split or "test",
        tasks=tuple(tasks),
        users=users,
        dev_users=min(users or _DEV_USERS, _DEV_USERS) if asking else ChoicePlan.dev_users,
        seed=seed,
    )
    budget = models.new_budget()
    with reporter(quiet=as_json) as report:
        reads = choose_encoder(encoder, budget, report)
        population = open_population(reads)
        source = None
        if asking:
            from hyperalign.evals.solvers.model_choices import ModelChoices

            program = _open_program(models, scorer, budget, report, seed, reference)
            source = ModelChoices(program, asking, population=population, encoder=reads, seed=seed, progress=report)
        config = {"strategies": asking, **models.identity(), "scorer": scorer, "reference": reference} if asking else {}
        summary, folder = evaluate_choices(
            found,
            plan,
            population=population,
            encoder=reads,
            source=source,
            config=config,
            out=out,
            budget=budget,
            progress=report,
        )
    written = write_choice_report(folder.path)
    if as_json:
        print_json(summary)
    else:
        print_rich(choice_table(summary))
        echo(f"The run is in {folder.path}; read {written[-1]}")


def _open_program(
    models: ModelOptions, scorer: str | None, budget: Budget, report: Reporter, seed: int, reference: int
) -> Callable[[SampledTask], Personalizer]:
    """What makes the program of a task for strategies that ask a model."""
    from hyperalign.evals.plan import TaskPopulation
    from hyperalign.programs.personalizer import Personalizer

    from .session import open_models
    from .terminal import mute_length_warnings

    mute_length_warnings()
    opened: list[tuple[LM, Scorer | None]] = []

    def program(sampled: SampledTask) -> Personalizer:
        # Opened by the first task, so that a wrong name of a strategy is refused before a model is downloaded.
        if not opened:
            opened.append(open_models(models, scorer, budget, report))
        lm, reads = opened[0]
        others = TaskPopulation(sampled.task.cases(seed=seed), sampled.cases)
        return Personalizer(lm, scorer=reads, population=others, reference=reference, budget=budget, seed=seed)

    return program


def choice_table(summary: Mapping[str, Any]) -> Table:
    """One row per task and condition."""
    from hyperalign.evals.report import choice_rows

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


def _brief(text: str) -> str:
    return text.replace(" to ", "…").replace(" %", "\u202f%").replace("(0.", "(.")
