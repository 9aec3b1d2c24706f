"""Metrics of written answers: judges of authorship (classifiers as in HyPerAlign, section 4.1, Burrows' Delta, language
models), distance from a measured style, and similarity of topic.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import InputError
from hyperalign.profile import Profile
from hyperalign.programs.text_reward import mask_topic
from hyperalign.records import Record, Sample
from hyperalign.style import STANDS_APART, distance, measure

from ..cases import Case, Task, WritingTask, case_id
from ..conditions import FEW_SHOT, NONE, WRONG_USER
from .language_model import AuthorLanguageModels

__all__ = [
    "CONTENT",
    "FAMILIES",
    "JUDGES",
    "RIVALS",
    "Authorship",
    "AuthorshipMetrics",
    "BurrowsDelta",
    "Family",
    "TopicSimilarity",
    "authorship_metrics_for",
    "cut",
    "is_judged",
    "nearness",
    "style_distance",
    "win_rate",
    "without_prompt",
]

_WORD = re.compile(r"(?P<word>\w+(?:['’]\w+)*)[^\w\s]*")


class BurrowsDelta:
    """Burrows' Delta (2002): the distance of a text from an author in the use of the most frequent words.

    It needs no training beyond counts, so it checks the classifiers. It is noisy on texts of 200 words: read means over
    many cases.

    Args:
        texts: of each author.
        words: how many of the most frequent words are used.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]], *, words: int = 150) -> None:
        counted = Counter(word for theirs in texts.values() for text in theirs for word in _words(text))
        self._vocabulary = [word for word, _ in counted.most_common(words)]
        every = np.array([self._rates(text) for theirs in texts.values() for text in theirs])
        self._mean = every.mean(axis=0)
        # A word of constant frequency does not tell authors apart.
        self._spread = np.where(every.std(axis=0) > 0, every.std(axis=0), np.inf)
        self._authors = {
            author: self._scaled(np.mean([self._rates(text) for text in theirs], axis=0))
            for author, theirs in texts.items()
            if theirs
        }

    def distance(self, text: str, author: str) -> float:
        """Mean absolute difference of z-scores from the author's mean."""
        return float(np.abs(self._scaled(self._rates(text)) - self._authors[author]).mean())

    def author(self, text: str) -> str:
        """The nearest author."""
        return min(self._authors, key=lambda author: self.distance(text, author))

    def _rates(self, text: str) -> NDArray[np.float64]:
        words = _words(text)
        counts = Counter(words)
        return np.array([counts[word] for word in self._vocabulary], dtype=np.float64) / max(1, len(words))

    def _scaled(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((rates - self._mean) / self._spread, dtype=np.float64)


def _words(text: str) -> list[str]:
    return [word for word, _ in _matched_words(text)]


def _matched_words(text: str) -> list[tuple[str, re.Match[str]]]:
    """Words in lower case, each with its match, which includes the punctuation after it."""
    return [(match["word"].lower().replace("’", "'"), match) for match in _WORD.finditer(text)]


Family = Literal["style", "characters"]
FAMILIES: tuple[Family, ...] = ("style", "characters")

_LEAST_TEXTS = 2


class Authorship:
    """A classifier of authors: logistic regression over TF-IDF weighted n-grams (features after Stamatatos 2009).

    The family ``style`` reads function words and punctuation, with every other word masked by its shape, so topics do
    not help it; it is the primary one. ``characters`` reads character n-grams and confuses topic with style. Keep texts
    that a profile was fitted on out of the training texts, or copying them pays.

    Args:
        texts: at least two of each of at least two authors.
        family: of features.
        words: texts are cut to this many words.

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
                "Authorship metrics need two texts of each of at least two authors, not counting those that profiles "
                "are fitted on.",
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
        """The natural log of the probability that an author wrote a text.

        Raises:
            InputError: the classifier does not know the author.
        """
        if author not in self.authors:
            raise InputError(
                f"The classifier has no texts of '{author}'.",
                remedy="Each person needs two texts that their profile is not fitted on.",
            )
        return float(self._model.predict_log_proba([self._seen(text)])[0][self.authors.index(author)])

    def author(self, text: str) -> str:
        """The most likely author of a text."""
        return str(self._model.predict([self._seen(text)])[0])

    def _seen(self, text: str) -> str:
        text = cut(text, self._words)
        return mask_topic(text) if self._family == "style" else text


def cut(text: str, words: int) -> str:
    """The first words of a text, with its line breaks."""
    end = 0
    for number, match in enumerate(re.finditer(r"\S+", text)):
        if number == words:
            return text[:end]
        end = match.end()
    return text


class TopicSimilarity:
    """How far two texts share their content words: the cosine of their TF-IDF vectors (Salton and Buckley 1988).

    It needs no model. Synonyms are not seen, so compare conditions on the same cases and not with 1.

    Args:
        texts: in which words are counted. A word that most texts hold weighs next to nothing, one that none holds most.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        seen = [set(_words(text)) for text in texts]
        self._n_texts = len(seen)
        self._holding = Counter(word for words in seen for word in words)

    def __call__(self, first: str, second: str) -> float:
        """From 0.0, where no word that tells topics apart is shared, to 1.0."""
        one, other = self._weights(first), self._weights(second)
        size = math.hypot(*one.values()) * math.hypot(*other.values())
        return math.fsum(weight * other.get(word, 0.0) for word, weight in one.items()) / size if size else 0.0

    def _weights(self, text: str) -> dict[str, float]:
        return {
            word: (1.0 + math.log(count)) * math.log((1 + self._n_texts) / (1 + self._holding[word]))
            for word, count in Counter(_words(text)).items()
        }


_WORDS = 200
_ECHOED_WORDS = 4  # shorter runs in common with the prompt are chance
_ENOUGH_TEXTS = 4
_ENOUGH_AUTHORS = 5
JUDGES: Mapping[str, str] = {
    "style": "author_logprob",
    "characters": "author_logprob_characters",
    "language_model": "author_bits_saved",
    "delta": "burrows_delta",
}
"""The metric of each judge of authorship; of all but ``burrows_delta``, more is nearer to the author."""
RIVALS = (NONE, FEW_SHOT, WRONG_USER)
"""Conditions that each answer is compared with, judge by judge."""
CONTENT = (
    "on_topic",
    "keeps_content",
    "refused",
    "repeated_4grams",
    "copied_over_limit",
    "copied_words",
    "words",
    "length_ratio",
)
"""Metrics of what an answer says."""


def nearness(metric: str, value: float) -> float:
    """A judge's metric as a value of which more is nearer to the author."""
    return -value if metric == JUDGES["delta"] else value


def win_rate(judge: str, rival: str) -> str:
    """The metric that says how often a judge finds an answer nearer to the author than the rival's."""
    against = f"vs_{rival.replace('-', '_')}"
    return f"win_rate_{against}" if judge == "style" else f"win_rate_{judge}_{against}"


def is_judged(metric: str) -> bool:
    """Whether a metric is what a judge of authorship says, and so depends on the texts that it learned from."""
    rates = {win_rate(judge, rival) for judge in JUDGES for rival in RIVALS}
    # Topics are weighed by the words of the same texts.
    return metric in {*JUDGES.values(), *rates, "over_its_drafts", "on_topic"}


@dataclass(frozen=True)
class AuthorshipMetrics:
    """Judges of authorship and of topic, trained on one set of authors.

    Attributes:
        authorship: classifiers by family.
        delta: Burrows' Delta.
        language_models: of characters, one an author.
        topic: similarity of topic.
        shared: authors with so few texts that the judges learn from those that profiles are made from, too; copies of
            them count as likeness.
        digest: of the texts that the judges learned from; scores of other judges are not comparable.
    """

    authorship: Mapping[Family, Authorship]
    delta: BurrowsDelta
    language_models: AuthorLanguageModels
    topic: TopicSimilarity
    shared: tuple[str, ...] = ()
    digest: str = ""

    @classmethod
    def train(cls, texts: Mapping[str, Sequence[str]], shared: Sequence[str] = ()) -> AuthorshipMetrics:
        """Metrics trained on texts by author.

        Args:
            texts: by author.
            shared: those whose profiles are made from the same texts.

        Raises:
            InputError: there are too few.
        """
        return cls(
            {family: Authorship(texts, family, words=_WORDS) for family in FAMILIES},
            BurrowsDelta(texts),
            AuthorLanguageModels(texts),
            TopicSimilarity(text for theirs in texts.values() for text in theirs),
            tuple(shared),
            case_id(json.dumps(texts, sort_keys=True)),
        )

    def measure(self, text: str, author: str) -> dict[str, float]:
        """What the judges say of the first words of a text; longer texts would be closer to every author."""
        text = cut(text, _WORDS)
        return {
            "author_logprob": self.authorship["style"].logprob(text, author),
            "author_logprob_characters": self.authorship["characters"].logprob(text, author),
            "author_bits_saved": self.language_models.bits_saved(text, author),
            "burrows_delta": self.delta.distance(text, author),
        }

    def accuracy(self, cases: Sequence[Case]) -> dict[str, float]:
        """How often each judge names the author of the references of cases."""
        judges: list[tuple[str, Authorship | AuthorLanguageModels | BurrowsDelta]] = [
            *self.authorship.items(),
            ("language_model", self.language_models),
            ("delta", self.delta),
        ]
        texts = [(case.user, cut(without_prompt(case.reference, case.prompt), _WORDS)) for case in cases]
        return {
            name: sum(each.author(text) == user for user, text in texts) / max(1, len(texts)) for name, each in judges
        }


def authorship_metrics_for(task: Task, cases: Sequence[Case], shown: Sequence[Record] = ()) -> AuthorshipMetrics | None:
    """Metrics trained for a task; None for tasks that are not writing.

    Args:
        task: whose authors are told apart.
        cases: of the run.
        shown: records of other people that writing saw, besides those of the cases; no judge is trained on them.

    Raises:
        InputError: the task has no texts to train on, or too few.
    """
    if task.kind != "writing":
        return None
    if not isinstance(task, WritingTask):
        raise InputError(
            f"The writing task '{task.name}' has no texts to train authorship metrics on.",
            remedy="Add a method texts() that returns texts by user.",
        )
    texts = task.texts()
    asked = {case.user for case in cases}
    # Writing is steered away from these authors: they are no rivals for judges.
    rivals = {record.user for record in shown} - asked
    if len(texts.keys() - rivals) >= _ENOUGH_AUTHORS:
        texts = {author: theirs for author, theirs in texts.items() if author not in rivals}
    seen = chain(shown, *(case.records for case in cases))
    known = {record.text for record in seen if isinstance(record, Sample)}
    unshown = {author: [text for text in theirs if text not in known] for author, theirs in texts.items()}
    few = [author for author, rest in unshown.items() if len(rest) < _ENOUGH_TEXTS]
    # With all texts copying pays, which ``copied_words`` shows.
    found = {author: list(texts[author]) if author in few else rest for author, rest in unshown.items()}
    return AuthorshipMetrics.train(found, [author for author in few if author in asked])


def without_prompt(answer: str, prompt: str) -> str:
    """An answer without runs of words from the prompt, wherever they are, also where a word between them differs."""
    given = [word for word, _ in _matched_words(prompt)]
    asked = {tuple(given[start : start + _ECHOED_WORDS]) for start in range(len(given) - _ECHOED_WORDS + 1)}
    words = _matched_words(answer)
    echoed: set[int] = set()
    for start in range(len(words) - _ECHOED_WORDS + 1):
        run = range(start, start + _ECHOED_WORDS)
        if tuple(words[i][0] for i in run) in asked:
            echoed |= set(run)
    kept, end = "", 0
    for number, (_, word) in enumerate(words):
        if number in echoed:
            kept += "" if number - 1 in echoed else answer[end : word.start()]
            end = word.end()
    return (kept + answer[end:]).strip() if echoed else answer


def style_distance(answer: str, profile: Profile) -> float:
    """Mean distance of an answer from a profile's measured style, over the features in which the person stands apart.

    Content is not measured: nonsense in the right form scores well.

    Returns:
        In within-person standard deviations, each feature clipped at 3; 0.0 for a profile without measured style.
    """
    person: dict[str, float | None] = {
        name: item.value for name, item in profile.style.items() if abs(item.z) >= STANDS_APART
    }
    return distance(measure(answer), person, names=list(person))
