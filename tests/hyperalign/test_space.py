"""The preference space: what ships is sound, and one's own is read or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.errors import InputError
from hyperalign.space import load_space


def test_the_shipped_space_has_two_different_poles_a_dimension() -> None:
    dimensions = load_space().dimensions
    assert len(dimensions) >= 15
    assert len({dimension.name for dimension in dimensions}) == len(dimensions)
    poles = [pole for dimension in dimensions for pole in (dimension.high, dimension.low)]
    assert len(set(poles)) == len(poles)
    assert all(pole.endswith(".") and pole[0].isupper() and len(pole.split()) <= 8 for pole in poles)
    assert all(dimension.source for dimension in dimensions)
    assert {dimension.aspect for dimension in dimensions} == {"communication", "personality", "style"}


def test_a_space_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    tea = {"name": "tea", "aspect": "style", "source": "ours", "high": "Drinks tea.", "low": "Drinks coffee."}
    path.write_text(json.dumps({"name": "mine", "dimensions": [tea]}))
    assert load_space(path).dimensions[0].high == "Drinks tea."
    del tea["low"]
    path.write_text(json.dumps({"name": "mine", "dimensions": [tea]}))
    with pytest.raises(InputError, match=r"space\.json: dimensions\.0\.low"):
        load_space(path)
    path.write_text("{nonsense")
    with pytest.raises(InputError, match=r"space\.json"):
        load_space(path)
    with pytest.raises(InputError, match="No such file"):
        load_space(tmp_path / "none.json")
