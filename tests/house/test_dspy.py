"""What DSPy promises nothing of is used in one file, checked against the version that is installed."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from hyperalign.programs import dspy_internals
from tests.house.source_tree import ROOT, modules, parsed

HOME = "hyperalign.programs.dspy_internals"
EVERYWHERE = {
    **modules(),
    **{f"benches.{path.stem}": path for path in (ROOT / "benches").glob("*.py")},
    **{f"examples.{path.stem}": path for path in (ROOT / "examples").glob("*.py")},
}


def private(path: Path) -> list[str]:
    """Where a file goes beyond ``import dspy``, also by a module's name as a string."""
    found = []
    for node in ast.walk(parsed(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if called == "import_module":
                names = [str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant)]
        found += [f"{path.name}:{node.lineno} {name}" for name in names if name.startswith("dspy.")]
    return found


@pytest.mark.parametrize("name", [name for name in EVERYWHERE if name != HOME])
def test_only_one_file_goes_beyond_import_dspy(name: str) -> None:
    assert not private(EVERYWHERE[name])


def test_the_check_can_fail(tmp_path: Path) -> None:
    odd = tmp_path / "odd.py"
    odd.write_text("import dspy.clients\nfrom dspy.utils import exceptions\nimport_module('dspy.lm15')\nimport dspy\n")
    assert [each.split()[1] for each in private(odd)] == ["dspy.clients", "dspy.utils", "dspy.lm15"]


def test_it_says_the_version_that_is_installed() -> None:
    told = re.search(r"checked against DSPy ([\d.]+\d)", dspy_internals.__doc__ or "")
    assert told is not None
    assert told[1] == version("dspy")
