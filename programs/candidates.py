"""What might be true of a person: statements from the space, from numbers, and their own texts.

Free hypotheses from a model are ``infer``'s and ``extract``'s. Everything here is cheap to make, and nothing of
it is believed before it is tested. This file knows no model.

Which dimensions are worth a model's time: a cheap choice from the space, before anything is tested.

What people wrote is tested for manner alone. What they chose is tested first for the subjects that come up again and
again in their records, then for manner, then for the rest, up to a number: a subject that is met once would be judged
by answers that have nothing to do with it. Which answer was taken plays no part, so that the choice of candidates
cannot favor what will be found. This file knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hyperalign.profile import EXAMPLE_ID, SPACE_ID, Evidence, Hypothesis
from hyperalign.records import Edit, Record, are_choices, own_text, prompt_of, quotable_text, to_sample
from hyperalign.space import Dimension, Space
from hyperalign.style import StyleClaim, find_claims, find_shifts
from hyperalign.text import excerpt, sentences

from .scope import touches
from .selection import Rules

__all__ = [
    "MAX_DIMENSIONS",
    "Candidate",
    "find_untestable",
    "from_edits",
    "from_examples",
    "from_measurement",
    "from_space",
    "proposal_split",
    "shortlist",
]

EXAMPLE_WORDS = 80
MAX_CLAIMS = 12


@dataclass(frozen=True)
class Candidate:
    """A hypothesis, what it was made from, and the measurable claim behind it, if any."""

    hypothesis: Hypothesis
    made_from: frozenset[str] = frozenset()
    claim: StyleClaim | None = None


def proposal_split(records: Sequence[Record], rules: Rules) -> list[Record]:
    """The records to make hypotheses from: every second one, so that the others test what was made.

    Where too few choices would be left to test anything, all of them: what is made then can't be tested, and might as
    well have seen everything.
    """
    if are_choices(records) and len(records) < 2 * rules.min_records:
        return list(records)
    return list(records[::2]) if len(records) > 1 else []


def find_untestable(
    candidates: Sequence[Candidate], records: Sequence[Record], others: Sequence[Record], rules: Rules
) -> dict[str, str]:
    """Which candidates no test can ever judge, and why, by hypothesis id: no model need read anything for them.

    Args:
        candidates: what might be tested.
        records: the person's.
        others: other people's.
        rules: what it takes.
    """
    what = "choices" if are_choices(records) else "records"
    reasons = {}
    for candidate in candidates:
        left = sum(record.id not in candidate.made_from for record in records)
        reason = rules.explain_too_few(left, len(others), what)
        if reason and not left:
            reason = f"made from all of the {what}, so none is left to test it"
        if reason:
            reasons[candidate.hypothesis.id] = reason
    return reasons


def from_space(space: Space) -> list[Candidate]:
    """Both poles of every dimension as one candidate; selection turns it to the pole that fits."""
    return [
        Candidate(
            Hypothesis(
                id=f"{SPACE_ID}{dimension.name}",
                statement=dimension.high,
                opposite=dimension.low,
                aspect=dimension.aspect,
                source="space",
            )
        )
        for dimension in space.dimensions
    ]


def from_measurement(records: Sequence[Record]) -> list[Candidate]:
    """What the numbers of some records claim, each with the sentence that shows it most."""
    # What somebody writes and what they like to read are two claims.
    kind = "chosen" if records and are_choices(records) else "measured"
    return _measured(kind, find_claims([own_text(record) for record in records], limit=MAX_CLAIMS), records)


def from_edits(records: Sequence[Record]) -> list[Candidate]:
    """What the corrections among some records have in common, by numbers: each shift all of them made."""
    edits = [record for record in records if isinstance(record, Edit)]
    return _measured("edited", find_shifts([(edit.draft, edit.edited) for edit in edits], limit=MAX_CLAIMS), edits)


def from_examples(records: Sequence[Record], count: int) -> list[Candidate]:
    """Raw examples: what the person wrote or chose, of middling length, which stands for the rest at a fair price."""
    samples = [to_sample(record) for record in records]
    lengths = sorted(len(sample.text) for sample in samples)
    middle = lengths[len(lengths) // 2] if lengths else 0
    nearest = sorted(samples, key=lambda sample: (abs(len(sample.text) - middle), sample.id))
    return [
        Candidate(
            Hypothesis(
                id=f"{EXAMPLE_ID}{sample.id}",
                statement=excerpt(sample.text, EXAMPLE_WORDS),
                aspect="style",
                kind="example",
                source="example",
                evidence=[Evidence(quote=excerpt(sample.text, 12), record=sample.id)],
            ),
            frozenset({sample.id}),
        )
        for sample in nearest[:count]
    ]


def _measured(kind: str, found: Sequence[StyleClaim], records: Sequence[Record]) -> list[Candidate]:
    made_from = frozenset(record.id for record in records)
    return [
        Candidate(
            Hypothesis(
                id=f"{kind}-{claim.feature}",
                statement=claim.statement,
                opposite=claim.opposite,
                aspect=claim.aspect,
                source="measured",
                evidence=_telling_sentence(claim, records),
            ),
            made_from,
            claim,
        )
        for claim in found
    ]


def _telling_sentence(claim: StyleClaim, records: Sequence[Record]) -> list[Evidence]:
    ranked = max(
        (
            (claim.holds(sentence), len(sentence), sentence, record.id)
            for record in records
            for sentence in sentences(own_text(record))
        ),
        default=None,
    )
    if ranked is None:
        return []
    return [Evidence(quote=ranked[2], record=ranked[3], checked=float(ranked[0] > 0))]


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
    if not are_choices(records):
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
