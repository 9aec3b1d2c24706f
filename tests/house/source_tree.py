"""The source tree as modules, imports, files and pages, for the tests beside it."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# Where each package lies in the tree, the same as in pyproject.toml.
PACKAGES = {
    "hyperalign": ROOT / "hyperalign",
    "hyperalign.programs": ROOT / "programs",
    "hyperalign.evals": ROOT / "evals",
    "hyperalign.backends": ROOT / "backends",
}


@cache
def modules() -> dict[str, Path]:
    """Every module of the four packages by its full name."""
    found: dict[str, Path] = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def lazy_names(package: str) -> dict[str, str]:
    """The public names of a package that its ``__init__.pyi`` declares, and the module that each comes from."""
    stub = modules()[package].with_suffix(".pyi") if package in modules() else None
    if stub is None or not stub.exists():
        return {}
    imports = [node for node in parsed(stub).body if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: f"{package}.{node.module}" if node.module else f"{package}.{alias.name}"
        for node in imports
        for alias in node.names
    }


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Line and full name of every import of a module, wherever in it that stands; lazy names lead to their module."""
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
                module = f"{source}.{alias.name}"
                yield node.lineno, lazy_names(source).get(alias.name, module if module in modules() else source)


@cache
def import_graph() -> dict[str, frozenset[str]]:
    """Every module of the four packages, and those of them that it imports."""
    return {
        name: frozenset(target for _, target in imports(name) if target in modules() and target != name)
        for name in modules()
    }


def load_script(name: str) -> Any:
    """A script that is in no package, as a module.

    Args:
        name: its path in the tree, such as ``docs/generate.py``.
    """
    spec = importlib.util.spec_from_file_location(Path(name).stem, ROOT / name)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files() -> list[Path]:
    """Every file that is, or could be, committed."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so nobody can tell sources from what was built")
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def pages() -> list[Path]:
    """The pages a reader is told to read."""
    return [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
        (ROOT / "docs").glob("*.md")
    )
