"""``hyperalign models``: list, download and delete the model files of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.backends.models.catalogue import Entry
    from hyperalign.backends.models.download import Fetched

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="List, download and delete the embedded models.")

Name = Annotated[str, typer.Argument(help="A name from 'hyperalign models list'.")]


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models with their license, size, and whether the file is here."""
    from rich.table import Column, Table

    from hyperalign.backends.models.catalogue import entries

    from .terminal import print_json, print_rich

    rows = [_row(entry) for entry in entries()]
    if as_json:
        print_json(rows)
        return

    table = Table(Column("model", no_wrap=True), "licence", "size", "quantization", "context", "here")
    for row in rows:
        size = f"{row['bytes'] / 1e6:,.0f} MB"
        here = "yes" if row["here"] else "no"
        table.add_row(row["name"], row["licence"], size, row["quantization"], f"{row['context']:,}", here)
    print_rich(table)


@app.command()
def pull(name: Name, as_json: JsonOption = False) -> None:
    """Download a model file, or resume an interrupted download."""
    from hyperalign.backends.models.catalogue import find

    from .terminal import print_json

    entry = find(name)
    fetched = _pull(entry)
    if as_json:
        print_json({**_row(entry), "source": fetched.source})
    elif fetched.source == "disk":
        echo(f"{entry.name} is already here: {fetched.path}")
    else:
        echo(f"{entry.name} came from the {fetched.source}, its SHA-256 is right: {fetched.path}")


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
    echo(str(entry.path))


@app.command()
def rm(name: Name, as_json: JsonOption = False) -> None:
    """Delete a model file and its partial downloads."""
    from hyperalign.backends.models.catalogue import find
    from hyperalign.backends.models.download import remove

    from .terminal import print_json

    entry = find(name)
    freed = remove(entry)
    if as_json:
        print_json({"name": entry.name, "freed_bytes": freed})
    else:
        echo(f"{entry.name}: {freed / 1e6:,.0f} MB freed." if freed else f"{entry.name} was not here.")


def _row(entry: Entry) -> dict[str, Any]:
    here = entry.path.is_file() and entry.path.stat().st_size == entry.bytes
    return {
        **entry.model_dump(mode="json", exclude={"file", "wheels"}),
        "here": here,
        "path": str(entry.path) if here else None,
    }


def _pull(entry: Entry) -> Fetched:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from hyperalign.backends.models.download import fetch

    from .terminal import console

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    shown = console(err=True)
    # In a log, even a bar that is not drawn leaves an empty line.
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as progress:
        task = progress.add_task(f"{entry.name} (hub)", total=entry.bytes)

        def show(source: str, done: int, total: int) -> None:
            progress.update(task, description=f"{entry.name} ({source})", completed=done, total=total)

        return fetch(entry, show)
