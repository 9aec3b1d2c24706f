"""Which dimensions are worth a model's time: a cheap choice from the space, before anything is tested.

What people wrote is tested for manner alone. What they chose is tested first for the subjects that come up again and
again in their records, then for manner, then for the rest, up to a number: a subject that is met once would be judged
by answers that have nothing to do with it. Which answer was taken plays no part, so that the choice of candidates
cannot favor what will be found. This file knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hyperalign.records import Record, only_choices, prompt_of, quotable_text
from hyperalign.space import Dimension, Space

from .scope import touches

__all__ = ["MAX_DIMENSIONS", "shortlist"]

MAX_DIMENSIONS = 24
_MAX_SUBJECTS = 12
# Of those without a subject, what is likeliest to show in an answer comes first.
_RANK = ("own", "manner", "disposition", "quality", "need", "life", "demographics", "interest")


def shortlist(space: Space, records: Sequence[Record], limit: int = MAX_DIMENSIONS) -> Space:
    """The dimensions to test on some records.

    Args:
        space: all of them.
        records: one person's.
        limit: at most so many for choices.

    Returns:
        A space of those, in the order of the first.
    """
    if not only_choices(records):
        return space.model_copy(
            update={"dimensions": [each for each in space.dimensions if each.shows_in != "choices"]}
        )
    open_to = [each for each in space.dimensions if each.shows_in != "writing"]
    touched = {each.name: _touched(each, records) for each in open_to if each.words}
    often = max(2, math.ceil(len(records) / 2))
    subjects = sorted(
        (each for each in open_to if touched.get(each.name, 0) >= often), key=lambda each: -touched[each.name]
    )
    others = sorted((each for each in open_to if not each.words), key=lambda each: _RANK.index(each.group))
    chosen = {each.name for each in [*subjects[:_MAX_SUBJECTS], *others][:limit]}
    return space.model_copy(update={"dimensions": [each for each in open_to if each.name in chosen]})


def _touched(dimension: Dimension, records: Sequence[Record]) -> int:
    """How many records have a word of the dimension's subject, on either side or in the prompt."""
    return sum(touches(f"{prompt_of(record)} {quotable_text(record)}", dimension.words) for record in records)
