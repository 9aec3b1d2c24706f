"""A hook of MkDocs: lays the four source folders out as the one package that they are installed as.

``programs/``, ``evals/`` and ``backends/`` are imported as ``hyperalign.programs`` and so on. The Python reference is
read from the sources without importing them, which needs a tree of that shape.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAID_OUT = ROOT / ".build" / "docs-source"


def on_startup(**_: Any) -> None:
    """Copy the sources to where mkdocs.yml says that they are."""
    shutil.rmtree(LAID_OUT, ignore_errors=True)
    for folder, package in {
        "hyperalign": "hyperalign",
        **{name: f"hyperalign/{name}" for name in ("programs", "evals", "backends")},
    }.items():
        shutil.copytree(ROOT / folder, LAID_OUT / package, ignore=shutil.ignore_patterns("__pycache__"))
