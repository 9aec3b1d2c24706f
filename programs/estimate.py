"""What fitting a person will cost, said before anything is done.

Counts words, not tokens: one word is taken as 1.4 tokens, which is near the truth for English
and low for other languages. This file calls no model.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.budget import Usage
from hyperalign.records import Record, by_kind, only_choices, other_text, own_text, prompt_of
from hyperalign.space import Space, load_space

from .candidates import makers
from .select import Rules
from .shortlist import shortlist

__all__ = ["REFERENCE_RECORDS", "estimate"]

TOKENS_PER_WORD = 1.4
INSTRUCTION_TOKENS = 450
PROPOSAL_TOKENS = 80
PHRASE_TOKENS = 6
QUESTION_TOKENS = 60
QUESTIONS_ASKED = 3
FREE_HYPOTHESES = QUESTIONS_ASKED
CHOICE_QUESTIONS = 1
CHOICE_INSTRUCTION_TOKENS = 350
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
    space = space or load_space()
    steps: dict[str, Usage] = {}
    for part in by_kind(records):
        like = [record for record in others if only_choices([record]) == only_choices(part)]
        score = _score(part, like, space, by_choice)
        for step, usage in (("infer", _infer(part, like)), ("score", score), ("evidence", _evidence(score, by_choice))):
            steps[step] = steps.get(step, Usage()) + usage
    return steps


def _infer(records: Sequence[Record], others: Sequence[Record]) -> Usage:
    made_from = makers(records, Rules())
    if only_choices(records):
        asked, instruction, shown = CHOICE_QUESTIONS, CHOICE_INSTRUCTION_TOKENS, sum(map(_beside, made_from))
    else:
        shown = sum(map(_words, [*made_from, *others[:4]]))
        asked, instruction = QUESTIONS_ASKED, INSTRUCTION_TOKENS
    return Usage(
        calls=asked,
        tokens_in=asked * (instruction + round(shown * TOKENS_PER_WORD)),
        tokens_out=asked * PROPOSAL_TOKENS,
    )


def _evidence(score: Usage, by_choice: bool) -> Usage:
    """As many checks as statements may be kept: how many will be is what the tests are for."""
    if not score.calls:
        return Usage()
    calls = 2 * CHECKED_STATEMENTS
    return Usage(calls=calls, tokens_in=calls * CHECK_TOKENS, tokens_out=calls if by_choice else 0)


def _score(records: Sequence[Record], others: Sequence[Record], space: Space, by_choice: bool) -> Usage:
    statements = _statements(records, space)
    if not statements:
        return Usage()
    every = [*records, *others]
    if by_choice:
        # Each question shows a record beside another one of about its length, and is asked in both orders.
        calls = 2 * statements * len(every)
        beside = round(2 * sum(map(_words, every)) * TOKENS_PER_WORD)
        tokens_in = 2 * statements * beside + calls * (QUESTION_TOKENS + PHRASE_TOKENS)
        return Usage(calls=calls, tokens_in=tokens_in, tokens_out=calls)
    # Two answers are read beside each other twice, each once as the first.
    calls = sum(1 if other_text(record) is None else 2 for record in every)
    read = round(
        sum(_words(each) if other_text(each) is None else 2 * _beside(each) for each in every) * TOKENS_PER_WORD
    )
    return Usage(calls=calls, tokens_in=read + calls * (QUESTION_TOKENS + 2 * statements * PHRASE_TOKENS))


def _statements(records: Sequence[Record], space: Space) -> int:
    """How many statements a model tests; none where too few records are left to test them."""
    rules = Rules()
    free = CHOICE_QUESTIONS if only_choices(records) else FREE_HYPOTHESES
    of_space = len(shortlist(space, records).dimensions) if len(records) >= rules.min_records else 0
    return of_space + (free if len(records) - len(makers(records, rules)) >= rules.min_records else 0)


def _words(record: Record) -> int:
    return _cut(own_text(record))


def _beside(record: Record) -> int:
    """Words of a choice with its prompt and both of its texts."""
    return _cut(prompt_of(record)) + _words(record) + _cut(other_text(record) or "")


def _cut(text: str) -> int:
    return min(EXCERPT_WORDS, len(text.split()))
