"""Ratings as choices: what a person rated higher, against what they rated lower under the same prompt.

The rule: of the texts that one person rated under one prompt, sorted by their rating, those of the upper half are
paired in order with those of the lower half. So each text stands in one pair at most, as choices must that are counted
as independent; no more pairs of different ratings could be made of them, and none is of two that were rated nearly
alike where the ratings allow it. Equal ratings make no pair. A text that was rated twice counts as rated last.
This file reads no files (``reading`` does) and knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable

from .records import Pair, Rating, Record

__all__ = ["pairs_of", "with_pairs"]


def pairs_of(ratings: Iterable[Rating]) -> list[Pair]:
    """The pairs that ratings make.

    Args:
        ratings: of any people and prompts, in the order they were given.

    Returns:
        Pairs in the order in which their people and prompts came up, the best-rated text first. Ids come from the
        content, so that the same ratings, in any order, always make the same pairs; the time is that of the higher
        rating.
    """
    rated: dict[tuple[str, str], dict[str, Rating]] = {}
    for rating in ratings:
        texts = rated.setdefault((rating.user, rating.prompt or ""), {})
        texts[rating.text] = rating
    return [pair for texts in rated.values() for pair in _paired(list(texts.values()))]


def with_pairs(items: Iterable[Record | Rating]) -> list[Record]:
    """Records as they are, followed by the pairs that the ratings among them make."""
    given = list(items)
    records: list[Record] = [item for item in given if not isinstance(item, Rating)]
    return [*records, *pairs_of(item for item in given if isinstance(item, Rating))]


def _paired(ratings: list[Rating]) -> list[Pair]:
    best_first = sorted(ratings, key=lambda rating: (-rating.rating, rating.text))
    # With an odd number the one in the middle is left out.
    upper, lower = best_first[: len(ratings) // 2], best_first[(len(ratings) + 1) // 2 :]
    return [
        Pair(user=high.user, prompt=high.prompt or "", chosen=high.text, rejected=low.text, time=high.time)
        for high, low in zip(upper, lower, strict=True)
        if high.rating > low.rating
    ]
