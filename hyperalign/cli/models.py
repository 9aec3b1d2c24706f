"""``hyperalign models``: the model files hyperalign knows, here and not here.

This file does not know where files come from: ``hyperalign.backends.models`` does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hyperalign.backends.models.catalogue import Entry
    from hyperalign.backends.models.download import Fetched

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="List, fetch and delete the embedded models.")

Name = Annotated[str, typer.Argument(help="A name from 'hyperalign models list'.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models: licence, size, and whether the file is here."""
    from hyperalign.backends.models.catalogue import entries

    rows = [_row(entry) for entry in entries()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("model", no_wrap=True), "licence", "size", "quantization", "context", "here")
    for row in rows:
        size = f"{row['bytes'] / 1e6:,.0f} MB"
        here = "yes" if row["here"] else "no"
        table.add_row(row["name"], row["licence"], size, row["quantization"], f"{row['context']:,}", here)
    Console().print(table)


@app.command()
def pull(name: Name, as_json: AsJson = False) -> None:
    """Fetch a model file, or go on with a fetch that was interrupted."""
    from hyperalign.backends.models.catalogue import find

    entry = find(name)
    fetched = _pull(entry)
    if as_json:
        typer.echo(json.dumps({**_row(entry), "source": fetched.source}, indent=2))
    elif fetched.source == "disk":
        typer.echo(f"{entry.name} is already here: {fetched.path}")
    else:
        typer.echo(f"{entry.name} came from the {fetched.source}, its SHA-256 is right: {fetched.path}")


@app.command()
def path(name: Name) -> None:
    """Print where a model file is."""
    from hyperalign.backends.models.catalogue import find
    from hyperalign.backends.models.download import is_verified
    from hyperalign.errors import NotFoundError

    entry = find(name)
    if not is_verified(entry):
        raise NotFoundError(
            f"The model '{entry.name}' is not here.", remedy=f"Run: hyperalign models pull {entry.name}"
        )
    typer.echo(str(entry.path))


@app.command()
def rm(name: Name, as_json: AsJson = False) -> None:
    """Delete a model file and what was left of its downloads."""
    from hyperalign.backends.models.catalogue import find
    from hyperalign.backends.models.download import remove

    entry = find(name)
    freed = remove(entry)
    if as_json:
        typer.echo(json.dumps({"name": entry.name, "freed_bytes": freed}))
    else:
        typer.echo(f"{entry.name}: {freed / 1e6:,.0f} MB freed." if freed else f"{entry.name} was not here.")


def _row(entry: Entry) -> dict[str, Any]:
    here = entry.path.is_file() and entry.path.stat().st_size == entry.bytes
    return {
        **entry.model_dump(mode="json", exclude={"file", "wheels"}),
        "here": here,
        "path": str(entry.path) if here else None,
    }


def _pull(entry: Entry) -> Fetched:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from hyperalign.backends.models.download import fetch

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # In a log, even a bar that is not drawn leaves an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{entry.name} (hub)", total=entry.bytes)

        def show(source: str, done: int, total: int) -> None:
            progress.update(task, description=f"{entry.name} ({source})", completed=done, total=total)

        return fetch(entry, show)
