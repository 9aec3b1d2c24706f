"""``hyperalign adapters``: list, judge, export, load and unload distilled adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import ForceOption, JsonOption

if TYPE_CHECKING:
    from hyperalign.backends.serve.vllm_adapters import VLLMClient

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, judge, export and load distilled adapters.")

FolderArgument = Annotated[Path, typer.Argument(help="Folder of the adapter.")]


@app.command("list")
def list_adapters(root: Annotated[Path, typer.Argument(help="A folder of adapters.")] = Path("adapters")) -> None:
    """List the adapters in a folder."""
    from hyperalign.backends.distill.adapters import find_adapters, open_adapter
    from hyperalign.errors import NotFoundError, TrainingError

    from .show import plain
    from .terminal import make_table, print_rich

    folders = find_adapters(root)
    if not folders:
        raise NotFoundError(f"There is no adapter under {root}.", remedy="Make one: hyperalign distill --help")
    table = make_table("adapter", "base", "users", "method", "answers", "gate")
    for folder in folders:
        try:
            card = open_adapter(folder).card
        except TrainingError as error:
            table.add_row(plain(folder.name), "", "", "", "", plain(error.message))
            continue
        verdict = "not judged" if card.gate is None else "passed" if card.gate.passed else "failed"
        users = ", ".join(card.users)
        table.add_row(*(plain(cell) for cell in (card.name, card.base, users, card.method, str(card.traces), verdict)))
    print_rich(table)


@app.command()
def show(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Describe an adapter, and check that its files are complete and unchanged."""
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
    """Judge an adapter on held-out prompts, by criteria that were fixed before training. Exit code 1 if it fails."""
    from hyperalign.backends.distill.adapters import open_adapter, open_base
    from hyperalign.backends.distill.distill import gate as judge

    from .terminal import reporter

    with reporter() as report:
        student = open_base(open_adapter(folder).card, report.bytes)
        verdict = judge(folder, student, report)
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
    out: Annotated[Path, typer.Option("--out", help="A new folder to write to.")],
    merge: Annotated[bool, typer.Option("--merge", help="Merge the adapter into its base model.")] = False,
) -> None:
    """Copy an adapter in the format of Hugging Face's libraries, or merged into its base model."""
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
def load(folder: FolderArgument, force: ForceOption = False) -> None:
    """Load an adapter into a running 'serve --engine vllm'."""
    from hyperalign.backends.distill.adapters import open_adapter
    from hyperalign.backends.serve.vllm_adapters import check_gate, load_adapter

    adapter = open_adapter(folder)
    if not force:
        check_gate(adapter)
    seen = load_adapter(_client(), adapter)
    typer.echo(f"Served as {adapter.served_name}; its answers are {seen.difference:.3f} nats a token off its base's.")


@app.command()
def unload(name: Annotated[str, typer.Argument(help="Name of the adapter, as the server lists it.")]) -> None:
    """Unload an adapter from a running 'serve --engine vllm'."""
    from hyperalign.backends.serve.vllm_adapters import unload_adapter

    from .show import plain

    unload_adapter(_client(), name)
    typer.echo(f"{plain(name)} is not served any more.")


def _client() -> VLLMClient:
    import os

    from hyperalign.backends.models.target import adapters_address
    from hyperalign.backends.serve.vllm_adapters import VLLMClient

    return VLLMClient(adapters_address(), os.environ.get("HYPERALIGN_SERVE_KEY", ""))
