"""``hyperalign compare``: two runs of one task, case by case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption

__all__ = ["compare"]


def compare(
    first: Annotated[Path, typer.Argument(help="The folder of a run.")],
    second: Annotated[Path, typer.Argument(help="The folder of another run of the same task.")],
    as_json: JsonOption = False,
) -> None:
    """Say how much better the second run does than the first, on the cases that both have, with intervals."""
    import json

    from hyperalign.evals.comparing import compare as compared

    found = compared(first, second)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    from .show_eval import comparison_table

    console = Console()
    console.print(f"{found['task']}: {found['cases']} cases that both runs have; 95 % intervals over clusters.")
    console.print(comparison_table(found["strategies"]))
