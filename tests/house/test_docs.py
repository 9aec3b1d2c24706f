"""The pages say what the program does: commands, targets, links and variables that they name are there."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hyperalign.cli import app
from tests.house.source_tree import ROOT, load_script, modules, pages

PROSE = [path for path in pages() if path.name != "cli.md"]


def test_the_page_of_commands_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == load_script("docs/generate.py").rendered(), (
        "run: make docs"
    )


@cache
def _commands() -> Any:
    return get_command(app)


def _written(text: str) -> list[str]:
    """Every hyperalign command that a page shows, in a block or in a sentence."""
    blocks = re.findall(r"^```(?:bash|console|sh|text)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    inline = re.findall(r"`(hyperalign [^`]+)`", text)
    return [re.split(r"\s+#\s", line)[0] for line in [*lines, *inline] if line.startswith("hyperalign ")]


def _complaint(line: str) -> str:
    """What is wrong with a command as it is written; empty if it would be understood."""
    command = _commands()
    words = shlex.split(line.split(" | ")[0])[1:]
    while words and (members := getattr(command, "commands", None)):
        if words[0].startswith("-"):
            break
        if words[0] not in members:
            return f"no command {words[0]!r}"
        command = members[words.pop(0)]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "--debug"}
    unknown = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in known]
    return f"no option {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_commands_on_a_page_exist(page: Path) -> None:
    wrong = {line: _complaint(line) for line in _written(page.read_text(encoding="utf-8"))}
    assert not {line: why for line, why in wrong.items() if why}


def test_the_check_of_commands_can_fail() -> None:
    assert _complaint("hyperalign fit a.txt --user ada") == ""
    assert _complaint("hyperalign profile shwo ada") == "no command 'shwo'"
    assert _complaint("hyperalign fit a.txt --usr=ada") == "no option --usr"
    assert _written("Say `hyperalign demo`.\n```bash\nhyperalign doctor  # now\n```\n") == [
        "hyperalign doctor",
        "hyperalign demo",
    ]


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_make_targets_on_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


def test_every_verb_has_a_page_that_the_readme_reaches() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in _commands().commands:
        assert f"docs/{verb}.md" in readme


def test_every_variable_is_documented_and_every_documented_one_is_read() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in modules().values())
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    names = re.compile(r"HYPERALIGN_[A-Z_]+")
    assert set(names.findall(sources)) == set(names.findall(page))


def test_the_readme_names_the_two_commands_a_newcomer_runs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme
    assert ".answer" in readme
