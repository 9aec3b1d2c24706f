"""Whose rewrite an answer is nearer to: the person's own, or another person's of the same draft.

Both rewrites say the same, so what an answer says does not decide it. Three measures are compared, as each sees
something else: measured style, character n-grams (Stamatatos, 2009), and the word-level edit distance (Levenshtein,
1966).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from hyperalign.programs.binary_choice import KeepsContent
from hyperalign.records import other_text, own_text
from hyperalign.style import distance, measure

from ..cases import Case
from .authorship import TopicSimilarity
from .choice import win

__all__ = ["NEARNESS", "Nearness", "word_edit_distance"]

NEARNESS: Mapping[str, str] = MappingProxyType(
    {"style": "nearer_style", "characters": "nearer_characters", "words": "nearer_words"}
)
"""By measure, the metric that says whether an answer is nearer to the person's own rewrite."""


class Nearness:
    """Compares an answer with two rewrites of its draft.

    Args:
        cases: with ``draft``, ``reference`` and ``rejected``. N-grams and words are weighed by the texts of their
            records, and not by any answer.
        keeps: says whether a rewrite keeps what its draft says; not measured if None.
    """

    def __init__(self, cases: Sequence[Case], keeps: KeepsContent | None = None) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        records = {record.id: record for case in cases for record in case.records}.values()
        texts = [text for record in records for text in (own_text(record), other_text(record)) if text]
        texts += [case.draft for case in cases]
        self._ngrams = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        self._ngrams.fit(texts)
        self.topic = TopicSimilarity(texts)
        self._keeps = keeps

    def measure(self, answer: str, case: Case) -> dict[str, float]:
        """By metric: 1.0 where an answer is nearer to the person's own rewrite, 0.0 to the other's, 0.5 for a tie.

        ``keeps_content`` is a probability.

        Args:
            answer: to the case.
            case: a rewriting case.
        """
        both = (case.reference, case.rejected)
        own, other = (distance(measure(answer), measure(text)) for text in both)
        alike, unlike = self._cosines(answer, both)
        kept, changed = (word_edit_distance(answer, text) for text in both)
        content = {} if self._keeps is None else {"keeps_content": float(self._keeps(draft=case.draft, rewrite=answer))}
        return content | {
            NEARNESS["style"]: win(-own, -other),
            NEARNESS["characters"]: win(alike, unlike),
            NEARNESS["words"]: win(-kept, -changed),
        }

    def _cosines(self, answer: str, texts: Sequence[str]) -> list[float]:
        vectors = self._ngrams.transform([answer, *texts])
        return [float(value) for value in (vectors[1:] @ vectors[0].T).toarray()[:, 0]]


def word_edit_distance(first: str, second: str) -> float:
    """The words to insert, delete or replace to make one text of another, over the longer one's words.

    Returns:
        From 0.0 (the same words) to 1.0; 0.0 for two empty texts.
    """
    left, right = first.split(), second.split()
    row = list(range(len(right) + 1))
    for number, word in enumerate(left, 1):
        before, row = row, [number]
        for place, other in enumerate(right, 1):
            row.append(min(before[place] + 1, row[place - 1] + 1, before[place - 1] + (word != other)))
    return row[-1] / max(1, len(left), len(right))
