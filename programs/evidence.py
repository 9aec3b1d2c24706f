"""Finds the sentence that speaks most for a tested statement, and quotes it word for word.

Used for statements that came without a quote (those of the space). The quote is a substring
of its record by construction. This file knows no runtime.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hyperalign.profile import Evidence, Hypothesis
from hyperalign.records import Record, own_text
from hyperalign.scores import Message, ScoreMatrix, Scorer

from .excerpts import excerpt, sentences

__all__ = ["find_evidence", "quotable_sentences", "quoted_from", "speaks_for"]

READ_WORDS = 80
MAX_SENTENCES = 3
MIN_SENTENCE_WORDS = 4
_MARKUP = re.compile(r"^#|\||^`|--\w")


def find_evidence(
    hypothesis: Hypothesis,
    records: Sequence[Record],
    matrix: ScoreMatrix,
    scorer: Scorer | None,
    *,
    turned: bool = False,
) -> Hypothesis:
    """Give a hypothesis the quote it lacks.

    Args:
        hypothesis: a kept statement.
        records: the person's records.
        matrix: where it was tested: the record with the highest cell is quoted.
        scorer: picks the sentence; without one it is the record's longest.
        turned: the statement says the opposite of what was tested, so the record with the lowest cell is quoted.

    Returns:
        The hypothesis, with a quote if it had none and a record to quote is left.
    """
    if hypothesis.evidence or hypothesis.test is None or hypothesis.id not in matrix.columns:
        return hypothesis
    # What holds on one subject alone is quoted from the records on that.
    on_subject = [record for record in records if not hypothesis.scope or record.id in hypothesis.test.records]
    by_id = {record.id: record for record in on_subject}
    # Somebody else's record may have the same id.
    users = {record.user for record in records}
    ids, cells = matrix.of(hypothesis.id, lambda row: row.user in users and row.record in by_id)
    if not ids:
        return hypothesis
    best = by_id[ids[int(cells.argmin() if turned else cells.argmax())]]
    quote = _most_telling(hypothesis, best, scorer)
    return hypothesis.model_copy(update={"evidence": [Evidence(quote=quote, record=best.id)]}) if quote else hypothesis


def quoted_from(
    hypothesis: Hypothesis,
    records: Sequence[Record],
    matrices: Sequence[ScoreMatrix],
    scorer: Scorer | None,
    *,
    turned: bool = False,
) -> Hypothesis:
    """``find_evidence`` in the matrix where the hypothesis was tested."""
    for matrix in matrices:
        hypothesis = find_evidence(hypothesis, records, matrix, scorer, turned=turned)
    return hypothesis


def quotable_sentences(record: Record) -> list[str]:
    """What somebody might quote of a record: the longest sentences of its beginning, longest first."""
    read = sentences(excerpt(own_text(record), READ_WORDS))
    long_enough = [sentence for sentence in read if len(sentence.split()) >= MIN_SENTENCE_WORDS] or read
    # Rows of tables, headings and commands are not what somebody would quote.
    shown = [sentence for sentence in long_enough if not _MARKUP.search(sentence)] or long_enough
    return sorted(shown, key=len, reverse=True)[:MAX_SENTENCES]


def speaks_for(sentence: str, hypotheses: Sequence[Hypothesis], scorer: Scorer) -> list[float]:
    """How much more a sentence speaks for each statement than for its opposite, in nats."""
    question: list[Message] = [
        {"role": "user", "content": f"“{sentence}”\n\nIn one short phrase, how does this person write?"}
    ]
    scores = scorer.score(question, [pole.rstrip(".") for h in hypotheses for pole in (h.statement, h.opposite)])
    return [scores[2 * i].logprob - scores[2 * i + 1].logprob for i in range(len(hypotheses))]


def _most_telling(hypothesis: Hypothesis, record: Record, scorer: Scorer | None) -> str:
    longest = quotable_sentences(record)
    if scorer is None or not longest:
        return next(iter(longest), "")
    return max(longest, key=lambda sentence: speaks_for(sentence, [hypothesis], scorer)[0])
