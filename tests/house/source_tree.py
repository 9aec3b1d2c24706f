"""What the tests of the house share: the source tree as modules, files and pages."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

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
