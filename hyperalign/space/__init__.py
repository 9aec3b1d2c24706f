"""The preference space: named ways in which people differ, each with two poles.

The dimensions stand in ``dimensions.json``, in a form that a person can read and extend: AlignX's ninety (Li et al.
2025, section 3.1), in words of our own, what shows in people's writing, and what they trade off in answers.
This package knows no person and no model: a dimension is a question, not an answer.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import InputError
from ..profile import Aspect

__all__ = ["ALIGNX_DIMENSIONS", "Dimension", "Group", "ShowsIn", "Space", "load_space"]

ALIGNX_DIMENSIONS = 90

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

    name: str
    group: Group = "own"
    aspect: Aspect
    source: str
    high: str
    low: str
    shows_in: ShowsIn = "both"
    words: tuple[str, ...] = ()
    alignx: Annotated[int | None, Field(ge=0, lt=ALIGNX_DIMENSIONS)] = None


class Space(BaseModel):
    """A named list of dimensions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dimensions: list[Dimension]

    @field_validator("dimensions")
    @classmethod
    def _each_once(cls, dimensions: list[Dimension]) -> list[Dimension]:
        seen = Counter(dimension.name for dimension in dimensions)
        seen.update(f"position {each.alignx}" for each in dimensions if each.alignx is not None)
        twice = [each for each, count in seen.items() if count > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is there twice")
        return dimensions


def load_space(path: Path | None = None) -> Space:
    """Read a space.

    Args:
        path: a JSON file in the form of ``dimensions.json``; the shipped space if None.

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
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {field}: {first['msg']}.", remedy="Mend that field.") from error


@cache
def _shipped() -> Space:
    data = resources.files(__name__).joinpath("dimensions.json").read_bytes()
    return Space.model_validate_json(data)
