"""The reward of texts: how much a text is like one person's own, learned from what they wrote.

It guides what is written (``guided``). The reward of choices (``reward``) says what a person prefers; people who gave
nothing but texts prefer, as far as is known, what reads like them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import InputError
from hyperalign.style.parsed import load_function_words, words_of
from hyperalign.text import sentences

__all__ = ["TextRange", "TextReward", "keep_content", "mask_topic", "passages", "word_cosine"]

_PASSAGE_WORDS = 60
_LEAST_WORDS = 15
_FOLDS = 4
_KEPT_SHARE = 0.85
_TOKEN = re.compile(r"\n{2,}|\w+(?:['’]\w+)*|[^\w\s]")


class TextRange(NamedTuple):
    """Where a person's own texts lie, each scored by a reward that was learned without it.

    Attributes:
        low: of their middle four fifths.
        median: of all.
        high: of their middle four fifths.
    """

    low: float
    median: float
    high: float


class TextReward:
    """How much a text is like a person's and unlike other people's, in nats: logistic regression on n-grams.

    The features are those of authorship attribution (Stamatatos, 2009): sequences of function words and punctuation,
    where every other word is masked, and character n-grams. It is learned from passages of a person's own texts, and of
    other people's.

    Args:
        own: the person's texts.
        others: other people's, of as like a kind as can be had.

    Raises:
        InputError: one of them has no text.
    """

    def __init__(self, own: Sequence[str], others: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_union

        mine, theirs = (_all_passages(texts) for texts in (own, others))
        if not mine or not theirs:
            raise InputError(
                "A reward of texts needs texts of the person and of somebody else.",
                remedy="Give records with texts, and a population that has some.",
            )
        shared: dict[str, Any] = {"sublinear_tf": True, "lowercase": False}
        masked = TfidfVectorizer(
            preprocessor=mask_topic,
            tokenizer=str.split,
            token_pattern=None,
            ngram_range=(1, 3),
            max_features=20_000,
            **shared,
        )
        characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=30_000, **shared)
        self._features = make_union(masked, characters)
        self._model = LogisticRegression(C=10.0, max_iter=300, class_weight="balanced")
        self._model.fit(self._features.fit_transform([*mine, *theirs]), [1] * len(mine) + [0] * len(theirs))
        self._own, self._others = list(own), list(others)
        self._held_out: list[float] = []

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The log-odds that the person wrote each text, shape (texts,); an empty text's are minus infinity.

        A long text is the mean of its passages: it is as sure as one of them.
        """
        return np.array([self._score(text) for text in texts])

    def score_own(self) -> list[float]:
        """Each own text's log-odds by a reward learned without it; of a single text, by the one learned with it."""
        if self._held_out:
            return [*self._held_out]
        if len(self._own) < 2:
            return [float(each) for each in self.score(self._own)]
        found = [0.0] * len(self._own)
        folds = min(_FOLDS, len(self._own))
        for fold in range(folds):
            held = range(fold, len(self._own), folds)
            rest = [text for index, text in enumerate(self._own) if index not in held]
            without = TextReward(rest, self._others)
            for index, value in zip(held, without.score([self._own[index] for index in held]), strict=True):
                found[index] = float(value)
        self._held_out = found
        return [*found]

    def own_range(self) -> TextRange:
        """Where the person's own texts lie."""
        return TextRange(*(float(each) for each in np.quantile(self.score_own(), (0.1, 0.5, 0.9))))

    def _score(self, text: str) -> float:
        parts = passages(text, least=1)
        if not parts:
            return -np.inf
        lengths = [len(part.split()) for part in parts]
        return float(np.average(self._model.decision_function(self._features.transform(parts)), weights=lengths))


def _all_passages(texts: Sequence[str]) -> list[str]:
    # Notes of a few words tell little, but where a person wrote nothing else.
    found = [part for text in texts for part in passages(text)]
    return found or [part for text in texts for part in passages(text, least=1)]


def passages(text: str, *, words: int = _PASSAGE_WORDS, least: int = _LEAST_WORDS) -> list[str]:
    """Whole sentences in turn, each passage of about so many words; a shorter rest joins the one before.

    Args:
        text: any.
        words: of a passage, at least, but for the only one.
        least: a whole text of fewer words has none.
    """
    found: list[list[str]] = []
    for sentence in sentences(text):
        if found and sum(len(each.split()) for each in found[-1]) < words:
            found[-1].append(sentence)
        else:
            found.append([sentence])
    if len(found) > 1 and sum(len(each.split()) for each in found[-1]) < words // 2:
        rest = found.pop()
        found[-1] += rest
    whole = [" ".join(each) for each in found]
    return whole if len(text.split()) >= least else []


def mask_topic(text: str) -> str:
    """Mask all but function words and punctuation: numbers by ``9``, names by ``C``, other words by ``w``."""
    known = load_function_words()
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


def word_cosine(left: str, right: str) -> float:
    """The cosine of two texts' counts of words that are no function words; 0.0 if one has none."""
    known = load_function_words()
    counts = [Counter(word for word in words_of(text.lower()) if word not in known) for text in (left, right)]
    dot = sum(count * counts[1][word] for word, count in counts[0].items())
    norms = [sum(count**2 for count in each.values()) ** 0.5 for each in counts]
    return dot / (norms[0] * norms[1]) if all(norms) else 0.0


def keep_content(
    reward: Callable[[Sequence[str]], NDArray[np.float64]],
    says: Callable[[str], float],
    share: float = _KEPT_SHARE,
) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """The reward of those texts that say nearly as much of something as the one that says most.

    Without it what is like a person's texts in what it says is chosen, too, and not in manner alone.

    Args:
        reward: of texts.
        says: how much a text says of it, at least 0.
        share: of the most that one of them says, the least that is enough.
    """

    def values(texts: Sequence[str]) -> NDArray[np.float64]:
        kept = np.array([says(text) for text in texts])
        return np.asarray(reward(texts) - 1e3 * (kept < share * kept.max()), np.float64)

    return values
