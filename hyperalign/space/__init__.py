"""The preference space: named ways in which people differ, each with two poles.

The dimensions stand in ``dimensions.json``, in a form that a person can read and extend: AlignX's ninety (Li et al.
2025, section 3.1), in words of our own, what shows in people's writing, and what they trade off in answers.
This package knows no person and no model: a dimension is a question, not an answer.

Directions as AlignX writes them: ninety values by position, 1 for one pole, 0 for the other, 0.5 for neither.

Inside hyperalign a direction is a probability of the high pole by name. This file knows no dimension by heart:
each says its own position.
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
"""What a dimension is about: who people are, their dispositions (the Big Five), their interests, their work and life,
their manner of saying things, their psychological needs (Murray 1938), the quality of content, or something of one's
own."""
ShowsIn = Literal["both", "choices", "writing"]
"""Where to look for it."""


class Dimension(BaseModel):
    """One way in which people differ.

    Attributes:
        name: a short name, unique in its space.
        group: what it is about.
        aspect: which kind of hypothesis it makes.
        source: the construct it stands for, and where that is from.
        high: the statement of one pole, a phrase without its subject.
        low: the statement of the other.
        shows_in: whether it is looked for in what people wrote, in what they chose, or in both.
        words: beginnings of words by which a text touches its subject; without any, every text might.
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
        """What its two ends say."""
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
        """Another one for every other wording."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def load_space(path: Path | None = None) -> Space:
    """Read a space.

    Args:
        path: a JSON file in the form of ``dimensions.json`` (docs/space.md); the shipped space if None.

    Raises:
        InputError: the file is missing or not a space; the wrong field is named.
    """
    if path is None:
        return _shipped()
    try:
        return Space.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", remedy="Check the name of the file.") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(
            f"{path}: {field}: {first['msg']}.",
            remedy="Mend that field (dimensions are counted from 0); docs/space.md says what each one holds.",
        ) from error


def known_poles(profile: Profile, space: Space | None = None) -> dict[str, Poles]:
    """What the ends of dimensions say, by name: in the profile's own words where it has some, else in those of a space.

    Args:
        profile: somebody's.
        space: the shipped one if None.
    """
    return {each.name: each.poles for each in (space or load_space()).dimensions} | profile.poles


def own_poles(space: Space, names: Iterable[str]) -> dict[str, Poles]:
    """What a profile has to carry so that its direction can be read without the space: poles that do not ship.

    Args:
        space: what the direction is in.
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
