"""``hyperalign doctor``: what works here, and the next command to run.

This file only shows; ``hyperalign.backends.runtimes.doctor`` looks.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

__all__ = ["doctor"]

_MARKS = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False) -> None:
    """Say what works here and the next command to run. Fails only if something is broken."""
    from hyperalign.backends.runtimes.doctor import next_command, report

    checks = report()
    following = next_command(checks)
    if as_json:
        typer.echo(json.dumps({"checks": [asdict(check) for check in checks], "next": following}, indent=2))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        from .show import plain

        table = Table.grid(padding=(0, 2))
        for check in checks:
            hint = f" [dim]({escape(check.next)})[/]" if check.next and check.state != "ok" else ""
            table.add_row(_MARKS[check.state], escape(check.what), f"{escape(plain(check.detail))}{hint}")
        console = Console()
        console.print(table)
        console.print(f"\nNext: [bold]{escape(following)}[/]", soft_wrap=True)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)
