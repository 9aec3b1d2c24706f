"""The features of measured style: numbers about how a text is written, each with a unit.

A feature is a row of ``FEATURES`` and a function of a parsed text. It is None for a text that does not show it, such as
the spread of a single sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Literal

from .parsed import (
    BOOSTERS,
    CONJUNCTIONS,
    CONTRACTION,
    ENGLISH,
    FIRST_PLURAL,
    FIRST_SINGULAR,
    HEDGES,
    IMPERATIVES,
    NEGATIONS,
    SECOND_PERSON,
    ParsedText,
    load_function_words,
    parse,
    tell_language,
)

__all__ = ["FEATURES", "MARKS", "Feature", "Features", "measure", "measure_all"]

Features = dict[str, float | None]
Measure = Callable[[ParsedText], float | None]
Aspect = Literal["style", "communication"]
FeatureKind = Literal["count", "share", "rate", "flag", "score"]

VARIETY_WINDOW = 50
LONG_WORD = 7


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of style.

    Attributes:
        name: its key in measurements, reference and claims.
        unit: the unit of its value.
        kind: ``count`` (a mean of something counted), ``share`` (0 to 1), ``rate`` (per 100 words), ``flag``
            (0 or 1 in a text; a share over texts) or ``score`` (a published formula).
        aspect: whether it is about style or communication.
        family: features of one family overlap; only the clearest makes a claim.
        grain: the smallest difference worth naming, in units; also the floor of standard deviations.
        measure: the function of a parsed text.
        is_english: whether it counts English words or forms, and so measures nothing in another language.
    """

    name: str
    unit: str
    kind: FeatureKind
    aspect: Aspect
    family: str
    grain: float
    measure: Measure
    is_english: bool = False


def _per_100(count: float, text: ParsedText) -> float | None:
    return 100 * count / len(text.words) if text.words else None


def _count_of(words: frozenset[str]) -> Measure:
    return lambda text: _per_100(sum(word in words for word in text.words), text)


def _matches_of(pattern: re.Pattern[str], *, lower: bool = False) -> Measure:
    def count(text: ParsedText) -> float | None:
        return _per_100(len(pattern.findall(text.prose.lower() if lower else text.prose)), text)

    return count


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _share_of_sentences(holds: Callable[[list[str]], bool]) -> Measure:
    return lambda text: _mean([float(holds(sentence)) for sentence in text.sentences])


def sentence_words(text: ParsedText) -> float | None:
    """Mean length of a sentence, in words."""
    return _mean([len(sentence) for sentence in text.sentences])


def sentence_spread(text: ParsedText) -> float | None:
    """Standard deviation of sentence lengths, in words; needs three sentences."""
    lengths = [len(sentence) for sentence in text.sentences]
    return pstdev(lengths) if len(lengths) >= 3 else None


def paragraph_words(text: ParsedText) -> float | None:
    """Mean length of a paragraph, in words."""
    return _mean(text.paragraphs)


def word_letters(text: ParsedText) -> float | None:
    """Mean length of a word, in letters; numbers are left out."""
    return _mean([sum(map(str.isalpha, word)) for word in text.words if any(map(str.isalpha, word))])


def long_words(text: ParsedText) -> float | None:
    """Share of words with at least seven letters."""
    return _mean([float(sum(map(str.isalpha, word)) >= LONG_WORD) for word in text.words])


def variety(text: ParsedText) -> float | None:
    """Moving-average type-token ratio: different words in each window of 50, as a share."""
    words, size = text.words, VARIETY_WINDOW
    if len(words) < size:
        return None
    counts: dict[str, int] = {}
    total = 0
    for place, word in enumerate(words):
        counts[word] = counts.get(word, 0) + 1
        if place >= size:
            gone = words[place - size]
            counts[gone] -= 1
            if not counts[gone]:
                del counts[gone]
        if place >= size - 1:
            total += len(counts)
    return total / (size * (len(words) - size + 1))


_VOWELS = re.compile(r"[aeiouy]+")
_SILENT = re.compile(r"(?:[^aeiouylcsxzgh]es|[^aeiouytd]ed|[^aeiouyl]e|(?<=[aeiouy])les?)$")
_HIATUS = re.compile(r"(?<![tscg])ia|[rdvb]io|[aeo]ing|(?<![tcr])ien[tc]|[^qg]ua|[^pgs]eo|ism$|^our")


