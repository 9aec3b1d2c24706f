"""Makes candidates without a model: from a space, from measured style, and from examples; none is kept untested.

Reading is what a fit costs, so few statements are tested by a model, on few records.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hyperalign.dependence import fingerprint, group_dependent
from hyperalign.profile import EXAMPLE_ID, SPACE_ID, Evidence, Hypothesis
from hyperalign.records import Edit, Record, are_choices, own_text, prompt_of, quotable_text, to_sample
from hyperalign.space import Dimension, Space, load_space
from hyperalign.style import Features, StyleClaim, find_claims, find_shifts, measure
from hyperalign.text import excerpt, plain_form, sentences

from .scope import SubjectIndex
from .selection import Rules

__all__ = [
    "MAX_TESTED",
    "SHOWN_RECORDS",
    "STATEMENT_RECORDS",
    "TESTED_RECORDS",
    "Candidate",
    "count_half",
    "find_untestable",
    "from_dimensions",
    "from_edits",
    "from_examples",
    "from_measurement",
    "from_space",
    "proposal_split",
    "records_to_read",
    "shortlist",
    "with_dependent",
]

SHOWN_RECORDS = 6
"""How many of the person's records the model sees when it proposes hypotheses."""

STATEMENT_RECORDS = 500
"""How many of the newest texts, and of the newest choices, statements rest on: more would hardly change what a test
says, and would all have to be read once more. The reward is learned from all records."""

TESTED_RECORDS = 11
"""How many of the person's records a model reads to test statements, by default: with six of other people's, a fit
takes at most 40 calls of a hosted model."""

MAX_TESTED = 12
"""Statements that a model tests, at most; what is measured costs nothing, and is tested beside."""

QUOTED_RECORDS = 50
"""The newest records, of which a measured statement is quoted."""

EXAMPLE_WORDS = 80
MAX_CLAIMS = 12


@dataclass(frozen=True)
class Candidate:
    """A hypothesis, what it was made from, and the measurable claim behind it, if any."""

    hypothesis: Hypothesis
    made_from: frozenset[str] = frozenset()
    claim: StyleClaim | None = None


def proposal_split(records: Sequence[Record], rules: Rules) -> list[Record]:
    """The records to make hypotheses from: those of every second question, so that the others can test them.

    None of choices that would leave too few for a test.
    """
    groups = _groups_of(records)
    questions = list(dict.fromkeys(groups))
    if len(questions) < (2 * rules.min_records if are_choices(records) else 2):
        return []
    picked = set(questions[::2])
    return [record for record, group in zip(records, groups, strict=True) if group in picked]


def with_dependent(names: Collection[str], records: Sequence[Record]) -> frozenset[str]:
    """The ids of some records, and of those that share what they teach."""
    groups = _groups_of(records)
    picked = {group for record, group in zip(records, groups, strict=True) if record.id in names}
    return frozenset(record.id for record, group in zip(records, groups, strict=True) if group in picked)


def _groups_of(records: Sequence[Record]) -> list[int]:
    """The group of each record: choices about one question are in one."""
    return group_dependent([fingerprint(record) for record in records])


def records_to_read(records: Sequence[Record], shown: Sequence[Record], count: int) -> list[Record]:
    """The records that a model reads to test statements: the newest, those first that made no hypothesis.

    One choice about each question comes before a second one about any.

    Args:
        records: the person's, the oldest first.
        shown: those that the model saw when it proposed hypotheses.
        count: the most to read.
    """
    made_from = {record.id for record in shown}
    places, met = dict[int, int](), Counter[int]()
    for at, group in reversed(list(enumerate(_groups_of(records)))):
        places[at] = met[group]
        met[group] += 1
    newest = sorted(range(len(records)), key=lambda at: (places[at], records[at].id in made_from, -at))
    return [records[at] for at in sorted(newest[:count])]


