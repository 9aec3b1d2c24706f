"""Estimates what a fit will cost, from counts of words at 1.4 tokens each; too low for languages other than English."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hyperalign.budget import Usage
from hyperalign.records import Record, are_choices, other_text, own_text, prompt_of, sort_by_time, split_by_kind
from hyperalign.space import Space, load_space

from .candidates import (
    MAX_TESTED,
    SHOWN_RECORDS,
    STATEMENT_RECORDS,
    TESTED_RECORDS,
    count_half,
    proposal_split,
    records_to_read,
    shortlist,
)
from .hypothesis_tests.choice import STATEMENTS_PER_CALL
from .hypothesis_tests.likelihood import find_readable
from .reward import load_population
from .selection import Rules

__all__ = ["describe_sample", "estimate_cost"]

TOKENS_PER_WORD = 1.4
INSTRUCTION_TOKENS = 450
PROPOSAL_TOKENS = 80
PHRASE_TOKENS = 6
QUESTION_TOKENS = 60
QUESTIONS_ASKED = 3
FREE_HYPOTHESES = QUESTIONS_ASKED
CHOICE_QUESTIONS = 1
CHOICE_INSTRUCTION_TOKENS = 350
EXCERPT_WORDS = 60
CHECKED_STATEMENTS = 8
CHECK_TOKENS = 130
QUOTE_TOKENS = 40
CHOICE_WORDS = 120
LINE_TOKENS = 4
SCREENED_ROWS = 3
GO_ON = 0.5
"""The share of statements about texts that a test by choice keeps after the first records."""


def estimate_cost(
    records: Sequence[Record],
    others: Sequence[Record],
    *,
    by_choice: bool = False,
    space: Space | None = None,
    statements_per_call: int = STATEMENTS_PER_CALL,
    has_encoder: bool = False,
) -> dict[str, Usage]:
    """Estimate the usage of each step.

    Args:
        records: the person's.
        others: other people's, to test against.
        by_choice: whether statements are tested by choice, for want of log-probabilities of text.
        space: the dimensions that are tried; the shipped ones if None.
        statements_per_call: how many statements a test by choice puts in one call.
        has_encoder: whether an encoder reads texts; the dimensions that it reads take no model.
    """
    space = space or load_space()
    readable = find_readable(load_population(), space) if has_encoder else {}
    shipped = {(each.name, each.high, each.low) for each in load_space().dimensions} if readable else set()
    left = [each for each in space.dimensions if (each.name, each.high, each.low) not in shipped]
    space = space.model_copy(update={"dimensions": left})
    steps: dict[str, Usage] = {}
    kinds = split_by_kind(records)
    for whole in kinds:
        part = sort_by_time(whole)[-STATEMENT_RECORDS:]
        like = [record for record in others if are_choices([record]) == are_choices(part)]
        share = 1 if len(kinds) == 1 else 2
        like = like[: max(Rules().min_records, len(like) // share)]
        read = _read(part, share)
        counts = _statements(part, space)
        like = like[: Rules().min_records] if has_encoder else like
        if not counts[0]:
            # What the model proposed is not tested on the records that it saw.
            shown = {record.id for record in _shown(part)}
            read = [record for record in read if record.id not in shown]
        if by_choice:
            score = _by_choice(read, like, counts, _shown(part), statements_per_call)
        else:
            score = _by_likelihood(read, like, sum(counts))
        for step, usage in (("infer", _infer(part, like)), ("score", score), ("evidence", _evidence(score, by_choice))):
            steps[step] = steps.get(step, Usage()) + usage
    return steps


def describe_sample(records: Sequence[Record]) -> str:
    """Say which of a person's records statements rest on, and how many of them a model sees."""
    kinds, said = split_by_kind(records), []
    for part in kinds:
        some = sort_by_time(part)[-STATEMENT_RECORDS:]
        what = f"{len(part):,} {'choice(s)' if are_choices(part) else 'text(s)'}"
        if len(some) < len(part):
            what = f"{len(some):,} of {what}, the newest where times are known"
        shown, read = len(_shown(some)), len(_read(some, len(kinds)))
        said.append(f"Statements rest on {what}: a model is shown {shown} to propose some, and tests on {read}.")
    return " ".join(said)


