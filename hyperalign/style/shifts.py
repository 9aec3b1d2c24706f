"""Claims about corrections: what a person's edits change in every draft.

The draft is the reference: whoever wrote it wrote about the same thing, so that what moved is what the person moved.
This file knows no model and keeps nothing: the tests on other edits decide what is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from .claims import StyleClaim, strongest
from .features import FEATURES, measure
from .parsed import words_of
from .reference import Reference, load_reference
from .statements import say

__all__ = ["shifts"]

MIN_EDITS = 2
LEAST_SHIFT = 0.5
_THAN = "the drafts"


def shifts(
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
        claim = _claim(name, known, reference)
        if claim is not None and abs(claim.z) >= least:
            found.append(claim)
    return strongest(found, limit)


def _claim(name: str, known: Sequence[tuple[float, float]], reference: Reference) -> StyleClaim | None:
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
