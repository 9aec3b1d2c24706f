"""The preference space: named ways in which people differ, each with two poles.

The dimensions stand in ``dimensions.json``, in a form that a person can read and extend.
This package knows no person and no model: a dimension is a question, not an answer.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import InputError
from ..profile import Aspect

__all__ = ["Dimension", "Space", "load_space"]


class Dimension(BaseModel):
    """One way in which people differ.

    Attributes:
        name: a short name, unique in its space.
        aspect: which kind of hypothesis it makes.
        source: the construct it stands for, and where that is from.
        high: the statement of one pole, a phrase without its subject.
        low: the statement of the other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    aspect: Aspect
    source: str
    high: str
    low: str


class Space(BaseModel):
    """A named list of dimensions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dimensions: list[Dimension]


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
