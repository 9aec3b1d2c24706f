"""Authorship metrics of written answers: classifiers (HyPerAlign, section 4.1), Burrows' Delta, style, copying."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import InputError
from hyperalign.profile import Profile
from hyperalign.records import Sample, own_text
from hyperalign.style import STANDS_APART, distance, measure
from hyperalign.style.parsed import load_function_words
from hyperalign.text import longest_copied_run

from ..cases import Case, Task, WritingTask
from ..conditions import FEW_SHOT, NONE, OWN_TEXT, WRONG_USER
from .choice import win

__all__ = [
    "FAMILIES",
    "Authorship",
    "AuthorshipMetrics",
    "BurrowsDelta",
    "Family",
    "authorship_metrics_for",
    "cut",
    "mask_topic",
    "score_answers",
    "style_distance",
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

_TOKEN = re.compile(r"\n{2,}|\w+(?:['’]\w+)*|[^\w\s]")
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


_WORDS = 200
_ECHOED_WORDS = 4  # shorter runs in common with the prompt are chance
_ENOUGH_TEXTS = 4
_RIVALS = {NONE: "win_rate_vs_none", FEW_SHOT: "win_rate_vs_few_shot", WRONG_USER: "win_rate_vs_wrong_user"}


@dataclass(frozen=True)
class AuthorshipMetrics:
    """Classifiers and Burrows' Delta, trained on one set of authors.

    Attributes:
        authorship: classifiers by family.
        delta: Burrows' Delta.
    """

    authorship: Mapping[Family, Authorship]
    delta: BurrowsDelta

    @classmethod
    def train(cls, texts: Mapping[str, Sequence[str]]) -> AuthorshipMetrics:
        """Metrics trained on texts by author.

        Raises:
            InputError: there are too few.
        """
        return cls({family: Authorship(texts, family, words=_WORDS) for family in FAMILIES}, BurrowsDelta(texts))

    def measure(self, text: str, author: str) -> dict[str, float]:
        """Metrics of the first words of a text; longer texts would be closer to every author."""
        text = cut(text, _WORDS)
        return {
            "author_logprob": self.authorship["style"].logprob(text, author),
            "author_logprob_characters": self.authorship["characters"].logprob(text, author),
            "burrows_delta": self.delta.distance(text, author),
        }

    def accuracy(self, cases: Sequence[Case]) -> dict[str, float]:
        """Each classifier's accuracy on the references of cases, by family."""
        return {
            family: sum(each.author(_without_prompt(case.reference, case.prompt)) == case.user for case in cases)
            / max(1, len(cases))
            for family, each in self.authorship.items()
        }


def authorship_metrics_for(task: Task, cases: Sequence[Case]) -> AuthorshipMetrics | None:
    """Metrics trained for a task; None for tasks that are not writing.

    Args:
        task: whose authors are told apart.
        cases: of the run.

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
    return AuthorshipMetrics.train(_texts(task, cases))


def _texts(task: WritingTask, cases: Sequence[Case]) -> dict[str, list[str]]:
    """Texts of the task's authors that no profile is fitted on; all of an author's texts where those are too few.

    In the latter case copying pays, which ``copied_words`` shows.
    """
    shown = {record.text for case in cases for record in case.records if isinstance(record, Sample)}
    unshown = {author: [text for text in theirs if text not in shown] for author, theirs in task.texts().items()}
    return {
        author: rest if len(rest) >= _ENOUGH_TEXTS else list(task.texts()[author]) for author, rest in unshown.items()
    }


def score_answers(
    authorship: AuthorshipMetrics,
    case: Case,
    answers: Mapping[str, str],
    other_texts: Mapping[str, Sequence[str]] | None = None,
    rejected_drafts: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict[str, float]]:
    """All writing metrics, by condition; words that repeat the prompt do not count.

    Args:
        authorship: of the task's authors.
        case: the case.
        answers: by condition.
        other_texts: another user's texts that a condition was shown: copies of those count too.
        rejected_drafts: drafts that the answer was preferred to, by condition.
    """
    shown = [own_text(record) for record in case.records]
    scores: dict[str, dict[str, float]] = {}
    for condition, answer in answers.items():
        text = _without_prompt(answer, case.prompt)
        scores[condition] = {
            **authorship.measure(text, case.user),
            "copied_words": float(longest_copied_run(text, [*shown, *(other_texts or {}).get(condition, ())])),
            "words": float(len(text.split())),
        }
    for condition, others in (rejected_drafts or {}).items():
        chosen = scores[condition]["author_logprob"]
        drafts = [
            authorship.measure(_without_prompt(other, case.prompt), case.user)["author_logprob"] for other in others
        ]
        if drafts:
            scores[condition]["over_its_drafts"] = chosen - fmean([chosen, *drafts])
    for condition, own in scores.items():
        for rival, name in _RIVALS.items():
            if rival in scores and rival != condition:
                own[name] = win(own["author_logprob"], scores[rival]["author_logprob"])
    return scores | {OWN_TEXT: authorship.measure(_without_prompt(case.reference, case.prompt), case.user)}


def _without_prompt(answer: str, prompt: str) -> str:
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
