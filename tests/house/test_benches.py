"""Every bench reads the options that it takes, by their names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.source_tree import ROOT

BENCHES = sorted((ROOT / "benches").glob("*.py"))


def _unknown(source: str) -> list[str]:
    """What is read of the parsed options and was never one of them."""
    tree = ast.parse(source)
    taken, holders = set[str](), set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument"), args=names, keywords=keywords):
                named = [each.value.value for each in keywords if each.arg == "dest"]  # type: ignore[attr-defined]
                said = [each.value for each in names if isinstance(each, ast.Constant)]
                taken |= set(named) or {str(name).lstrip("-").replace("-", "_") for name in said}
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Attribute(attr="parse_args"))):
                holders.add(name)
    # The options live at the end of a file; a function's own argument may have their holder's name.
    begins = max((at for at, line in enumerate(source.splitlines(), 1) if "ArgumentParser(" in line), default=0)
    return sorted(
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in holders
        and node.lineno > begins
        and node.attr not in taken
    )


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.stem)
def test_a_bench_reads_the_options_that_it_takes(path: Path) -> None:
    assert not _unknown(path.read_text(encoding="utf-8"))


def test_the_check_of_options_can_fail() -> None:
    source = (
        "p = ArgumentParser()\np.add_argument('--at-once')\np.add_argument('-n', dest='count')\na = p.parse_args()\n"
    )
    assert _unknown(f"{source}print(a.at_once, a.count)") == []
    assert _unknown(f"{source}print(a.concurrency)") == ["concurrency"]
