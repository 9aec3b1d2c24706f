"""Whose text this is, by two classifiers of different families: the writing metric (after HyPerAlign, section 4.1).

``style`` reads function words and punctuation alone, every other word masked by its shape: it cannot see the
topic, and is the primary one. ``characters`` reads all character n-grams, and takes a topic for a manner.
Both are logistic regressions over TF-IDF weighted n-grams (Stamatatos 2009 has the features). A text that a
profile was made from must not be among those it is trained on, or copying would pay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hyperalign.errors import InputError
from hyperalign.style.lexicon import function_words

__all__ = ["FAMILIES", "UNSEEN", "Authorship", "Family", "masked"]

Family = Literal["style", "characters"]
FAMILIES: tuple[Family, ...] = ("style", "characters")
UNSEEN = frozenset({"word_letters", "long_words"})
"""Measured features that ``style`` knows nothing of, as it sees no letter of what a text is about: what may choose
among drafts that it will judge."""

_TOKEN = re.compile(r"\n{2,}|\w+(?:['’]\w+)*|[^\w\s]")
_LEAST_TEXTS = 2


class Authorship:
    """Log-probability of a text's author among some.

    Args:
        texts: of each author, at least two texts; of at least two authors.
        family: what is read.
        words: texts are cut to so many words, since answers have no more.

    Raises:
        InputError: there are too few texts or authors.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]], family: Family = "style", *, words: int = 200) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        authors = {author: theirs for author, theirs in texts.items() if len(theirs) >= _LEAST_TEXTS}
        if len(authors) < 2:
            raise InputError(
                "Telling authors apart needs two texts of each of at least two authors, beside those that profiles "
                "are made from.",
                remedy="Give more records, or more people.",
            )
        self._words = words
        self._family = family
        options: dict[str, Any] = (
            {"analyzer": "word", "token_pattern": r"\S+", "lowercase": False, "ngram_range": (1, 3)}
            if family == "style"
            else {"analyzer": "char_wb", "ngram_range": (2, 4)}
        )
        rarest = 2 if sum(map(len, authors.values())) > 50 else 1
        self._model = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, max_features=30_000, min_df=rarest, **options),
            LogisticRegression(C=30.0, max_iter=300),
        )
        pairs = [(self._seen(text), author) for author, theirs in authors.items() for text in theirs]
        self._model.fit([text for text, _ in pairs], [author for _, author in pairs])
        self.authors: tuple[str, ...] = tuple(str(author) for author in self._model.classes_)

    def logprob(self, text: str, author: str) -> float:
        """How sure the classifier is that an author wrote a text.

        Args:
            text: any text; an empty one says nothing, and gets what the classifier says of nothing.
            author: one of ``authors``.

        Returns:
            Natural log of the probability.

        Raises:
            InputError: the author is none of those it knows.
        """
        if author not in self.authors:
            raise InputError(
                f"The classifier has no texts of '{author}'.",
                remedy="Each person needs two texts beside those that their profile is made from.",
            )
        return float(self._model.predict_log_proba([self._seen(text)])[0][self.authors.index(author)])

    def author(self, text: str) -> str:
        """The likeliest author of a text."""
        return str(self._model.predict([self._seen(text)])[0])

    def _seen(self, text: str) -> str:
        text = cut(text, self._words)
        return masked(text) if self._family == "style" else text


def cut(text: str, words: int) -> str:
    """The beginning of a text, its line breaks kept."""
    end = 0
    for number, match in enumerate(re.finditer(r"\S+", text)):
        if number == words:
            return text[:end]
        end = match.end()
    return text


def masked(text: str) -> str:
    """A text without its topic: function words and punctuation stay, numbers are ``9``, names ``C``, the rest ``w``."""
    known = function_words()
    return " ".join(_shape(token, known) for token in _TOKEN.findall(text))


def _shape(token: str, known: frozenset[str]) -> str:
    word = token.lower().replace("’", "'")
    if token.isspace():
        return "¶"
    if word in known or not any(letter.isalnum() for letter in token):
        return word
    if any(letter.isdigit() for letter in token):
        return "9"
    return "C" if token[0].isupper() else "w"
