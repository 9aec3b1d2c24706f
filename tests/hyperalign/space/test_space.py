"""The preference space: what ships is sound, and one's own is read or refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from hyperalign.errors import InputError
from hyperalign.space import load_space


def test_the_shipped_space_has_two_different_poles_a_dimension() -> None:
    dimensions = load_space().dimensions
    poles = [pole for dimension in dimensions for pole in (dimension.high, dimension.low)]
    assert len(set(poles)) == len(poles)
    assert [pole for pole in poles if not (pole.endswith(".") and pole[0].isupper() and len(pole.split()) <= 8)] == []
    assert all(dimension.source for dimension in dimensions)


def test_it_has_all_of_alignx_and_more() -> None:
    space = load_space()
    assert sorted(each.alignx for each in space.dimensions if each.alignx is not None) == list(range(90))
    counted = Counter(each.group for each in space.dimensions)
    assert counted == {
        "demographics": 2, "disposition": 5, "life": 15, "need": 17, "quality": 7, "interest": 43,
        "manner": 31,
    }  # fmt: skip
    assert Counter(each.shows_in for each in space.dimensions if each.group == "manner") == {
        "writing": 11, "choices": 14, "both": 6,
    }  # fmt: skip
    assert {each.shows_in for each in space.dimensions if each.group != "manner"} == {"choices"}
    assert all(each.words for each in space.dimensions if each.group == "interest")


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
    path.write_text(json.dumps({"name": "mine", "dimensions": [tea | {"low": "Drinks coffee."}] * 2}))
    with pytest.raises(InputError, match=r"space\.json: dimensions: .*'tea' is there twice"):
        load_space(path)
    with pytest.raises(InputError, match="No such file"):
        load_space(tmp_path / "none.json")
