"""Directions of statements: how the features of an answer differ between the two poles of a dimension.

They are learned from ``contrasts.jsonl``: for each dimension of the shipped space, pairs of answers to one prompt that
differ in the dimension and in little else. They say which statements are nearest to a person's reward, and are the
ways in which people's tastes are expected to differ where nothing else is known of a population.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from pydantic import BaseModel, ConfigDict

from .features import Encoder, FeatureSpace, Reading, read_features
from .posterior import Array, Posterior

__all__ = ["Contrast", "Direction", "Lean", "contrast_covariance", "find_leans", "learn_directions", "load_contrasts"]

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
        difference: mean features of the high pole minus those of the low pole, shape (d,).
        agreement: the share of contrasts that the direction learned from the dimension's others orders rightly.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    difference: tuple[float, ...]
    agreement: float


@dataclass(frozen=True)
class Lean:
    """Where a reward leans in a dimension.

    Attributes:
        dimension: its name.
        nats: expected log-odds for an answer of the high pole over one of the low pole.
        probability: that these are above zero.
    """

    dimension: str
    nats: float
    probability: float


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
        mean = tuple(float(f"{value:.4g}") for value in rows.mean(axis=0))
        found[name] = Direction(difference=mean, agreement=round(sum(right) / len(right), 3))
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


def find_leans(posterior: Posterior, directions: Mapping[str, Direction], *, agreement: float = 1.0) -> list[Lean]:
    """Where a reward leans, the surest first.

    Args:
        posterior: of the weights.
        directions: in the same features.
        agreement: dimensions whose direction agrees less with held-out contrasts are left out.
    """
    center, covariance = posterior.mean, posterior.covariance
    found = []
    for name, direction in directions.items():
        if direction.agreement >= agreement:
            along = np.array(direction.difference)
            nats = float(center @ along)
            spread = math.sqrt(max(float(along @ covariance @ along), 1e-12))
            probability = 0.5 * math.erfc(-nats / spread / math.sqrt(2))
            found.append(Lean(name, posterior.temper * nats, probability))
    return sorted(found, key=lambda lean: -abs(lean.probability - 0.5))


def select_columns(directions: Mapping[str, Direction], kept: Sequence[int]) -> dict[str, Direction]:
    """Directions in a part of the features, by their places."""
    return {
        name: each.model_copy(update={"difference": tuple(each.difference[at] for at in kept)})
        for name, each in directions.items()
    }
