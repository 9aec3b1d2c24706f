"""All that is shown on the terminal: lines, questions, costs, tables, JSON, and progress on standard error.

Every text goes through ``printable`` and ``scrub_file`` here, so that no escape sequence, no direction override and no
secret reaches the terminal, whoever wrote it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from hyperalign.errors import scrub_file
from hyperalign.text import escape_json, plain, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from hyperalign.budget import Budget, Usage

    from .options import ModelOptions

__all__ = [
    "Reporter",
    "confirm",
    "console",
    "cost_table",
    "describe_cost",
    "echo",
    "json_text",
    "make_table",
    "mute_length_warnings",
    "price_steps",
    "print_estimate",
    "print_json",
    "print_json_text",
    "print_rich",
    "report_passed_over",
    "report_undecided",
    "reporter",
]

_LINE_SECONDS = 10.0


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text, of one or more lines.

    Args:
        text: anything; see ``hyperalign.text.printable``.
        err: on standard error.
        nl: end the line after it.
    """
    typer.echo(scrub_file(printable(text)), err=err, nl=nl)


def confirm(question: str) -> None:
    """Ask whether to go on; a no ends the command."""
    typer.confirm(plain(question), abort=True, err=True)


def console(*, err: bool = False) -> Console:
    """A console of rich on which texts can do nothing but appear."""
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    class _Console(Console):
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                # What moves the cursor of a progress bar is rich's own.
                safe = segment.text if segment.control else scrub_file(printable(segment.text))
                yield segment if safe == segment.text else Segment(safe, segment.style)

    return _Console(stderr=err)


class Reporter:
    """Shows the progress of steps: as bars on a terminal, else as a line every ten seconds."""

    def __init__(self, bars: Any = None) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}
        self._last = 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units of a step are done."""
        if self._bars is None:
            now = time.monotonic()
            if done == total or now - self._last > _LINE_SECONDS:
                self._last = now
                echo(f"{step}: {done} of {total}", err=True)
            return
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total)

    def bytes(self, source: str, done: int, total: int) -> None:
        """Show the progress of a download, in bytes."""
        self(f"download ({source}, MB)", done // 1_000_000, max(1, total // 1_000_000))


@contextmanager
def reporter(*, quiet: bool = False) -> Iterator[Reporter]:
    """A reporter for the time of the ``with`` block.

    Args:
        quiet: show lines, never bars. For output that a program reads.
    """
    if quiet or not sys.stderr.isatty():
        yield Reporter()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console(err=True), transient=True) as bars:
        yield Reporter(bars)


def mute_length_warnings() -> None:
    """Silence DSPy's warning for each answer that reaches its token limit, where that is expected."""
    logging.getLogger("dspy.clients.lm").setLevel(logging.ERROR)


def report_undecided(asked: int, undecided: int) -> None:
    """Report how many questions the model left open, if any."""
    if undecided:
        echo(f"{undecided:,} of {asked:,} questions stayed undecided: they count for nothing.", err=True)


def report_passed_over(skipped: Mapping[str, str]) -> None:
    """Report how many records teach nothing beside the others, and why; by id of a record, the reason."""
    for reason, count in Counter(skipped.values()).items():
        echo(f"Passed over {count:,} record(s): {reason}.", err=True)


def json_text(content: Any, indent: int | None = 2) -> str:
    """Content as JSON."""
    return json.dumps(content, indent=indent, ensure_ascii=False, default=str)


def print_json(content: Any) -> None:
    """Print content as JSON."""
    print_json_text(json_text(content) + "\n")


def print_json_text(text: str) -> None:
    """Print a text that is JSON already, and ends in a line end."""
    typer.echo(escape_json(scrub_file(text)), nl=False)


def print_rich(*parts: RenderableType) -> None:
    """Print tables and other renderables of rich."""
    shown = console()
    for part in parts:
        shown.print(part)


def make_table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """An empty table without lines.

    Args:
        columns: their titles.
        title: of the table.
        numbers: titles of more columns, aligned to the right.
    """
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def cost_table(budget: Budget) -> Table:
    """The usage of each step, as a table."""
    table = make_table(
        "step",
        title="What it took",
        numbers=("calls", "replayed", "tokens in", "cached", "tokens out", "seconds", "money"),
    )
    for step, usage in budget.by_step.items():
        table.add_row(step, *_usage_cells(usage))
    table.add_row("all", *_usage_cells(budget.spent), style="bold")
    return table


def _usage_cells(usage: Usage) -> list[str]:
    counts = (usage.calls, usage.replayed, usage.tokens_in, usage.tokens_cached, usage.tokens_out)
    return [*(f"{count:,}" for count in counts), f"{usage.seconds:.1f}", usage.money(briefly=True)]


def price_steps(expected: Mapping[str, Usage], asked: Collection[str], models: ModelOptions) -> dict[str, Usage]:
    """Expected usage with its price, from LiteLLM's price table.

    Args:
        expected: usage by step.
        asked: the steps that call the model. The others run a scorer on the user's own hardware, which is free.
        models: the model.
    """
    from hyperalign.budget import add_price

    return {
        step: add_price(usage, _price(models, usage) if step in asked and usage.calls else 0.0)
        for step, usage in expected.items()
    }


def print_estimate(
    expected: Mapping[str, Usage], models: ModelOptions, first: str, last: str = "", *, as_json: bool
) -> None:
    """Print the expected cost of a run.

    Args:
        expected: usage by step, with prices.
        models: the model.
        first: what the run would do.
        last: a note on the cost.
        as_json: print JSON instead.
    """
    from hyperalign.budget import Usage

    if as_json:
        print_json(
            {
                "model": models.model,
                "steps": {step: usage.as_json() for step, usage in expected.items()},
                "all": sum(expected.values(), Usage()).as_json(),
                "thinking_comes_on_top": _thinks(models),
            }
        )
        return
    echo(first)
    for step, usage in expected.items():
        echo(f"  {step}: about {usage.calls:,} call(s), {usage.tokens_in:,} tokens in, {usage.tokens_out:,} out")
    echo(" ".join(filter(None, (describe_cost(expected, models), last))))


def describe_cost(expected: Mapping[str, Usage], models: ModelOptions) -> str:
    """The money of all steps in a sentence, and whether reasoning tokens come on top."""
    from hyperalign.budget import Usage

    total = sum(expected.values(), Usage())
    if total.unpriced:
        said = f"With {models.model} this costs an unknown amount of money: its price is not known here."
    else:
        about = total.money()
        said = f"With {models.model} this costs {about if about[0] != '$' else f'about {about}'}."
    return f"{said} The tokens of its reasoning come on top." if _thinks(models) else said


def _price(models: ModelOptions, usage: Usage) -> float | None:
    if models.is_own:
        # As the meter does: the price of a vLLM server is not known.
        return None if models.model.startswith("vllm:") else 0.0
    from hyperalign.backends.models.meter import price

    return price(models.model, usage.tokens_in, usage.tokens_out, 0)


def _thinks(models: ModelOptions) -> bool:
    if models.is_own or models.reasoning_effort == "none":
        return False
    from hyperalign.backends.models.parameters import thinks

    return thinks(models.model)