def _read(records: Sequence[Record], kinds: int) -> list[Record]:
    """The records of one kind of several that a model reads to test statements."""
    count = count_half(TESTED_RECORDS, records, Rules()) if kinds > 1 else TESTED_RECORDS
    return records_to_read(records, proposal_split(records, Rules()), count)


def _infer(records: Sequence[Record], others: Sequence[Record]) -> Usage:
    made_from = _shown(records)
    if not made_from:
        return Usage()
    if are_choices(records):
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
    """At most: as many checks as statements may be kept."""
    if not score.calls:
        return Usage()
    if by_choice:
        tokens = CHECK_TOKENS + CHECKED_STATEMENTS * QUOTE_TOKENS
        return Usage(calls=2, tokens_in=2 * tokens, tokens_out=2 * CHECKED_STATEMENTS * LINE_TOKENS)
    calls = 2 * CHECKED_STATEMENTS
    return Usage(calls=calls, tokens_in=calls * CHECK_TOKENS)


def _by_choice(
    records: Sequence[Record],
    others: Sequence[Record],
    counts: tuple[int, int],
    shown: Sequence[Record],
    size: int,
) -> Usage:
    """Each call shows a record beside another text of about its length, in both orders."""
    of_space, free = counts
    made_from = {record.id for record in shown}
    own = [of_space + (0 if record.id in made_from else free) for record in records]
    mine, theirs = sorted(own, reverse=True), [of_space + free] * len(others)
    # Choices are all read; of texts, futile statements are stopped after the first few.
    stops = not are_choices(records) and len(mine) + len(theirs) > 2 * SCREENED_ROWS
    asked = [
        math.ceil(count * GO_ON) if stops and at >= SCREENED_ROWS else count
        for rows in (mine, theirs)
        for at, count in enumerate(rows)
    ]
    calls = 2 * sum(math.ceil(count / size) for count in asked)
    every = [*records, *others]
    each = sum(
        _cut(own_text(one), CHOICE_WORDS) + _cut(other_text(one) or own_text(one), CHOICE_WORDS) for one in every
    ) / len(every)
    tokens = calls * (QUESTION_TOKENS + round(each * TOKENS_PER_WORD)) + 2 * sum(asked) * PHRASE_TOKENS
    return Usage(calls=calls, tokens_in=tokens, tokens_out=2 * sum(asked) * LINE_TOKENS)


def _by_likelihood(records: Sequence[Record], others: Sequence[Record], statements: int) -> Usage:
    if not statements:
        return Usage()
    every = [*records, *others]
    # Two answers are read in both orders.
    calls = sum(1 if other_text(record) is None else 2 for record in every)
    read = round(
        sum(_words(each) if other_text(each) is None else 2 * _beside(each) for each in every) * TOKENS_PER_WORD
    )
    return Usage(calls=calls, tokens_in=read + calls * (QUESTION_TOKENS + 2 * statements * PHRASE_TOKENS))


def _statements(records: Sequence[Record], space: Space) -> tuple[int, int]:
    """How many statements of the space and of the model are tested; none with too few records."""
    rules = Rules()
    free = CHOICE_QUESTIONS if are_choices(records) else FREE_HYPOTHESES
    made_from = _shown(records)
    can_test = bool(made_from) and len(records) - len(made_from) >= rules.min_records
    limit = MAX_TESTED - (free if made_from else 0)
    of_space = len(shortlist(space, records, limit).dimensions) if len(records) >= rules.min_records else 0
    return of_space, free if can_test else 0


def _shown(records: Sequence[Record]) -> list[Record]:
    """The records that the model sees when it proposes hypotheses."""
    return proposal_split(records, Rules())[-SHOWN_RECORDS:]


def _words(record: Record) -> int:
    return _cut(own_text(record))


def _beside(record: Record) -> int:
    """Words of a choice with its prompt and both of its texts."""
    return _cut(prompt_of(record)) + _words(record) + _cut(other_text(record) or "")


def _cut(text: str, words: int = EXCERPT_WORDS) -> int:
    return min(words, len(text.split()))
