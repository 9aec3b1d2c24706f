"""The preference space: named dimensions in which people differ, each with two poles.

``dimensions.json`` has the ninety dimensions of AlignX (Li et al. 2025, section 3.1) in words of our own, what shows in
people's writing, and what they trade off in answers. A direction is the probability of the high pole by dimension.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from hyperalign.errors import InputError
from hyperalign.profile import Aspect, Poles, Profile
from hyperalign.text import describe_invalid_field

__all__ = [
    "ALIGNX_DIMENSIONS",
    "Dimension",
    "Group",
    "ShowsIn",
    "Space",
    "from_alignx",
    "known_poles",
    "load_space",
    "own_poles",
    "to_alignx",
]

ALIGNX_DIMENSIONS = 90

_Said = Annotated[str, StringConstraints(pattern=r"\S")]
_Begins = Annotated[str, StringConstraints(pattern=r"[^\W\d_]")]

Group = Literal["demographics", "disposition", "interest", "life", "manner", "need", "own", "quality"]
"""What a dimension is about: demographics, disposition (the Big Five), interests, work and life, manner of expression,
psychological needs (Murray 1938), the quality of content, or a dimension of a user's own space."""
ShowsIn = Literal["both", "choices", "writing"]
"""Which records can show a dimension."""


class Dimension(BaseModel):
    """One way in which people differ.

    Attributes:
        name: a short name, unique in its space.
        group: what it is about.
        aspect: the aspect of the hypotheses it makes.
        source: the construct it stands for, with its source.
        high: the statement of one pole, a phrase without its subject.
        low: the statement of the other pole.
        shows_in: whether writing, choices or both can show it.
        words: prefixes of words in texts about its subject; if there are none, any text may be about it.
        alignx: its position in AlignX's vectors, if it has one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Said
    group: Group = "own"
    aspect: Aspect
    source: str
    high: _Said
    low: _Said
    shows_in: ShowsIn = "both"
    words: tuple[_Begins, ...] = ()
    alignx: Annotated[int | None, Field(ge=0, lt=ALIGNX_DIMENSIONS)] = None

    @model_validator(mode="after")
    def _has_two_poles(self) -> Dimension:
        if self.high.strip().casefold() == self.low.strip().casefold():
            raise ValueError("its two poles say the same")
        return self

    @property
    def poles(self) -> Poles:
        """The statements of both poles."""
        return Poles(high=self.high, low=self.low)


class Space(BaseModel):
    """A named list of dimensions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dimensions: Annotated[list[Dimension], Field(min_length=1)]

    @field_validator("dimensions")
    @classmethod
    def _each_once(cls, dimensions: list[Dimension]) -> list[Dimension]:
        seen = Counter(dimension.name for dimension in dimensions)
        seen.update(f"position {each.alignx}" for each in dimensions if each.alignx is not None)
        twice = [each for each, count in seen.items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice")
        return dimensions

    @property
    def fingerprint(self) -> str:
        """A hash of the names and wordings."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def load_space(path: Path | None = None) -> Space:
    """Read a space.

    Args:
        path: a JSON file in the form of ``dimensions.json`` (docs/space.md); the shipped space if None.

    Raises:
        InputError: the file is missing or not a space; the message has the wrong field.
    """
    if path is None:
        return _shipped()
    try:
        return Space.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", remedy="Check the name of the file.") from error
    except ValidationError as error:
        raise InputError(
            f"{path}: {describe_invalid_field(error)}.",
            remedy="Mend that field (dimensions are counted from 0); their fields are described at "
            "https://hyperalign.github.io/hyperalign/space/.",
        ) from error


def known_poles(profile: Profile, space: Space | None = None) -> dict[str, Poles]:
    """The poles of a profile's own dimensions and of a space, by name; the profile's wording counts.

    Args:
        profile: the profile.
        space: the space; the shipped one if None.
    """
    return {each.name: each.poles for each in (space or load_space()).dimensions} | profile.poles


def own_poles(space: Space, names: Iterable[str]) -> dict[str, Poles]:
    """The poles that a profile must carry because the shipped space does not have them.

    Args:
        space: the space of the profile's direction.
        names: the direction's dimensions.
    """
    shipped = {each.name: each.poles for each in load_space().dimensions}
    said = {each.name: each.poles for each in space.dimensions}
    return {name: said[name] for name in names if name in said and said[name] != shipped.get(name)}


@cache
def _shipped() -> Space:
    data = resources.files(__name__).joinpath("dimensions.json").read_bytes()
    return Space.model_validate_json(data)


_NEITHER = 0.5


def to_alignx(direction: Mapping[str, float], space: Space, *, sure: float = 0.9) -> tuple[float, ...]:
    """Convert a direction to AlignX's vector.

    Args:
        direction: the probability of the high pole by dimension; dimensions without a position in AlignX are left out.
        space: the space that has the positions.
        sure: from this probability on, a pole counts as true.

    Returns:
        Ninety values: 1 for the high pole, 0 for the low one, 0.5 for neither.

    Raises:
        InputError: the direction has a dimension that the space has not.
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
    """Convert AlignX's vector to a direction.

    Args:
        values: ninety values from 0 to 1.
        space: the space that has the positions.

    Returns:
        The probability of the high pole by dimension; dimensions at 0.5 are left out.

    Raises:
        InputError: there are not ninety values, or one is out of range.
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