def count_half(count: int, records: Sequence[Record], rules: Rules) -> int:
    """How many of ``count`` records that a model reads are of one kind, where a person gave texts and choices.

    Args:
        count: of both kinds.
        records: the kind: choices get two more than texts, since five choices that agree may be chance.
        rules: what a test needs.
    """
    return max(rules.min_records, count // 2 + (1 if are_choices(records) else -1))


def find_untestable(
    candidates: Sequence[Candidate],
    records: Sequence[Record],
    read: Sequence[Record],
    others: Sequence[Record],
    rules: Rules,
    *,
    cheap: Collection[str] = (),
) -> dict[str, str]:
    """Find candidates that have too few records for any test: the reasons by hypothesis id.

    Args:
        candidates: statements and examples.
        records: the person's, which test what takes no model.
        read: those of them that a model reads, which test everything else.
        others: other people's.
        rules: what a test needs.
        cheap: ids of hypotheses that take no model, beside those that are measured.
    """
    what = "choices" if are_choices(records) else "records"
    groups = dict(zip((record.id for record in records), _groups_of(records), strict=True))
    reasons = {}
    for candidate in candidates:
        able = records if candidate.claim or candidate.hypothesis.id in cheap else read
        left = len({groups[record.id] for record in able if record.id not in candidate.made_from})
        if reason := rules.explain_too_few(left, len(others), what):
            reasons[candidate.hypothesis.id] = reason
    return reasons


def from_space(space: Space) -> list[Candidate]:
    """A candidate for each dimension, with the high pole as its statement; selection may turn it to the low one."""
    hypotheses = [
        Hypothesis(id=f"{SPACE_ID}{d.name}", statement=d.high, opposite=d.low, aspect=d.aspect, source="space")
        for d in space.dimensions
    ]
    return [Candidate(hypothesis) for hypothesis in hypotheses]


def from_dimensions(
    space: Space, records: Sequence[Record], directions: Collection[str], *, limit: int = MAX_TESTED
) -> list[Candidate]:
    """The dimensions to test: all in which features read texts, and some of the others, which a model reads.

    It does not matter which answer was chosen, so that the choices can test them.

    Args:
        space: the dimensions.
        records: the person's.
        directions: names of the dimensions in which features read texts.
        limit: the most dimensions for a model.
    """
    counts = _count_touched(space, records)
    usual = {each.name for each in _shortlist(space, records, counts, len(space.dimensions)).dimensions}
    known = [each for each in space.dimensions if each.name in directions]
    cheap = [each for each in known if each.name in usual and each.group in _SHOWN]
    # Of the shipped space, what features can't tell is not worth reading every record for.
    shipped = {(each.name, each.high, each.low) for each in load_space().dimensions} if known else set()
    others = [
        each for each in space.dimensions if each not in known and (each.name, each.high, each.low) not in shipped
    ]
    rest = _shortlist(space.model_copy(update={"dimensions": others}), records, counts, limit).dimensions
    return from_space(space.model_copy(update={"dimensions": [*cheap, *rest]}))


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
    """Own or chosen texts to show as examples: those nearest to the median length, each once."""
    by_text = {plain_form(record.text): record for record in sorted(map(to_sample, records), key=lambda each: each.id)}
    samples = list(by_text.values())
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
    quotable = _quotable(records[-QUOTED_RECORDS:]) if found else []
    return [
        Candidate(
            Hypothesis(
                id=f"{kind}-{claim.feature}",
                statement=claim.statement,
                opposite=claim.opposite,
                aspect=claim.aspect,
                source="measured",
                evidence=_quote_best_sentence(claim, quotable),
            ),
            made_from,
            claim,
        )
        for claim in found
    ]


_Quotable = tuple[str, str, Features]
"""A sentence: its record's id, the sentence, and its features."""


def _quotable(records: Sequence[Record]) -> list[_Quotable]:
    texts = [(record.id, own_text(record)) for record in records]
    return [(name, each, measure(each)) for name, text in texts for each in sentences(text)]


def _quote_best_sentence(claim: StyleClaim, quotable: Sequence[_Quotable]) -> list[Evidence]:
    ranked = [
        (claim.holds(features) if claim.is_about(each) else 0.0, len(each), each, name)
        for name, each, features in quotable
    ]
    if not ranked:
        return []
    holds, _, quote, name = max(ranked)
    return [Evidence(quote=quote, record=name, checked=float(holds > 0))]


_MAX_SUBJECTS = 4
# Groups of dimensions without a subject, the likeliest to show in an answer first.
_SHOWN = {"own", "manner", "disposition", "quality", "need", "interest"}
_RANK = ("own", "manner", "disposition", "quality", "need", "life", "demographics", "interest")


def shortlist(space: Space, records: Sequence[Record], limit: int = MAX_TESTED) -> Space:
    """Choose the dimensions to test on all of a person's records.

    Texts are tested for manner, and choices for subjects that recur in them, for manner, and for the rest: a subject
    that is met once would be judged by unrelated answers. It does not matter which answer was chosen.

    Args:
        space: the dimensions.
        records: the person's.
        limit: the most dimensions to choose.
    """
    return _shortlist(space, records, _count_touched(space, records), limit)


def _shortlist(space: Space, records: Sequence[Record], counts: Mapping[str, int], limit: int) -> Space:
    open_to = _open_to(space, records)
    often = max(2, math.ceil(len(records) / 2))
    subjects = sorted(
        (each for each in open_to if counts.get(each.name, 0) >= often), key=lambda each: -counts[each.name]
    )
    others = sorted((each for each in open_to if not each.words), key=lambda each: _RANK.index(each.group))
    chosen = {each.name for each in [*subjects[:_MAX_SUBJECTS], *others][:limit]}
    return space.model_copy(update={"dimensions": [each for each in open_to if each.name in chosen]})


def _open_to(space: Space, records: Sequence[Record]) -> list[Dimension]:
    """The dimensions that show in records of this kind."""
    hidden = "writing" if are_choices(records) else "choices"
    return [each for each in space.dimensions if each.shows_in != hidden]


def _count_touched(space: Space, records: Sequence[Record]) -> dict[str, int]:
    """By dimension, how many records have a word of its subject, in the prompt or in either text."""
    index, counts = SubjectIndex([each.words for each in space.dimensions]), Counter[int]()
    for record in records:
        counts.update(index.find(f"{prompt_of(record)} {quotable_text(record)}"))
    return {dimension.name: counts[at] for at, dimension in enumerate(space.dimensions)}
