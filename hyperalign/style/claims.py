"""Claims about a writer that numbers support: where they stand apart from most people.

A claim is made where a person's mean differs from the reference by more than sampling
noise explains. It can be checked on any further text, and has its opposite. This file
knows no model and keeps nothing: the tests on evidence decide what stays in a profile.

Claims about corrections: what a person's edits change in every draft.

The draft is the reference: whoever wrote it wrote about the same thing, so that what moved is what the person moved.
This file knows no model and keeps nothing: the tests on other edits decide what is believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .estimate import Estimate, estimate
from .features import FEATURES, Aspect, Features, measure
from .parsed import words_of
from .reference import Reference, load_reference
from .statements import say

__all__ = ["STANDS_APART", "StyleClaim", "distance", "find_claims", "find_shifts", "keep_strongest"]

MAX_DEVIATIONS = 3.0
STANDS_APART = 0.8


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


def _claim(name: str, found: Estimate, reference: Reference) -> StyleClaim | None:
    """What one feature says about a person, or None where it cannot be told from noise."""
    if abs(found.value - found.usual) <= found.margin:
        return None
    feature = FEATURES[name]
    direction: Literal[-1, 1] = 1 if found.value > found.usual else -1
    low = found.value - found.margin if feature.kind == "score" else max(0.0, found.value - found.margin)
    top = found.value + found.margin
    return StyleClaim(
        feature=name,
        aspect=feature.aspect,
        direction=direction,
        value=found.value,
        usual=found.usual,
        z=found.z,
        interval=(low, min(1.0, top) if feature.kind in ("share", "flag") else top),
        scale=reference.spread(name)[1],
        texts=found.texts,
        statement=say(name, direction, found.value, found.usual),
        opposite=say(name, -direction, _opposite_value(name, found.value, reference), found.usual),
    )


def find_claims(
    texts: Sequence[str],
    reference: Reference | None = None,
    *,
    threshold: float = STANDS_APART,
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
    known = {name: _claim(name, found, reference) for name, found in estimate(texts, reference).items()}
    return keep_strongest((claim for claim in known.values() if claim is not None and abs(claim.z) >= threshold), limit)


def keep_strongest(found: Iterable[StyleClaim], limit: int | None = None) -> list[StyleClaim]:
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


MIN_EDITS = 2
LEAST_SHIFT = 0.5
_THAN = "the drafts"


def find_shifts(
    edits: Sequence[tuple[str, str]],
    reference: Reference | None = None,
    *,
    least: float = LEAST_SHIFT,
    limit: int | None = None,
) -> list[StyleClaim]:
    """Say what some edits have in common.

    Args:
        edits: each a draft and what the person made of it; those with an empty side are passed over.
        reference: where the scale of each feature comes from; the one that ships if left out.
        least: how far a feature must move on average, in within-person deviations.
        limit: at most so many claims.

    Returns:
        A claim for each feature that every edit moved in one direction, at least two of them; the strongest first, at
        most one per family of features. Its ``usual`` is the drafts' mean, its ``z`` the mean shift in within-person
        deviations, and its ``interval`` reaches from the smallest shift to the largest.
    """
    reference = reference or load_reference()
    measured = [(measure(draft), measure(edited)) for draft, edited in edits if words_of(draft) and words_of(edited)]
    found = []
    for name in FEATURES.keys() & reference.features.keys():
        known = [
            (before, after)
            for draft, edited in measured
            if (before := draft[name]) is not None and (after := edited[name]) is not None
        ]
        claim = _shift_claim(name, known, reference)
        if claim is not None and abs(claim.z) >= least:
            found.append(claim)
    return keep_strongest(found, limit)


def _shift_claim(name: str, known: Sequence[tuple[float, float]], reference: Reference) -> StyleClaim | None:
    """What one feature says, or None where it did not move, or not always in one direction."""
    if len(known) < MIN_EDITS:
        return None
    if all(after > before for before, after in known):
        direction: Literal[-1, 1] = 1
    elif all(after < before for before, after in known):
        direction = -1
    else:
        return None
    feature, (_, within) = FEATURES[name], reference.spread(name)
    usual, value = (fmean(side) for side in zip(*known, strict=True))
    moved = [after - before for before, after in known]
    return StyleClaim(
        feature=name,
        aspect=feature.aspect,
        direction=direction,
        value=value,
        usual=usual,
        z=fmean(moved) / within,
        interval=(usual + min(moved), usual + max(moved)),
        scale=within,
        texts=len(known),
        statement=say(name, direction, value, usual, than=_THAN),
        # Nobody was measured who moves it the other way: their claim has no figures.
        opposite=say(name, -direction, usual, usual, than=_THAN),
    )