def syllables(word: str) -> int:
    """Syllables of a lower-case English word, estimated from its vowel groups; at least 1."""
    groups = len(_VOWELS.findall(word)) - len(_SILENT.findall(word)) + len(_HIATUS.findall(word))
    return max(1, groups)


def reading_ease(text: ParsedText) -> float | None:
    """Flesch reading ease: 206.835 - 1.015 words per sentence - 84.6 syllables per word; higher is easier."""
    words = [word for sentence in text.sentences for word in sentence if any(map(str.isalpha, word))]
    if not words:
        return None
    return 206.835 - 1.015 * len(words) / len(text.sentences) - 84.6 * fmean(map(syllables, words))


def quotes(text: ParsedText) -> float | None:
    """Quoted stretches in double marks, per 100 words."""
    return _per_100(text.prose.count('"') / 2 + sum(map(text.prose.count, "“«„")), text)


def numbers(text: ParsedText) -> float | None:
    """Words with a digit, per 100 words."""
    return _per_100(sum(any(map(str.isdigit, word)) for word in text.words), text)


def contractions(text: ParsedText) -> float | None:
    """Contracted forms such as ``don't`` and ``it's``, per 100 words."""
    return _per_100(sum(bool(CONTRACTION.fullmatch(word)) for word in text.words), text)


def negations(text: ParsedText) -> float | None:
    """Negative words, contracted ones included, per 100 words."""
    return _per_100(sum(word in NEGATIONS or word.endswith("n't") for word in text.words), text)


def function_words(text: ParsedText) -> float | None:
    """Share of words that are function words."""
    known = load_function_words()
    return _mean([float(word in known) for word in text.words])


def capitals(text: ParsedText) -> float | None:
    """Words of at least two letters all in capitals, per 100 words."""
    return _per_100(sum(word.isupper() and sum(map(str.isalpha, word)) >= 2 for word in text.cased), text)


def emoji(text: ParsedText) -> float | None:
    """Pictographs, per 100 words."""
    return _per_100(sum(ord(char) > 0x2190 and unicodedata.category(char) == "So" for char in text.prose), text)


# Bounded lengths keep the time linear for a text full of unclosed marks.
_MARKUP = re.compile(
    r"(\*\*|__)(?=\S).{1,200}?\1|`[^`\n]{1,200}`|\[[^\]\n]{1,200}\]\([^)\s]{1,500}\)|^(?:>|```)", re.MULTILINE
)


def markdown(text: ParsedText) -> float | None:
    """Headings, bold words, code, links and quotes in Markdown, per 100 words."""
    return _per_100(text.headings + len(_MARKUP.findall(text.prose)), text)


def _flag(value: bool, text: ParsedText) -> float | None:
    return float(value) if text.words else None


def _starts_as_order(sentence: list[str]) -> bool:
    first = sentence[1] if sentence[0] in {"please", "just", "then", "so", "and"} and len(sentence) > 1 else sentence[0]
    return first in IMPERATIVES and (first not in {"do", "have"} or sentence[1:2] not in (["you"], ["they"]))


def list_items(text: ParsedText) -> float | None:
    """Lines that are list items, per 100 words."""
    return _per_100(text.list_items, text)


def greeting(text: ParsedText) -> float | None:
    """1 if the text opens with a greeting, else 0."""
    return _flag(text.greeting, text)


def sign_off(text: ParsedText) -> float | None:
    """1 if the text closes with a sign-off, else 0."""
    return _flag(text.sign_off, text)


def _starts_with_conjunction(sentence: list[str]) -> bool:
    return sentence[0] in CONJUNCTIONS


_DASH = re.compile(r"—|(?<=\s)–(?=\s)|(?<=\w )-(?= \w)|(?<!-)--(?!-)")
_COLON = re.compile(r":(?=\s|$)")
_ELLIPSIS = re.compile(r"…|\.{3,}")
_QUESTION = re.compile(r"[?？]+")
_EXCLAMATION = re.compile("[!！]+")
_OPENERS = _share_of_sentences(_starts_with_conjunction)
_IMPERATIVES = _share_of_sentences(_starts_as_order)

