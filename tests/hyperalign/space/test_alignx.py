"""Directions go out to AlignX's vectors and come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperalign.errors import InputError
from hyperalign.space import from_alignx, load_space, to_alignx

SPACE = load_space()


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=90, max_size=90))
def test_a_vector_comes_back_as_it_was(values: list[float]) -> None:
    assert list(to_alignx(from_alignx(values, SPACE), SPACE)) == values


def test_positions_are_those_of_the_paper_s_code() -> None:
    values = [0.5] * 90
    for position in (2, 16, 39, 46, 47, 89):
        values[position] = 1.0
    assert set(from_alignx(values, SPACE)) == {"neurotic", "brief", "play", "complex", "science", "fashion"}


def test_what_is_unsure_or_not_of_alignx_is_neither() -> None:
    vector = to_alignx({"young": 0.2, "female": 0.05, "science": 0.95, "warm": 1.0, "extraverted": 0.6}, SPACE)
    assert {at: value for at, value in enumerate(vector) if value != 0.5} == {1: 0.0, 47: 1.0}
    assert to_alignx({"young": 0.2}, SPACE, sure=0.8)[0] == 0.0


def test_what_is_no_direction_is_refused() -> None:
    with pytest.raises(InputError, match="not 3"):
        from_alignx([0.5, 1, 0], SPACE)
    with pytest.raises(InputError, match=r"Value 1 of the direction is 2"):
        from_alignx([0.5, 2, *[0.5] * 88], SPACE)
    with pytest.raises(InputError, match="no dimension 'tea'"):
        to_alignx({"tea": 1.0}, SPACE)
