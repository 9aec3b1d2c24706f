"""Burrows' Delta (2002): how far a text lies from an author in the use of the most frequent words.

Needs no training beyond counts, so it is a check on the classifiers. Texts of 200 words are short for it:
read its means over many cases, never a single value.

Whose text this is, by two classifiers of different families: the writing metric (after HyPerAlign, section 4.1).

``style`` reads function words and punctuation alone, every other word masked by its shape: it cannot see the
topic, and is the primary one. ``characters`` reads all character n-grams, and takes a topic for a manner.
Both are logistic regressions over TF-IDF weighted n-grams (Stamatatos 2009 has the features). A text that a
profile was made from must not be among those it is trained on, or copying would pay.

What written answers are measured with: two judges of authorship, Burrows' Delta, copied words and length.

An answer wins where the true author is likelier under the judge that cannot see the topic. This file runs no model.

How far an answer's measured style is from the person's, beside how far a generic answer is.

Reads form alone: a nonsense text with the right commas scores well. Use it beside a metric of content.
"""

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
from ..conditions import NONE, OWN_TEXT, WRONG_USER
from .choice import win

__all__ = [
    "FAMILIES",
    "UNSEEN",
    "Authorship",
    "AuthorshipMetrics",
    "BurrowsDelta",
    "Family",
    "authorship_metrics_for",
    "masked",
    "scored",
    "style_distance",
]

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
# A word or two in common with the prompt is chance.
_ECHOED_WORDS = 4
_MATCHED_WORD = re.compile(r"(?P<word>\w+(?:['’]\w+)*)[^\w\s]*")
_ENOUGH = 4
_RIVALS = {NONE: "win_rate_vs_none", "few-shot": "win_rate_vs_few_shot", WRONG_USER: "win_rate_vs_wrong_user"}


@dataclass(frozen=True)
class AuthorshipMetrics:
    """What answers are measured with.

    Attributes:
        authorship: classifiers by family.
        delta: Burrows' Delta.
    """

    authorship: Mapping[Family, Authorship]
    delta: BurrowsDelta

    @classmethod
    def trained(cls, texts: Mapping[str, Sequence[str]]) -> AuthorshipMetrics:
        """Instruments of some authors' texts, none of which a profile was made from.

        Raises:
            InputError: there are too few.
        """
        return cls({family: Authorship(texts, family, words=_WORDS) for family in FAMILIES}, BurrowsDelta(texts))

    def measure(self, text: str, author: str) -> dict[str, float]:
        """What they say of the beginning of a text that should be an author's: longer texts lie nearer to anybody."""
        text = cut(text, _WORDS)
        return {
            "author_logprob": self.authorship["style"].logprob(text, author),
            "author_logprob_characters": self.authorship["characters"].logprob(text, author),
            "burrows_delta": self.delta.distance(text, author),
        }

    def accuracy(self, cases: Sequence[Case]) -> dict[str, float]:
        """Share of the cases' own texts whose author each classifier names: how far it can be trusted here."""
        return {
            family: sum(each.author(_unasked(case.reference, case.prompt)) == case.user for case in cases)
            / max(1, len(cases))
            for family, each in self.authorship.items()
        }


def authorship_metrics_for(task: Task, cases: Sequence[Case]) -> AuthorshipMetrics | None:
    """What judges a task's writing; None where no author is to be told by it.

    Args:
        task: whose authors are to be told apart.
        cases: of this run.

    Raises:
        InputError: the task has no texts to learn from, or too few.
    """
    if task.kind != "writing":
        return None
    if not isinstance(task, WritingTask):
        raise InputError(
            f"The task '{task.name}' asks for writing, but has no texts to judge it by.",
            remedy="Give it a method texts(): texts by user.",
        )
    return AuthorshipMetrics.trained(_texts(task, cases))


def _texts(task: WritingTask, cases: Sequence[Case]) -> dict[str, list[str]]:
    """What instruments learn from: texts of the task's authors that no profile is made from.

    Where somebody has too few of those, all of theirs: then copying pays, and ``copied_words`` shows it.
    """
    shown = {record.text for case in cases for record in case.records if isinstance(record, Sample)}
    unshown = {author: [text for text in theirs if text not in shown] for author, theirs in task.texts().items()}
    return {author: rest if len(rest) >= _ENOUGH else list(task.texts()[author]) for author, rest in unshown.items()}


def scored(
    authorship: AuthorshipMetrics,
    case: Case,
    answers: Mapping[str, str],
    strangers: Mapping[str, Sequence[str]] | None = None,
    turned_down: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict[str, float]]:
    """What the instruments say of each answer, and which answers win; words that the prompt gave are not counted.

    Args:
        instruments: of the task's authors.
        case: what was asked.
        answers: by condition.
        strangers: by condition, the texts of somebody else that it was shown: copies of those count too.
        turned_down: by condition, the drafts that the answer was chosen before.
    """
    shown = [own_text(record) for record in case.records]
    scores: dict[str, dict[str, float]] = {}
    for condition, answer in answers.items():
        text = _unasked(answer, case.prompt)
        scores[condition] = {
            **authorship.measure(text, case.user),
            "copied_words": float(longest_copied_run(text, [*shown, *(strangers or {}).get(condition, ())])),
            "words": float(len(text.split())),
        }
    for condition, others in (turned_down or {}).items():
        chosen = scores[condition]["author_logprob"]
        drafts = [authorship.measure(_unasked(other, case.prompt), case.user)["author_logprob"] for other in others]
        if drafts:
            scores[condition]["over_its_drafts"] = chosen - fmean([chosen, *drafts])
    for condition, own in scores.items():
        for rival, name in _RIVALS.items():
            if rival in scores and rival != condition:
                own[name] = win(own["author_logprob"], scores[rival]["author_logprob"])
    return scores | {OWN_TEXT: authorship.measure(_unasked(case.reference, case.prompt), case.user)}


def _unasked(answer: str, prompt: str) -> str:
    """An answer without what the prompt itself gave it: those words are nobody's, wherever in the answer they stand.

    A lead ends in the middle of a sentence, and one answer repeats it to the letter while another changes a word of it.
    """
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
            # What follows a word closes it.
            end = word.end()
    return (kept + answer[end:]).strip() if echoed else answer


def _matched_words(text: str) -> list[tuple[str, re.Match[str]]]:
    return [(match["word"].lower().replace("’", "'"), match) for match in _MATCHED_WORD.finditer(text)]


def style_distance(answer: str, profile: Profile) -> float:
    """Mean distance over the features in which the person stands apart.

    Args:
        answer: the text to measure.
        profile: whose measured style it is held against.

    Returns:
        Within-person standard deviations, each feature clipped at 3; 0.0 for a profile without measured style.
    """
    person: dict[str, float | None] = {
        name: item.value for name, item in profile.style.items() if abs(item.z) >= STANDS_APART
    }
    return distance(measure(answer), person, names=list(person))