_ROWS: tuple[Feature, ...] = (
    Feature("sentence_words", "words per sentence", "count", "style", "sentence length", 2.0, sentence_words),
    Feature("sentence_spread", "words (standard deviation)", "count", "style", "sentence spread", 1.5, sentence_spread),
    Feature("paragraph_words", "words per paragraph", "count", "style", "paragraphs", 8.0, paragraph_words),
    Feature("word_letters", "letters per word", "count", "style", "word length", 0.15, word_letters),
    Feature("long_words", "share of words of 7 letters or more", "share", "style", "word length", 0.03, long_words),
    Feature("reading_ease", "Flesch reading ease", "score", "style", "word length", 5.0, reading_ease, is_english=True),
    Feature("variety", "different words in 50", "share", "style", "variety", 0.02, variety),
    Feature(
        "function_words", "share of words", "share", "style", "function words", 0.02, function_words, is_english=True
    ),
    Feature("commas", "per 100 words", "rate", "style", "commas", 1.0, _matches_of(re.compile(r",(?!\d)"))),
    Feature("semicolons", "per 100 words", "rate", "style", "semicolons", 0.3, _matches_of(re.compile(";"))),
    Feature("dashes", "per 100 words", "rate", "style", "dashes", 0.4, _matches_of(_DASH)),
    Feature("parentheses", "per 100 words", "rate", "style", "parentheses", 0.3, _matches_of(re.compile(r"\((?=\w)"))),
    Feature("colons", "per 100 words", "rate", "style", "colons", 0.4, _matches_of(_COLON)),
    Feature("ellipses", "per 100 words", "rate", "style", "ellipses", 0.3, _matches_of(_ELLIPSIS)),
    Feature("quotes", "quotations per 100 words", "rate", "style", "quotes", 0.4, quotes),
    Feature("numbers", "per 100 words", "rate", "style", "numbers", 0.7, numbers),
    Feature("capitals", "per 100 words", "rate", "style", "capitals", 0.5, capitals),
    Feature("contractions", "per 100 words", "rate", "style", "contractions", 0.7, contractions, is_english=True),
    Feature("emoji", "per 100 words", "rate", "style", "emoji", 0.3, emoji),
    Feature("markdown", "marks per 100 words", "rate", "style", "markdown", 0.5, markdown),
    Feature(
        "conjunction_openings",
        "share of sentences",
        "share",
        "style",
        "conjunction openings",
        0.04,
        _OPENERS,
        is_english=True,
    ),
    Feature("list_items", "per 100 words", "rate", "communication", "lists", 0.5, list_items),
    Feature("questions", "per 100 words", "rate", "communication", "questions", 0.4, _matches_of(_QUESTION)),
    Feature("exclamations", "per 100 words", "rate", "communication", "exclamations", 0.4, _matches_of(_EXCLAMATION)),
    Feature(
        "imperatives", "share of sentences", "share", "communication", "orders", 0.05, _IMPERATIVES, is_english=True
    ),
    Feature(
        "first_singular", "per 100 words", "rate", "communication", "I", 1.0, _count_of(FIRST_SINGULAR), is_english=True
    ),
    Feature(
        "first_plural", "per 100 words", "rate", "communication", "we", 1.0, _count_of(FIRST_PLURAL), is_english=True
    ),
    Feature(
        "second_person", "per 100 words", "rate", "communication", "you", 1.0, _count_of(SECOND_PERSON), is_english=True
    ),
    Feature(
        "hedges",
        "per 100 words",
        "rate",
        "communication",
        "hedges",
        0.7,
        _matches_of(HEDGES, lower=True),
        is_english=True,
    ),
    Feature(
        "boosters",
        "per 100 words",
        "rate",
        "communication",
        "boosters",
        0.5,
        _matches_of(BOOSTERS, lower=True),
        is_english=True,
    ),
    Feature("negations", "per 100 words", "rate", "communication", "negations", 0.7, negations, is_english=True),
    Feature("greeting", "share of texts", "flag", "communication", "greeting", 0.2, greeting, is_english=True),
    Feature("sign_off", "share of texts", "flag", "communication", "sign-off", 0.2, sign_off, is_english=True),
)

FEATURES: Mapping[str, Feature] = {feature.name: feature for feature in _ROWS}

MARKS = frozenset({"emoji", "markdown", "list_items", "exclamations", "questions"})
"""Features that mean the same in every language."""


def measure(text: str) -> Features:
    """Measure every feature of a text; None for one that the text does not show, or that its language does not have."""
    parsed, language = parse(text), tell_language(text)
    is_foreign = language not in (None, ENGLISH)
    return {
        name: None if feature.is_english and is_foreign else feature.measure(parsed)
        for name, feature in FEATURES.items()
    }


def measure_all(texts: Sequence[str]) -> Features:
    """The mean of each feature over the texts that show it; None for one that no text shows."""
    rows = [measure(text) for text in texts]
    return {name: _mean([value for row in rows if (value := row[name]) is not None]) for name in FEATURES}
