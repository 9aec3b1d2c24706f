"""What the pages name exists (commands, options, targets, links, variables), and the site builds."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import hyperalign
from hyperalign.cli import app
from tests.house.source_tree import ROOT, load_script, modules, pages

PROSE = [path for path in pages() if path.name != "cli.md"]
SITE = "https://hyperalign.github.io/hyperalign/"
REPOSITORY = "https://github.com/hyperalign/hyperalign/blob/main/"


def test_the_page_of_commands_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == load_script("docs/generate.py").rendered(), (
        "run: make docs"
    )


@cache
def _commands() -> Any:
    return get_command(app)


def _written(text: str) -> list[str]:
    """Every hyperalign command that a page shows, in a block or in a sentence."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks = [block for language, block in fenced if language in {"", "bash", "console", "sh", "text"}]
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
    shown = "Say `hyperalign demo`.\n```python\nx = 1\n```\n```bash\nhyperalign doctor  # now\n```\n"
    assert _written(shown) == ["hyperalign doctor", "hyperalign demo"]


@pytest.mark.parametrize(
    "page", [*PROSE, ROOT / "benches" / "README.md"], ids=lambda page: page.parent.name + page.name
)
def test_programs_on_a_page_exist_and_take_what_they_are_given(page: Path) -> None:
    for path, module, options in re.findall(
        r"python (?:(\w+/\w+\.py)|-m ([\w.]+))([^`\n]*)", page.read_text(encoding="utf-8")
    ):
        if path or module.startswith("benches"):
            source = (ROOT / (path or f"{module.replace('.', '/')}.py")).read_text(encoding="utf-8")
            given = re.findall(r"--[a-z-]+", options.split("  #")[0])
            assert not [option for option in given if f'"{option}"' not in source], options


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_make_targets_on_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets


def _missing(page: Path, link: str) -> str:
    """What a link of a page lacks: its file, or the heading in it; empty where it leads somewhere."""
    path, _, anchor = link.partition("#")
    if path.startswith(SITE):
        target = ROOT / "docs" / f"{path.removeprefix(SITE).strip('/') or 'index'}.md"
    elif path.startswith(REPOSITORY):
        target = ROOT / path.removeprefix(REPOSITORY)
    elif "://" in path:
        return ""
    else:
        target = page.parent / path if path else page
    if not target.exists():
        return "no such file"
    return "" if not anchor or anchor in _anchors(target) else "no such heading"


@cache
def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert not {link: why for link in links if (why := _missing(page, link))}


def test_the_check_of_links_can_fail() -> None:
    readme = ROOT / "README.md"
    assert _missing(readme, f"{SITE}letters/#limits") == ""
    assert _missing(readme, f"{SITE}postcards/") == "no such file"
    assert _missing(readme, f"{SITE}letters/#stamps") == "no such heading"
    assert _missing(readme, f"{REPOSITORY}docs/letters.txt") == "no such file"


def test_the_readme_has_links_that_work_on_a_package_index() -> None:
    links = re.findall(r"\]\(([^)\s]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert not [link for link in links if not link.startswith("https://")]
    assert SITE in links


def test_the_home_page_leads_from_every_command_to_a_page_that_shows_it() -> None:
    rows = re.findall(r"^\| `hyperalign (\w+)` \| [^|]+ \| (.*) \|$", _page("index"), re.MULTILINE)
    assert sorted(verb for verb, _ in rows) == sorted(_commands().commands)
    assert not [verb for verb, links in rows if not _shows(verb, re.findall(r"\((\w+)\.md", links))]


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def _shows(verb: str, names: list[str]) -> bool:
    return any(line.split()[1] == verb for name in names for line in _written(_page(name)))


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    html = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    assert len(html) >= len(list((ROOT / "docs").glob("*.md")))
    fetched = re.compile(r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//|<link[^>]* rel=\"?stylesheet\"?[^>]*//")
    assert fetched.search('<script async src="https://cdn.example.org/a.js"></script>')
    assert not [path for path, text in html.items() if fetched.search(text)]


def _names_used(page: Path) -> Iterator[tuple[str, str]]:
    """Every name of hyperalign that a page's Python uses, with the module that should have it."""
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hyperalign"):
                yield from ((str(node.module), alias.name) for alias in node.names)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ha":
                yield "hyperalign", node.attr


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_python_on_a_page_names_what_exists(page: Path) -> None:
    used = [*_names_used(page)]
    assert not [(module, name) for module, name in used if not hasattr(importlib.import_module(module), name)]


def test_the_python_reference_has_every_public_name() -> None:
    shown = set(re.findall(r"^::: hyperalign\.[\w.]*?(\w+)$", _page("python"), re.MULTILINE))
    assert set(hyperalign.__all__) - {"backends", "evals", "programs"} <= shown


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
