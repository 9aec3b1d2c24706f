"""The preference space: what ships is sound, and one's own is read or refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from hyperalign.errors import InputError
from hyperalign.profile import Poles, Profile
from hyperalign.space import Space, known_poles, load_space, own_poles


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


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"high": " "}, "dimensions.0.high"),
        ({"low": "drinks TEA."}, "dimensions.0: .*its two poles say the same"),
        ({"name": ""}, "dimensions.0.name"),
        ({"words": ["tea", "2nd"]}, None),
        ({"words": ["tea", " "]}, "dimensions.0.words.1"),
        ({"group": "drinks"}, "dimensions.0.group"),
        ({"aspect": "taste"}, "dimensions.0.aspect"),
        ({"alignx": 90}, "dimensions.0.alignx"),
        ({"pole": "Tea."}, "dimensions.0.pole"),
    ],
)
def test_a_wrong_dimension_is_refused_by_its_field(tmp_path: Path, wrong: dict[str, object], said: str | None) -> None:
    path = tmp_path / "space.json"
    tea = {"name": "tea", "aspect": "style", "source": "ours", "high": "Drinks tea.", "low": "Drinks coffee."}
    path.write_text(json.dumps({"name": "mine", "dimensions": [tea | wrong]}))
    if said is None:
        assert load_space(path).dimensions[0].words == ("tea", "2nd")
        return
    with pytest.raises(InputError, match=rf"space\.json: {said}") as caught:
        load_space(path)
    assert "hyperalign/space/" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"{nonsense", "the whole file"), (b"\xff\xfe", "the whole file"), (b"[]", "the whole file"),
     (b'{"name": "mine", "dimensions": []}', "dimensions: ")],
)  # fmt: skip
def test_a_file_that_is_no_space_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "space.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"space\.json: {said}"):
        load_space(path)
    with pytest.raises(InputError, match="Is a directory"):
        load_space(tmp_path)


def test_a_profile_carries_the_poles_that_do_not_ship() -> None:
    space = load_space()
    warm = space.dimensions[0]
    reworded = warm.model_copy(update={"high": "Hearty."})
    mine = Space(name="mine", dimensions=[reworded, *space.dimensions[1:]])
    assert mine.fingerprint != space.fingerprint
    assert own_poles(mine, ["warm", "direct", "unheard of"]) == {"warm": Poles(high="Hearty.", low=warm.low)}
    assert own_poles(space, ["warm", "direct"]) == {}
    profile = Profile(user="ada", direction={"warm": 0.9, "direct": 0.8}, poles=own_poles(mine, ["warm", "direct"]))
    assert known_poles(profile)["warm"].high == "Hearty."
    assert known_poles(profile)["direct"] == space.dimensions[1].poles
    assert known_poles(Profile(user="ada"), mine)["warm"].high == "Hearty."
