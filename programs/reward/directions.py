"""Directions of statements: how the features of an answer differ between the two poles of a dimension.

They are learned from ``contrasts.jsonl``: for each dimension of the shipped space, pairs of answers to one prompt that
differ in the dimension and in little else. They read texts in the dimensions without a language model, and are the
ways in which people's tastes are expected to differ where nothing else is known of a population.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import numpy as np
from pydantic import BaseModel, ConfigDict

from .features import Encoder, FeatureSpace, Reading, read_features
from .posterior import Array

__all__ = ["Contrast", "Direction", "contrast_covariance", "learn_directions", "load_contrasts"]

_SHRINKAGE = 0.3
_FLOOR = 0.05


class Contrast(BaseModel):
    """Two answers to a prompt that differ in one dimension.

    Attributes:
        dimension: its name.
        prompt: what both answer.
        high: the answer of the high pole.
        low: the answer of the low pole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: str
    prompt: str
    high: str
    low: str


class Direction(BaseModel):
    """A dimension in a feature space.

    Attributes:
        weights: the linear discriminant of the two poles: a mean contrast reads one, shape (d,).
        agreement: the share of contrasts that the direction learned from the dimension's others orders rightly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    weights: tuple[float, ...]
    agreement: float


@cache
def load_contrasts() -> tuple[Contrast, ...]:
    """The contrasts that ship, in the order of the space's dimensions."""
    lines = files("hyperalign.space").joinpath("contrasts.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Contrast.model_validate_json(line) for line in lines if line)


def read_contrasts(space: FeatureSpace, encoder: Encoder | None = None) -> dict[str, Array]:
    """Features of the high answers minus those of the low ones, by dimension, each of shape (contrasts, d)."""
    pairs = load_contrasts()
    sides = [Reading(pair.prompt, text) for pair in pairs for text in (pair.high, pair.low)]
    read = read_features(space, sides, encoder)
    found: dict[str, list[Array]] = {}
    for pair, difference in zip(pairs, read[0::2] - read[1::2], strict=True):
        found.setdefault(pair.dimension, []).append(difference)
    return {name: np.array(rows) for name, rows in found.items()}


def learn_directions(differences: Mapping[str, Array]) -> dict[str, Direction]:
    """The direction of each dimension, with how well it holds for contrasts that it was not learned from.

    Args:
        differences: as ``read_contrasts`` gives them.
    """
    noise = np.linalg.inv(_noise(differences))
    found = {}
    for name, rows in differences.items():
        right = [float(np.delete(rows, at, axis=0).mean(axis=0) @ noise @ row > 0) for at, row in enumerate(rows)]
        mean = rows.mean(axis=0)
        weights = mean @ noise
        shown = tuple(float(f"{value:.4g}") for value in weights / max(float(weights @ mean), _FLOOR))
        found[name] = Direction(weights=shown, agreement=round(sum(right) / len(right), 3))
    return found


def contrast_covariance(differences: Mapping[str, Array]) -> Array:
    """The covariance of weights of people whose tastes differ by one nat in one of the dimensions, shape (d, d).

    A taste for a dimension is the linear discriminant of its contrasts, so that features that differ between any two
    answers count little.

    Args:
        differences: as ``read_contrasts`` gives them.
    """
    noise = np.linalg.inv(_noise(differences))
    means = np.array([rows.mean(axis=0) for rows in differences.values()])
    tastes = means @ noise
    sizes = np.sqrt(np.maximum(np.einsum("ij,ij->i", tastes, means), _FLOOR))
    tastes = tastes / sizes[:, None]
    return np.asarray(tastes.T @ tastes / len(tastes), dtype=np.float64)


def _noise(differences: Mapping[str, Array]) -> Array:
    """The covariance of differences about their dimension's mean, shrunken to its diagonal."""
    apart = np.vstack([rows - rows.mean(axis=0) for rows in differences.values()])
    covariance = apart.T @ apart / max(1, len(apart) - len(differences))
    diagonal = np.diag(np.diag(covariance))
    noise = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * diagonal + _FLOOR * np.eye(len(covariance))
    return np.asarray(noise, dtype=np.float64)
