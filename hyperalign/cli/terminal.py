"""Progress of long work and what it cost, on the terminal.

Progress goes to standard error: as bars where a person watches, as a line now and then where
a file does. This file knows nothing of what is being done.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from hyperalign.budget import Budget, Usage

__all__ = ["Reporter", "cost_table", "reporter", "say_undecided"]

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
