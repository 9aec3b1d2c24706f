"""``hyperalign adapters``: what was distilled, whether it may be served, and how it is taken elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hyperalign.backends.serve.vllm_adapters import Running

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, judge, export and load distilled adapters.")

FolderArgument = Annotated[Path, typer.Argument(help="The adapter's folder.")]
CardOption = Annotated[bool, typer.Option("--json", help="Print the card.")]


@app.command("list")
def list_(
    root: Annotated[Path, typer.Argument(help="A folder of adapters.")] = Path("adapters"),
) -> None:
    """List the adapters under a folder."""
    from rich.console import Console
    from rich.table import Table

    from hyperalign.backends.distill.adapters import find_adapters, open_adapter
    from hyperalign.errors import NotFoundError, TrainingError

    from .show import plain

    folders = find_adapters(root)
    if not folders:
        raise NotFoundError(f"There is no adapter under {root}.", remedy="Make one: hyperalign distill --help")
    table = Table("adapter", "base", "whose", "method", "answers", "gate", box=None, padding=(0, 2, 0, 0))
    for folder in folders:
        try:
            card = open_adapter(folder).card
        except TrainingError as error:
            table.add_row(plain(folder.name), "", "", "", "", plain(error.message))
            continue
        verdict = "not judged" if card.gate is None else "passed" if card.gate.passed else "failed"
        whose = ", ".join(card.users)
        table.add_row(*(plain(cell) for cell in (card.name, card.base, whose, card.method, str(card.traces), verdict)))
    Console().print(table)


@app.command()
def show(folder: FolderArgument, as_json: CardOption = False) -> None:
    """Say what an adapter is, and check that it is whole."""
    from hyperalign.backends.distill.adapters import open_adapter

    from .show import plain

    adapter = open_adapter(folder)
    if as_json:
        typer.echo(adapter.card.model_dump_json(indent=2))
        return
    typer.echo("\n".join(plain(line) for line in (folder / "README.md").read_text(encoding="utf-8").splitlines()))
    if adapter.card.gate is not None:
        for name, value in adapter.card.gate.figures.items():
            typer.echo(f"  {plain(name)}: {value:g}")


@app.command()
def gate(folder: FolderArgument) -> None:
    """Judge an adapter on the prompts that were kept from its training, by the terms declared before it.

    It fails with exit code 1.
    """
    from hyperalign.backends.distill.adapters import open_adapter, open_base
    from hyperalign.backends.distill.distill import gate as judged

    from .terminal import reporter

    with reporter() as report:
        student = open_base(open_adapter(folder).card, report.bytes)
        verdict = judged(folder, student, report)
    for name, value in verdict.figures.items():
        typer.echo(f"{name}: {value:g}")
    for reason in verdict.reasons:
        typer.echo(f"Failed: {reason}")
    typer.echo("Passed." if verdict.passed else "It will not be served unless forced.")
    if not verdict.passed:
        raise typer.Exit(1)


@app.command()
def export(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="Where; a folder that is not there yet.")],
    merge: Annotated[bool, typer.Option("--merge", help="Base and adapter as one checkpoint.")] = False,
) -> None:
    """Copy an adapter as Hugging Face's libraries load it, or merged into its base."""
    from hyperalign.backends.distill.adapters import export_adapter, merge_adapter, open_adapter, open_base

    from .terminal import reporter

    adapter = open_adapter(folder)
    if not merge:
        export_adapter(adapter, out)
    else:
        with reporter() as report:
            merge_adapter(open_base(adapter.card, report.bytes), folder, out)
    typer.echo(f"Written to {out}")


@app.command()
def load(
    folder: FolderArgument,
    force: Annotated[bool, typer.Option("--force", help="Also if the gate failed it or never saw it.")] = False,
) -> None:
    """Put an adapter on a server that runs: one of 'serve --engine vllm'."""
    from hyperalign.backends.distill.adapters import open_adapter
    from hyperalign.backends.serve.vllm_adapters import check_gate, load_adapter

    adapter = open_adapter(folder)
    if not force:
        check_gate(adapter)
    seen = load_adapter(_running(), adapter)
    typer.echo(f"Served as {adapter.served_name}; its answers are {seen.difference:.3f} nats a token off its base's.")


@app.command()
def unload(name: Annotated[str, typer.Argument(help="Of the adapter, as the server lists it.")]) -> None:
    """Take an adapter off a server that runs: one of 'serve --engine vllm'."""
    from hyperalign.backends.serve.vllm_adapters import unload_adapter

    from .show import plain

    unload_adapter(_running(), name)
    typer.echo(f"{plain(name)} is not served any more.")


def _running() -> Running:
    import os

    from hyperalign.backends.models.target import adapters_address
    from hyperalign.backends.serve.vllm_adapters import Running

    return Running(adapters_address(), os.environ.get("HYPERALIGN_SERVE_KEY", ""))
