"""What a few texts say of a person's measured style: the mean of each feature, shrunken toward what is usual.

People differ by so much, one person's texts by so much, and a few texts are noisy: with those three the person's true
mean has a belief, and so has their next text (the normal model of empirical Bayes). This file makes no claim and
compares no text: ``claims`` and ``likeness`` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from .features import FEATURES, measure
from .parsed import words_of
from .reference import Reference, load_reference

__all__ = ["Estimate", "estimate"]

CONFIDENCE = 1.96
# How many texts the reference's within-person spread is worth beside the person's own.
PRIOR_TEXTS = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """One feature of one person.

    Attributes:
        value: the mean over their texts, in the feature's unit.
        usual: the reference mean.
        z: distance of the two in between-person deviations, shrunken for sampling noise.
        margin: half of the 95 % interval of the person's true mean.
        spread: standard deviation of one further text about the shrunken mean: what texts differ by, and what is not
            known of the mean.
        texts: how many texts show the feature.
    """

    value: float
    usual: float
    z: float
    margin: float
    spread: float
    texts: int


def estimate(texts: Sequence[str], reference: Reference | None = None) -> dict[str, Estimate]:
    """Estimate every feature that some text shows.

    Args:
        texts: what the person wrote; empty ones are passed over, short ones count for less.
        reference: what is usual; the one that ships if left out.
    """
    reference = reference or load_reference()
    filled = [text for text in texts if words_of(text)]
    rows = [measure(text) for text in filled]
    sizes = [min(1.0, len(words_of(text)) / reference.excerpt_words) for text in filled]
    found: dict[str, Estimate] = {}
    for name in FEATURES.keys() & reference.features.keys():
        known = [(value, size) for row, size in zip(rows, sizes, strict=True) if (value := row[name]) is not None]
        if known:
            found[name] = _estimate(name, known, reference)
    return {name: found[name] for name in FEATURES if name in found}


def _estimate(name: str, known: Sequence[tuple[float, float]], reference: Reference) -> Estimate:
    """From values and how much of a full excerpt each text is, 0 to 1: short texts are noisier."""
    usual = reference.features[name].mean
    between, within = reference.spread(name)
    values, weights = [value for value, _ in known], [size for _, size in known]
    count = sum(weights)
    value = fmean(values, weights)
    own = fmean([(each - value) ** 2 for each in values], weights) * count
    variance = (PRIOR_TEXTS * within**2 + own) / (PRIOR_TEXTS + max(0.0, count - 1))
    trust = between**2 / (between**2 + variance / count)
    return Estimate(
        value=value,
        usual=usual,
        z=trust * (value - usual) / between,
        margin=CONFIDENCE * (variance / count) ** 0.5,
        spread=(variance + (1 - trust) * between**2) ** 0.5,
        texts=len(values),
    )
