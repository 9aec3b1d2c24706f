"""Burrows' Delta (2002): how far a text lies from an author in the use of the most frequent words.

Needs no training beyond counts, so it is a check on the classifiers. Texts of 200 words are short for it:
read its means over many cases, never a single value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["BurrowsDelta"]

_WORD = re.compile(r"\w+(?:['’]\w+)*")


class BurrowsDelta:
    """Distance of texts from authors.

    Args:
        texts: of each author.
        words: how many of the most frequent words are counted.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]], *, words: int = 150) -> None:
        counted = Counter(word for theirs in texts.values() for text in theirs for word in _words(text))
        self._vocabulary = [word for word, _ in counted.most_common(words)]
        every = np.array([self._rates(text) for theirs in texts.values() for text in theirs])
        self._mean = every.mean(axis=0)
        # A word that never varies tells nobody apart.
        self._spread = np.where(every.std(axis=0) > 0, every.std(axis=0), np.inf)
        self._authors = {
            author: self._scaled(np.mean([self._rates(text) for text in theirs], axis=0))
            for author, theirs in texts.items()
            if theirs
        }

    def distance(self, text: str, author: str) -> float:
        """Mean absolute difference of z-scores; 0 is the author's own mean."""
        return float(np.abs(self._scaled(self._rates(text)) - self._authors[author]).mean())

    def _rates(self, text: str) -> NDArray[np.float64]:
        words = _words(text)
        counts = Counter(words)
        return np.array([counts[word] for word in self._vocabulary], dtype=np.float64) / max(1, len(words))

    def _scaled(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((rates - self._mean) / self._spread, dtype=np.float64)


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]
