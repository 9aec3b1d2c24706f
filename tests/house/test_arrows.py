"""Imports point one way: cli -> backends -> evals -> programs -> nouns. And a module is one room, not a hall."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

import hyperalign
from tests.house.source_tree import ROOT, modules, parsed

LAYERS = ("hyperalign", "hyperalign.programs", "hyperalign.evals", "hyperalign.backends", "hyperalign.cli")
MOST_LINES = 400


def layer(module: str) -> int:
    """How far up a module stands: 0 for the nouns, 4 for the command line."""
    return max(i for i, name in enumerate(LAYERS) if module == name or module.startswith(f"{name}."))


def imported(name: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything of ours that a module imports, wherever in it that happens."""
    is_package = modules()[name].name == "__init__.py"
    for node in ast.walk(parsed(modules()[name])):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")
            up = node.level - 1 if is_package else node.level
            start = parts[: len(parts) - up] if node.level else []
            source = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                if source == "hyperalign" and alias.name in hyperalign._HOMES:
                    yield node.lineno, f"hyperalign.{hyperalign._HOMES[alias.name]}"
                elif f"{source}.{alias.name}" in modules():
                    yield node.lineno, f"{source}.{alias.name}"
                else:
                    yield node.lineno, source


# The front door names everything, and loads it when it is asked for.
@pytest.mark.parametrize("name", [name for name in modules() if name != "hyperalign"])
def test_imports_point_down(name: str) -> None:
    ours = [(line, target) for line, target in imported(name) if target.split(".")[0] == "hyperalign"]
    upward = [f"{name}:{line} imports {target}" for line, target in ours if layer(target) > layer(name)]
    assert not upward


def test_the_walk_sees_imports_in_functions_and_for_type_checkers() -> None:
    seen = {target for _, target in imported("hyperalign.cli.fit")}
    assert {"hyperalign.programs.personalizer", "hyperalign.cli.terminal", "hyperalign.store"} <= seen
    assert "hyperalign.profile" in {target for _, target in imported("hyperalign.cli.demo")}
    assert layer("hyperalign.store.queries") == 0
    assert layer("hyperalign.cli.demo") > layer("hyperalign.backends.models.lm") > layer("hyperalign.evals.metrics")


def test_modules_are_short() -> None:
    others = [
        path for folder in ("benches", "docs", "examples", "requirements") for path in (ROOT / folder).glob("*.py")
    ]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in [*modules().values(), *others]}
    assert not {path: lines for path, lines in lengths.items() if lines > MOST_LINES}


@pytest.mark.parametrize("name", list(modules()))
def test_library_code_neither_asserts_nor_prints(name: str) -> None:
    nodes = list(ast.walk(parsed(modules()[name])))
    assert not [node.lineno for node in nodes if isinstance(node, ast.Assert)]
    called = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert not [node.lineno for node in called if isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert not [node.lineno for node in nodes if isinstance(node, ast.ExceptHandler) and node.type is None]
