"""Directions as AlignX writes them: ninety values by position, 1 for one pole, 0 for the other, 0.5 for neither.

Inside hyperalign a direction is a probability of the high pole by name. This file knows no dimension by heart:
each says its own position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import InputError
from . import ALIGNX_DIMENSIONS, Space

__all__ = ["from_alignx", "to_alignx"]

_NEITHER = 0.5


def to_alignx(direction: Mapping[str, float], space: Space, *, sure: float = 0.9) -> tuple[float, ...]:
    """A direction as AlignX's vector.

    Args:
        direction: probability of the high pole, by dimension; what AlignX has no position for is left out.
        space: says the positions.
        sure: a pole is taken for true from this probability on.

    Returns:
        Ninety values, each 0, 0.5 or 1.

    Raises:
        InputError: the direction has a dimension that the space does not know.
    """
    positions = {dimension.name: dimension.alignx for dimension in space.dimensions}
    values = [_NEITHER] * ALIGNX_DIMENSIONS
    for name, probability in direction.items():
        if name not in positions:
            raise InputError(
                f"The space '{space.name}' has no dimension {name!r}.", remedy="Give the space that it is from."
            )
        position = positions[name]
        if position is not None and max(probability, 1 - probability) >= sure:
            values[position] = float(probability >= _NEITHER)
    return tuple(values)


def from_alignx(values: Sequence[float], space: Space) -> dict[str, float]:
    """A direction from AlignX's vector.

    Args:
        values: ninety of them, each between 0 and 1.
        space: says the positions.

    Returns:
        Probability of the high pole by dimension; dimensions that are at 0.5 are left out.

    Raises:
        InputError: there are not ninety, or one is outside.
    """
    if len(values) != ALIGNX_DIMENSIONS:
        raise InputError(
            f"A direction of AlignX has {ALIGNX_DIMENSIONS} values, not {len(values)}.",
            remedy="Give the row's whole 'Preference Direction'.",
        )
    for position, value in enumerate(values):
        if not 0 <= value <= 1:
            raise InputError(f"Value {position} of the direction is {value}.", remedy="Give values from 0 to 1.")
    placed = {dimension.name: dimension.alignx for dimension in space.dimensions if dimension.alignx is not None}
    return {name: float(values[at]) for name, at in placed.items() if values[at] != _NEITHER}
