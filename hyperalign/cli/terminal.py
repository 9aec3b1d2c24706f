"""Progress of long work and what it cost, on the terminal.

Progress goes to standard error: as bars where a person watches, as a line now and then where
a file does. This file knows nothing of what is being done.

What a run is expected to cost in money, in one wording for every verb with ``--dry-run``.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from hyperalign.budget import Budget, Usage

    from .options import ModelOptions

__all__ = ["Reporter", "cost_table", "money_said", "priced_steps", "reporter", "say_expected", "say_undecided"]

_LINE_SECONDS = 10.0


class Reporter:
    """Told of steps; shows them. Made by ``reporter``."""

    def __init__(self, bars: Any = None) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}
        self._last = 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        """One more unit of a step is done."""
        if self._bars is None:
            now = time.monotonic()
            if done == total or now - self._last > _LINE_SECONDS:
                self._last = now
                typer.echo(f"{step}: {done} of {total}", err=True)
            return
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total)

    def bytes(self, source: str, done: int, total: int) -> None:
        """Progress of a download, in bytes."""
        self(f"download ({source}, MB)", done // 1_000_000, max(1, total // 1_000_000))


def expect_cut_answers() -> None:
    """Keep DSPy from saying of each answer that it was cut at a length, where that is done on purpose."""
    logging.getLogger("dspy.clients.lm").setLevel(logging.ERROR)


def say_undecided(asked: int, undecided: int) -> None:
    """Tell how many questions a model left open, if any."""
    if undecided:
        typer.echo(f"{undecided:,} of {asked:,} questions stayed undecided: they count for nothing.", err=True)


@contextmanager
def reporter(*, quiet: bool = False) -> Iterator[Reporter]:
    """A reporter for the time of the ``with`` block.

    Args:
        quiet: show nothing but lines in a log; for output that a program reads.
    """
    if quiet or not sys.stderr.isatty():
        yield Reporter()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Reporter(bars)


def cost_table(budget: Budget) -> Table:
    """What each step has spent, as a table."""
    from rich.table import Table

    table = Table(
        "step", title="What it took", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0)
    )
    for name in ("calls", "replayed", "tokens in", "cached", "tokens out", "seconds", "money"):
        table.add_column(name, justify="right")
    for step, usage in budget.by_step.items():
        table.add_row(step, *_cells(usage))
    table.add_row("all", *_cells(budget.spent), style="bold")
    return table


def _cells(usage: Usage) -> tuple[str, ...]:
    return (
        f"{usage.calls:,}",
        f"{usage.replayed:,}",
        f"{usage.tokens_in:,}",
        f"{usage.tokens_cached:,}",
        f"{usage.tokens_out:,}",
        f"{usage.seconds:.1f}",
        usage.money(briefly=True),
    )


def priced_steps(expected: Mapping[str, Usage], asked: Collection[str], models: ModelOptions) -> dict[str, Usage]:
    """Expected usage with its price, at the provider's prices as LiteLLM knows them.

    Args:
        expected: usage by step.
        asked: the steps that ask the model; a scorer of one's own costs nothing.
        models: who is asked.
    """
    from hyperalign.budget import priced

    return {
        step: priced(usage, _price(models, usage) if step in asked and usage.calls else 0.0)
        for step, usage in expected.items()
    }


def say_expected(
    expected: Mapping[str, Usage], models: ModelOptions, first: Sequence[str], last: str = "", *, as_json: bool
) -> None:
    """Print what a run would cost.

    Args:
        expected: usage by step, with prices.
        models: who is asked.
        first: lines about what would be done.
        last: what else there is to know of the money.
        as_json: print JSON instead, for programs.
    """
    import json

    from hyperalign.budget import Usage

    if as_json:
        content = {
            "model": models.model,
            "steps": {step: usage.as_json() for step, usage in expected.items()},
            "all": sum(expected.values(), Usage()).as_json(),
            "thinking_comes_on_top": _thinks(models),
        }
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for line in first:
        typer.echo(line)
    for step, usage in expected.items():
        typer.echo(f"  {step}: about {usage.calls:,} call(s), {usage.tokens_in:,} tokens in, {usage.tokens_out:,} out")
    typer.echo(" ".join(filter(None, (money_said(expected, models), last))))


def money_said(expected: Mapping[str, Usage], models: ModelOptions) -> str:
    """The money of all steps in a sentence, and whether thinking comes on top of it."""
    from hyperalign.budget import Usage

    total = sum(expected.values(), Usage())
    if total.unpriced:
        said = f"With {models.model} this costs an unknown amount of money: its price is not known here."
    else:
        about = total.money()
        said = f"With {models.model} this costs {about if about[0] != '$' else f'about {about}'}."
    return f"{said} It thinks before it answers: the tokens of that come on top." if _thinks(models) else said


def _price(models: ModelOptions, usage: Usage) -> float | None:
    if models.is_own:
        # As calls are booked: what a vLLM server costs by the call is its owner's to know.
        return None if models.model.startswith("vllm:") else 0.0
    from hyperalign.backends.models.meter import price

    return price(models.model, usage.tokens_in, usage.tokens_out, 0)


def _thinks(models: ModelOptions) -> bool:
    if models.is_own or models.reasoning_effort == "none":
        return False
    from hyperalign.backends.models.parameters import thinks

    return thinks(models.model)
