"""Makes candidates without a model: from a space, from measured style, and from examples; none is kept untested."""

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
    """The records to make hypotheses from: every second one, so that the others can test them.

    If too few choices would be left for a test, all of them: the hypotheses can't be tested then.
    """
    if are_choices(records) and len(records) < 2 * rules.min_records:
        return list(records)
    return list(records[::2]) if len(records) > 1 else []


def find_untestable(
    candidates: Sequence[Candidate], records: Sequence[Record], others: Sequence[Record], rules: Rules
) -> dict[str, str]:
    """Find candidates that have too few records for any test: the reasons by hypothesis id."""
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
    """A candidate for each dimension, with the high pole as its statement; selection may turn it to the low one."""
    hypotheses = [
        Hypothesis(id=f"{SPACE_ID}{d.name}", statement=d.high, opposite=d.low, aspect=d.aspect, source="space")
        for d in space.dimensions
    ]
    return [Candidate(hypothesis) for hypothesis in hypotheses]


def from_measurement(records: Sequence[Record]) -> list[Candidate]:
    """Claims of measured style, each with the sentence that shows it most."""
    # How somebody writes and what they like to read are different claims.
    kind = "chosen" if records and are_choices(records) else "measured"
    return _from_claims(kind, find_claims([own_text(record) for record in records], limit=MAX_CLAIMS), records)


def from_edits(records: Sequence[Record]) -> list[Candidate]:
    """Shifts of measured style that all edits have in common."""
    edits = [record for record in records if isinstance(record, Edit)]
    return _from_claims("edited", find_shifts([(edit.draft, edit.edited) for edit in edits], limit=MAX_CLAIMS), edits)


def from_examples(records: Sequence[Record], count: int) -> list[Candidate]:
    """Own or chosen texts to show as examples: those nearest to the median length."""
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


def _from_claims(kind: str, found: Sequence[StyleClaim], records: Sequence[Record]) -> list[Candidate]:
    made_from = frozenset(record.id for record in records)
    return [
        Candidate(
            Hypothesis(
                id=f"{kind}-{claim.feature}",
                statement=claim.statement,
                opposite=claim.opposite,
                aspect=claim.aspect,
                source="measured",
                evidence=_quote_best_sentence(claim, records),
            ),
            made_from,
            claim,
        )
        for claim in found
    ]


def _quote_best_sentence(claim: StyleClaim, records: Sequence[Record]) -> list[Evidence]:
    texts = [(record.id, own_text(record)) for record in records]
    ranked = [(claim.holds(each), len(each), each, name) for name, text in texts for each in sentences(text)]
    if not ranked:
        return []
    holds, _, quote, name = max(ranked)
    return [Evidence(quote=quote, record=name, checked=float(holds > 0))]


MAX_DIMENSIONS = 24
_MAX_SUBJECTS = 12
# Groups of dimensions without a subject, the likeliest to show in an answer first.
_RANK = ("own", "manner", "disposition", "quality", "need", "life", "demographics", "interest")


def shortlist(space: Space, records: Sequence[Record], limit: int = MAX_DIMENSIONS) -> Space:
    """Choose the dimensions to test on a person's records.

    Texts are tested for manner alone. Choices are tested for subjects that recur in them, then for manner, then for the
    rest, up to ``limit``: a subject that is met once would be judged by unrelated answers. It does not matter which
    answer was chosen, so that the shortlist cannot favor a result.
    """
    if not are_choices(records):
        return space.model_copy(
            update={"dimensions": [each for each in space.dimensions if each.shows_in != "choices"]}
        )
    open_to = [each for each in space.dimensions if each.shows_in != "writing"]
    counts = {each.name: _count_touched(each, records) for each in open_to if each.words}
    often = max(2, math.ceil(len(records) / 2))
    subjects = sorted(
        (each for each in open_to if counts.get(each.name, 0) >= often), key=lambda each: -counts[each.name]
    )
    others = sorted((each for each in open_to if not each.words), key=lambda each: _RANK.index(each.group))
    chosen = {each.name for each in [*subjects[:_MAX_SUBJECTS], *others][:limit]}
    return space.model_copy(update={"dimensions": [each for each in open_to if each.name in chosen]})


def _count_touched(dimension: Dimension, records: Sequence[Record]) -> int:
    """How many records have a word of the dimension's subject, in the prompt or in either text."""
    return sum(touches(f"{prompt_of(record)} {quotable_text(record)}", dimension.words) for record in records)
