"""What fitting a person will cost, said before anything is done.

Counts words, not tokens: one word is taken as 1.4 tokens, which is near the truth for English
and low for other languages. This file calls no model.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.budget import Usage
from hyperalign.records import Record, other_text, own_text, prompt_of
from hyperalign.space import Space, load_space

from .shortlist import shortlist

__all__ = ["REFERENCE_RECORDS", "estimate"]

TOKENS_PER_WORD = 1.4
INSTRUCTION_TOKENS = 450
PROPOSAL_TOKENS = 80
PHRASE_TOKENS = 6
QUESTION_TOKENS = 60
QUESTIONS_ASKED = 3
FREE_HYPOTHESES = QUESTIONS_ASKED
REFERENCE_RECORDS = 6
EXCERPT_WORDS = 60
CHECKED_STATEMENTS = 8
CHECK_TOKENS = 130


def estimate(
    records: Sequence[Record], others: Sequence[Record], *, by_choice: bool = False, space: Space | None = None
) -> dict[str, Usage]:
    """Expected usage by step.

    Args:
        records: the person's.
        others: other people's, to compare with.
        by_choice: the model offers no log-probabilities of text: it is asked once for each statement, record and order.
        space: the dimensions that are tried; the shipped ones if None.
    """
    shown = sum(_words(record) for record in [*records[::2], *others[:4]])
    statements = len(shortlist(space or load_space(), records).dimensions) + FREE_HYPOTHESES
    every = [*records, *others]
    if by_choice:
        # Each question shows a record beside another one of about its length, and is asked in both orders.
        calls = 2 * statements * len(every)
        beside = round(2 * sum(map(_words, every)) * TOKENS_PER_WORD)
        tokens_in = 2 * statements * beside + calls * (QUESTION_TOKENS + PHRASE_TOKENS)
        score = Usage(calls=calls, tokens_in=tokens_in, tokens_out=calls)
    else:
        # Two answers are read beside each other twice, each once as the first.
        calls = sum(1 if other_text(record) is None else 2 for record in every)
        read = round(sum(map(_read, every)) * TOKENS_PER_WORD)
        score = Usage(calls=calls, tokens_in=read + calls * (QUESTION_TOKENS + 2 * statements * PHRASE_TOKENS))
    return {
        "infer": Usage(
            calls=QUESTIONS_ASKED,
            tokens_in=QUESTIONS_ASKED * (INSTRUCTION_TOKENS + round(shown * TOKENS_PER_WORD)),
            tokens_out=QUESTIONS_ASKED * PROPOSAL_TOKENS,
        ),
        "score": score,
        # As many as may be kept: how many will be is what the tests are for.
        "evidence": Usage(
            calls=2 * CHECKED_STATEMENTS,
            tokens_in=2 * CHECKED_STATEMENTS * CHECK_TOKENS,
            tokens_out=2 * CHECKED_STATEMENTS if by_choice else 0,
        ),
    }


def _words(record: Record) -> int:
    return _cut(own_text(record))


def _read(record: Record) -> int:
    """Words that the test by likelihood reads of a record."""
    other = other_text(record)
    return _words(record) if other is None else 2 * (_cut(prompt_of(record)) + _words(record) + _cut(other))


def _cut(text: str) -> int:
    return min(EXCERPT_WORDS, len(text.split()))
