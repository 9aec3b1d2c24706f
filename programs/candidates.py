"""What might be true of a person: statements from the space, from numbers, and their own texts.

Free hypotheses from a model are ``infer``'s. Everything here is cheap to make, and nothing of
it is believed before it is tested. This file knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hyperalign.profile import Evidence, Hypothesis
from hyperalign.records import Record, Sample, own_text
from hyperalign.space import Space
from hyperalign.style import StyleClaim, claims

from .excerpts import excerpt, sentences

__all__ = ["Candidate", "from_examples", "from_measurement", "from_space"]

SPACE_ID = "space-"
EXAMPLE_WORDS = 80
MAX_CLAIMS = 12


@dataclass(frozen=True)
class Candidate:
    """A hypothesis, what it was made from, and the measurable claim behind it, if any."""

    hypothesis: Hypothesis
    made_from: frozenset[str] = frozenset()
    claim: StyleClaim | None = None


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
    made_from = frozenset(record.id for record in records)
    found = claims([own_text(record) for record in records], limit=MAX_CLAIMS)
    return [
        Candidate(
            Hypothesis(
                id=f"measured-{claim.feature}",
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


def from_examples(records: Sequence[Record], count: int) -> list[Candidate]:
    """Raw examples: the person's own texts of middling length, which stand for the rest at a fair price."""
    samples = [record for record in records if isinstance(record, Sample)]
    lengths = sorted(len(sample.text) for sample in samples)
    middle = lengths[len(lengths) // 2] if lengths else 0
    nearest = sorted(samples, key=lambda sample: (abs(len(sample.text) - middle), sample.id))
    return [
        Candidate(
            Hypothesis(
                id=f"example-{sample.id}",
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
