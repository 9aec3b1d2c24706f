"""A character language model of each author: whose habits of writing predict a text best.

Peng, Schuurmans, Keselj and Wang (2003) name authors by such models, and Teahan and Harper (2003) by PPM compression,
whose escape method C is the smoothing used here (Witten and Bell 1991; section 2.4 in Chen and Goodman 1998).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import InputError

__all__ = ["AuthorLanguageModels"]

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
_EDGE, _UNKNOWN = 0, 1
_FIRST_LETTER = 2
_ABSENT = -1


class AuthorLanguageModels:
    """One character n-gram model an author, with interpolated Witten-Bell smoothing.

    All models share one alphabet, so their entropies compare. Line breaks and runs of spaces count as one space: layout
    is read by the other metrics. Letters carry the topic as well as the manner. An author with more text than others is
    predicted better whatever the text: differences between two texts are fair, and names are so for like amounts.

    Args:
        texts: of at least two authors; authors without a text are left out.
        order: the longest n-gram, in characters.

    Raises:
        InputError: there are too few authors.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]], *, order: int = 5) -> None:
        spaced = {author: [" ".join(text.split()) for text in theirs] for author, theirs in texts.items()}
        known = {author: theirs for author, theirs in sorted(spaced.items()) if any(theirs)}
        if len(known) < 2:
            raise InputError(
                "Language models of authors need texts of at least two authors.", remedy="Give texts of more people."
            )
        self.authors: tuple[str, ...] = tuple(known)
        self._edges = order - 1
        letters = sorted({letter for theirs in known.values() for text in theirs for letter in text})
        self._alphabet = {letter: code for code, letter in enumerate(letters, _FIRST_LETTER)}
        self._size = len(letters) + _FIRST_LETTER
        self._tables = self._train(list(known.values()))

    def entropies(self, text: str) -> dict[str, float]:
        """Cross-entropy of a text by author, in bits per character; empty for a text without a character."""
        codes = self._codes(" ".join(text.split()))
        if len(codes) == self._edges:
            return {}
        chances: _Floats = np.full((len(codes), len(self.authors)), 1.0 / (self._size - 1))
        contexts = np.zeros(len(codes), dtype=np.int64)
        for table in self._tables:
            grams = table.find(contexts * self._size + codes, contexts)
            chances = table.interpolate(chances, grams, contexts)
            # The n-gram that ends at one character is the context of the next.
            contexts = np.roll(grams, 1)
        bits = -np.log2(chances[self._edges :]).mean(axis=0)
        return dict(zip(self.authors, map(float, bits), strict=True))

    def bits_saved(self, text: str, author: str) -> float:
        """By how many bits per character the author's own model predicts a text better than other authors' on average.

        Unlike a posterior probability it does not saturate, and what is easy for every model gains nothing.

        Returns:
            Positive where a text is more like the author's than like the others'; 0.0 for one without a character.

        Raises:
            InputError: there is no model of this author.
        """
        if author not in self.authors:
            raise InputError(
                f"The language models have no texts of '{author}'.",
                remedy="Each person needs texts that their profile is not fitted on.",
            )
        bits = self.entropies(text)
        if not bits:
            return 0.0
        own = bits.pop(author)
        return math.fsum(bits.values()) / len(bits) - own

    def author(self, text: str) -> str:
        """The author whose model needs the fewest bits."""
        bits = self.entropies(text)
        return min(bits, key=lambda name: bits[name]) if bits else self.authors[0]

    def _codes(self, text: str) -> _Ints:
        """Numbers of a text's characters, after those of its edge."""
        return np.array(
            [_EDGE] * self._edges + [self._alphabet.get(letter, _UNKNOWN) for letter in text], dtype=np.int64
        )

    def _train(self, texts: Sequence[Sequence[str]]) -> list[_Table]:
        """Counts of n-grams, shortest first."""
        parts = [(self._codes(text), place) for place, theirs in enumerate(texts) for text in theirs]
        codes = np.concatenate([each for each, _ in parts])
        # Nobody writes the edge, so it is context and never counted.
        written = np.concatenate([np.arange(len(each)) >= self._edges for each, _ in parts])
        authors = np.concatenate([np.full(len(each) - self._edges, place) for each, place in parts])
        tables = []
        contexts = np.zeros(len(codes), dtype=np.int64)
        for _ in range(self._edges + 1):
            keys, grams = np.unique(contexts * self._size + codes, return_inverse=True)
            tables.append(_Table.count(keys, grams[written], contexts[written], authors, len(texts)))
            contexts = np.roll(grams, 1)
        return tables


@dataclass(frozen=True)
class _Table:
    """Counts of the n-grams of one length, by author.

    Attributes:
        keys: sorted; an n-gram's context times the alphabet's size, plus its last character. The place of a key is the
            n-gram's number, which stands for it as a context of longer ones.
        grams: sparse, of shape (n-grams + 1, authors): how often each was written; the last row is of unseen ones.
        contexts: sparse, of shape (contexts + 1, authors): how often each was followed by a character.
        kinds: like ``contexts``: by how many different characters.
    """

    keys: _Ints
    grams: Any
    contexts: Any
    kinds: Any

    @classmethod
    def count(cls, keys: _Ints, grams: _Ints, contexts: _Ints, authors: _Ints, n_authors: int) -> _Table:
        from scipy import sparse

        csr_array: Any = sparse.csr_array

        def tally(rows: _Ints, columns: _Ints, values: _Ints, n_rows: int) -> Any:
            return csr_array((values, (rows, columns)), shape=(n_rows + 1, n_authors), dtype=np.int64)

        n_contexts = int(contexts.max(initial=0)) + 1
        written = tally(grams, authors, np.ones_like(grams), len(keys))
        written.sum_duplicates()
        seen = written.tocoo()
        context_of = np.zeros(len(keys), dtype=np.int64)
        context_of[grams] = contexts
        rows, columns = context_of[seen.row], seen.col
        return cls(
            keys,
            written,
            tally(rows, columns, seen.data, n_contexts),
            tally(rows, columns, np.ones_like(seen.data), n_contexts),
        )

    def find(self, keys: _Ints, contexts: _Ints) -> _Ints:
        """The numbers of n-grams; ``_ABSENT`` of those that nobody wrote."""
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where((contexts != _ABSENT) & (self.keys[places] == keys), places, _ABSENT)

    def interpolate(self, shorter: _Floats, grams: _Ints, contexts: _Ints) -> _Floats:
        """Probabilities by n-grams of this length, from those by shorter ones; both of shape (characters, authors)."""
        known = np.where(contexts < self.contexts.shape[0] - 1, contexts, _ABSENT)
        seen, total, kinds = (
            table[rows].toarray() for table, rows in ((self.grams, grams), (self.contexts, known), (self.kinds, known))
        )
        return np.where(total > 0, (seen + kinds * shorter) / np.maximum(1, total + kinds), shorter)
