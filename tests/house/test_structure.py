"""The source tree stays within the limits that ``make check`` prints."""

from __future__ import annotations

import tomllib

import pytest

from tests.house import structure
from tests.house.source_tree import ROOT
from tests.house.structure import Figure


@pytest.mark.parametrize("figure", structure.figures(), ids=lambda figure: figure.name)
def test_it_is_within_its_limit(figure: Figure) -> None:
    assert figure.value <= figure.limit, str(figure)


def test_no_script_is_long() -> None:
    scripts = [path for name in ("benches", "docs", "examples", "requirements") for path in (ROOT / name).glob("*.py")]
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in scripts}
    assert not {name: lines for name, lines in lengths.items() if lines > structure.LONG}


def test_the_linter_holds_the_complexity_of_functions() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "C901" in lint["select"]
    assert lint["mccabe"]["max-complexity"] == 10


def test_the_figures_can_be_over_their_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = {name: frozenset[str]() for name in structure.modules()}
    ring |= {"hyperalign.text": frozenset({"hyperalign.errors"}), "hyperalign.errors": frozenset({"hyperalign.text"})}
    monkeypatch.setattr(structure, "import_graph", lambda: ring)
    monkeypatch.setattr(structure, "length", lambda name: 59 if name == "hyperalign.text" else 401)
    assert structure.closure("hyperalign.text") == {"hyperalign.errors", "hyperalign.text"}
    _, _, rings, long, short = structure.figures()
    assert rings.found == ("hyperalign.errors <-> hyperalign.text",)
    assert long.value == len(structure.modules()) - 1
    assert short.found == ("hyperalign.text: 59 lines, imported by hyperalign.errors",)
