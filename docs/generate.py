"""Writes ``docs/cli.md`` from the commands' help texts.

Run it with ``make docs``; a test compares the page with the commands.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")
COLUMNS = 100
HEAD = """# Command line

Every command as `--help` shows it. `make docs` writes this page. [Environment and exit codes](environment.md) lists the
variables; [the home page](index.md#commands) says which guide explains a command.
"""


def rendered() -> str:
    """The page: one section a command, groups before their members."""
    # Help is wrapped to the terminal; the page must not depend on whose terminal it was made in.
    os.environ["COLUMNS"] = str(COLUMNS)
    from typer.main import get_command
    from typer.testing import CliRunner

    from hyperalign.cli import app

    sections = [HEAD]
    for path in _commands(get_command(app)):
        shown = CliRunner().invoke(app, [*path, "--help"], prog_name="hyperalign", catch_exceptions=False).stdout
        text = "\n".join(line.rstrip() for line in shown.strip().splitlines())
        level = "#" * max(2, 1 + len(path))
        sections.append(f"{level} {' '.join(['hyperalign', *path])}\n\n```text\n{text}\n```\n")
    return "\n".join(sections)


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    members: dict[str, object] = getattr(command, "commands", {})
    for name, member in members.items():
        yield from _commands(member, (*path, name))


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
