"""What fitting a person will cost, said before anything is done.

Counts words, not tokens: one word is taken as 1.4 tokens, which is near the truth for English
and low for other languages. This file calls no model.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.budget import Usage
from hyperalign.records import Record, own_text
from hyperalign.space import load_space

__all__ = ["estimate"]

TOKENS_PER_WORD = 1.4
INSTRUCTION_TOKENS = 600
PROPOSAL_TOKENS = 400
PHRASE_TOKENS = 6
QUESTION_TOKENS = 60
FREE_HYPOTHESES = 6
EXCERPT_WORDS = 120


def estimate(records: Sequence[Record], others: Sequence[Record]) -> dict[str, Usage]:
    """Expected usage by step.

    Args:
        records: the person's.
        others: other people's, to compare with.
    """
    shown = sum(_words(record) for record in [*records[::2], *others[:4]])
    poles = 2 * (len(load_space().dimensions) + FREE_HYPOTHESES)
    read = sum(_words(record) for record in [*records, *others])
    scored = len(records) + len(others)
    return {
        "infer": Usage(
            calls=1, tokens_in=INSTRUCTION_TOKENS + round(shown * TOKENS_PER_WORD), tokens_out=PROPOSAL_TOKENS
        ),
        "score": Usage(
            calls=scored,
            tokens_in=round(read * TOKENS_PER_WORD) + scored * (QUESTION_TOKENS + poles * PHRASE_TOKENS),
        ),
    }


def _words(record: Record) -> int:
    return min(EXCERPT_WORDS, len(own_text(record).split()))
