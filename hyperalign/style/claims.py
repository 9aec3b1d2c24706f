"""Claims about a writer that numbers support: where they stand apart from most people.

A claim is made where a person's mean differs from the reference by more than sampling
noise explains. It can be checked on any further text, and has its opposite. This file
knows no model and keeps nothing: the tests on evidence decide what stays in a profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .features import FEATURES, Aspect, Features, measure
from .parsed import words_of
from .reference import Reference, load_reference
from .statements import say

__all__ = ["StyleClaim", "claims", "distance", "strongest"]

CONFIDENCE = 1.96
MAX_DEVIATIONS = 3.0
# How many texts the reference's within-person spread is worth beside the person's own.
PRIOR_TEXTS = 4
DEFAULT_THRESHOLD = 0.8


class StyleClaim(BaseModel):
    """One way in which a person's writing stands apart.

    Attributes:
        feature: which measurement.
        aspect: ``style`` or ``communication``.
        direction: +1 if the person has more than most people, -1 if less.
        value: the person's mean, as measured.
        usual: the reference mean; of a claim about corrections (``shifts``), the drafts'.
        z: the person's distance from the reference in between-person deviations, shrunken for sampling noise.
        interval: 95 % interval of the person's true mean (low, high).
        scale: within-person deviation of one text, against which single texts are measured.
        texts: how many of the person's texts show the feature.
        statement: the claim, as guidance for a writer.
        opposite: the same claim about somebody as far on the other side.
    """

    model_config = ConfigDict(frozen=True)

    feature: str
    aspect: Aspect
    direction: Literal[-1, 1]
    value: float
    usual: float
    z: float
    interval: tuple[float, float]
    scale: float
    texts: int
    statement: str
    opposite: str

    def holds(self, text: str | Features) -> float:
        """How far a text bears the claim out.

        Args:
            text: a text the claim was not made from, or a draft; or what ``measure`` said of it.

        Returns:
            Within-person deviations from the usual towards the claim: above 0 speaks for it, below against; clipped
            to -3..3; 0.0 where the text cannot tell.
        """
        value = (measure(text) if isinstance(text, str) else text).get(self.feature)
        if value is None:
            return 0.0
        deviations = self.direction * (value - self.usual) / self.scale
        return max(-MAX_DEVIATIONS, min(MAX_DEVIATIONS, deviations))


def _opposite_value(name: str, value: float, reference: Reference) -> float:
    """As far from the usual on the other side, but not beyond what real people do."""
    row = reference.features[name]
    mirrored = 2 * row.mean - value
    low, high = row.quantiles[5], row.quantiles[95]
    return max(mirrored, low) if mirrored < row.mean else min(mirrored, max(high, row.mean))


def _claim(name: str, values: Sequence[float], weights: Sequence[float], reference: Reference) -> StyleClaim | None:
    """What one feature says about a person, or None where it cannot be told from noise.

    Args:
        name: the feature.
        values: its value in each of the person's texts.
        weights: how much of a full excerpt each text is, 0 to 1; short texts are noisier.
        reference: what is usual.
    """
    row, feature = reference.features[name], FEATURES[name]
    between, within = reference.spread(name)
    count = sum(weights)
    value = fmean(values, weights)
    own = fmean([(each - value) ** 2 for each in values], weights) * count
    variance = (PRIOR_TEXTS * within**2 + own) / (PRIOR_TEXTS + max(0.0, count - 1))
    trust = between**2 / (between**2 + variance / count)
    margin = CONFIDENCE * (variance / count) ** 0.5
    if abs(value - row.mean) <= margin:
        return None
    direction: Literal[-1, 1] = 1 if value > row.mean else -1
    low = value - margin if feature.kind == "score" else max(0.0, value - margin)
    high = min(1.0, value + margin) if feature.kind in ("share", "flag") else value + margin
    return StyleClaim(
        feature=name,
        aspect=feature.aspect,
        direction=direction,
        value=value,
        usual=row.mean,
        z=trust * (value - row.mean) / between,
        interval=(low, high),
        scale=within,
        texts=len(values),
        statement=say(name, direction, value, row.mean),
        opposite=say(name, -direction, _opposite_value(name, value, reference), row.mean),
    )


def claims(
    texts: Sequence[str],
    reference: Reference | None = None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    limit: int | None = None,
) -> list[StyleClaim]:
    """Say where a person's writing stands apart.

    Args:
        texts: what the person wrote; empty ones are passed over.
        reference: what is usual; the one that ships if left out.
        threshold: how far apart, in between-person deviations after shrinking.
        limit: at most so many claims.

    Returns:
        Claims, the strongest first, at most one per family of features. Empty where nothing stands apart.
    """
    reference = reference or load_reference()
    filled = [text for text in texts if words_of(text)]
    rows = [measure(text) for text in filled]
    sizes = [min(1.0, len(words_of(text)) / reference.excerpt_words) for text in filled]
    found = []
    for name in FEATURES.keys() & reference.features.keys():
        known = [(value, size) for row, size in zip(rows, sizes, strict=True) if (value := row[name]) is not None]
        if not known:
            continue
        claim = _claim(name, [value for value, _ in known], [size for _, size in known], reference)
        if claim is not None and abs(claim.z) >= threshold:
            found.append(claim)
    return strongest(found, limit)


def strongest(found: Iterable[StyleClaim], limit: int | None = None) -> list[StyleClaim]:
    """Claims by their distance, at most one per family of features.

    Args:
        found: any claims.
        limit: at most so many.
    """
    best: dict[str, StyleClaim] = {}
    for claim in sorted(found, key=lambda claim: (-abs(claim.z), claim.feature)):
        best.setdefault(FEATURES[claim.feature].family, claim)
    return list(best.values())[:limit]


def distance(
    text_features: Features,
    person_features: Features,
    *,
    names: Sequence[str] | None = None,
    reference: Reference | None = None,
) -> float:
    """How far a text is from a person's measured style, to choose the best of several drafts.

    Args:
        text_features: ``measure`` of the text.
        person_features: ``measure_all`` of the person's own texts.
        names: the features to compare, best those of the person's claims; all if left out.
        reference: where the scale of each feature comes from; the one that ships if left out.

    Returns:
        Mean absolute difference in within-person deviations, each clipped at 3; 0.0 if nothing can be compared.
    """
    reference = reference or load_reference()
    gaps = []
    for name in reference.features if names is None else names:
        if name not in reference.features:
            continue
        here, there = text_features.get(name), person_features.get(name)
        if here is not None and there is not None:
            gaps.append(min(MAX_DEVIATIONS, abs(here - there) / reference.spread(name)[1]))
    return fmean(gaps) if gaps else 0.0
