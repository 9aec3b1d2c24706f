"""Finds what an instruction or a demonstration leaks of the people it was found on.

Prompts that models write from examples copy phrases and names from them. A text leaks if it shares a run of words with
what those people wrote or chose, has a name from there, one of their record ids, a mail address, or a telephone or
account number. What was in the prompts before the search, or ships with them, does not leak.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hyperalign.population import ShippedPopulation
from hyperalign.privacy import find_private_parts
from hyperalign.records import Record, other_text, own_text, prompt_of
from hyperalign.space import load_space
from hyperalign.style.parsed import load_function_words

from .instructions import load_written_instructions

__all__ = ["Leak", "LeakCheck", "find_names", "load_common_words", "split_words", "texts_of"]

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?:\n\"“”(]\s*$")
_TITLES = frozenset(("Mr", "Mrs", "Ms", "Dr", "Prof", "St"))
_BEFORE_NAMES = _TITLES | {"Dear", "dear", "Hi", "Hello", "hello", "Hey", "Thanks", "thanks"}
_IN_TITLES = frozenset(["a", "an", "the", "of", "to", "and", "or", "for", "in", "on", "at", "by", "from", "with", "as"])
_NO_NAMES = {
    *(name.lower() for name in (*calendar.day_name, *calendar.month_name, *calendar.day_abbr) if name),
    *("i", "english", "american", "french", "german"),
}
_RUN, _LONG_RUN = 4, 6
"""Words in a run that leaks; a short one must have ``_MIN_TELLING`` words that are not common."""
_MIN_TELLING = 2
_MIN_STEM = 4
_ENDINGS = ("'s", "s", "es", "ian", "ish", "y", "ie")
_KINDS = {"words": "words of theirs", "name": "a name", "record": "a record's id", "private": "private data"}


def split_words(text: str) -> list[str]:
    """The words of a text, without case and accents."""
    return [_fold(word) for word in _WORD.findall(text)]


def _fold(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.replace("’", "'"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()


@cache
def load_common_words() -> frozenset[str]:
    """Function words, and words that any instruction about answers may have."""
    lines = files(__package__).joinpath("common_words.txt").read_text(encoding="utf-8").splitlines()
    return load_function_words() | {word for line in lines if not line.startswith("#") for word in line.split()}


@cache
def _lowercase_words() -> frozenset[str]:
    """Words that are in lower case in what ships: instructions, dimensions, and records of the example people."""
    return frozenset(_fold(word) for text in _shipped_texts() for word in _WORD.findall(text) if word[0].islower())


def _shipped_texts() -> Iterator[str]:
    yield from load_written_instructions()
    for dimension in load_space().dimensions:
        yield from (dimension.name, dimension.high, dimension.low)
    for record in ShippedPopulation().records(""):
        yield from texts_of(record)


def texts_of(record: Record) -> tuple[str, str, str]:
    """The prompt and both texts of a record; empty where it has none."""
    return prompt_of(record), own_text(record), other_text(record) or ""


def find_names(texts: Iterable[str]) -> set[str]:
    """Words that look like names, folded: capitalized within a sentence, and in lower case nowhere.

    Titles of books and posts capitalize most of their words, so a capital counts only where most other words have none.
    """
    capitalized: set[str] = set()
    lowercase: set[str] = set()
    for text in texts:
        for sentence in _split_sentences(text):
            lowercase |= {_fold(word) for word in sentence if word[0].islower()}
            capitalized |= {_fold(sentence[at]).removesuffix("'s") for at in _name_places(sentence)}
    ordinary = lowercase | _lowercase_words() | load_common_words() | _NO_NAMES
    return {name for name in capitalized - ordinary if len(name) > 2}


def _split_sentences(text: str) -> list[list[str]]:
    """The words of each sentence, and of each quotation in it."""
    found: list[list[str]] = []
    end = 0
    for match in _WORD.finditer(text):
        between = text[end : match.start()]
        titled = bool(found) and found[-1][-1] in _TITLES and between.strip() in ("", ".")
        if not found or (_SENTENCE_END.search(between) and not titled):
            found.append([])
        found[-1].append(match.group())
        end = match.end()
    return found


def _name_places(sentence: Sequence[str]) -> list[int]:
    """The places of words that look like names: capitalized, where most others are not."""
    runs = _capitalized_runs(sentence)
    telling = [_fold(word) not in load_common_words() for word in sentence]
    lowercase = sum(telling[at] and sentence[at][0].islower() for at in range(1, len(sentence)))
    # Without another telling word, a lowercase word that titles do not have shows that this is a sentence, not a title.
    bare = any(word[0].islower() and _fold(word) not in _IN_TITLES for word in sentence)
    found = []
    for run in runs:
        if run[0] > 0 and sentence[run[0] - 1] in _BEFORE_NAMES:
            found += run
            continue
        if len(run) > 1 and sentence[run[0]] in _BEFORE_NAMES:
            found += run[1:]
            continue
        if any(not telling[at] for at in run if at):
            continue
        others = sum(each is not run and each[-1] > 0 for each in runs)
        if lowercase > others or (bare and not lowercase and not others):
            found += [at for at in run if at]
    return found


def _capitalized_runs(sentence: Sequence[str]) -> list[list[int]]:
    """The places of capitalized words, adjacent ones together, as forename and surname are."""
    found: list[list[int]] = []
    for at, word in enumerate(sentence):
        if word[0].isupper() and not word.isupper():
            if found and found[-1][-1] == at - 1:
                found[-1].append(at)
            else:
                found.append([at])
    return found


@dataclass(frozen=True)
class Leak:
    """What a text leaks.

    Attributes:
        kind: ``words``, ``name``, ``record`` or ``private``.
        what: the words in the text.
    """

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{_KINDS[self.kind]}: {self.what!r}"


class LeakCheck:
    """Finds leaks in texts.

    Args:
        records: of the people.
        known: texts whose words do not leak: the prompts before the search, and what ships with them.
        more: other texts of the people, such as held-out answers.
    """

    def __init__(self, records: Iterable[Record], known: Sequence[str] = (), more: Sequence[str] = ()) -> None:
        kept = list(records)
        texts = [*(text for record in kept for text in texts_of(record)), *(text for text in more if text.strip())]
        self._runs, self._long_runs = (
            {run for text in texts for run in _ngrams(split_words(text), size)}
            - {run for text in known for run in _ngrams(split_words(text), size)}
            for size in (_RUN, _LONG_RUN)
        )
        self._names = find_names(texts) - {word for text in known for word in split_words(text)}
        ids = (record.id for record in kept if len(record.id) >= _MIN_STEM and re.search(r"\d|-|_", record.id))
        self._ids = sorted({id_.lower() for id_ in ids})

    def __call__(self, text: str) -> list[Leak]:
        """Find what a text leaks."""
        found = [Leak("private", part) for part in find_private_parts(text)]
        lower = text.lower()
        found += [Leak("record", name) for name in self._ids if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", lower)]
        words = split_words(text)
        long = [run for run in _ngrams(words, _LONG_RUN) if run in self._long_runs]
        runs = long or [run for run in _ngrams(words, _RUN) if run in self._runs and _is_telling(run)]
        found += [Leak("words", " ".join(run)) for run in runs]
        return [*found, *(Leak("name", word) for word in dict.fromkeys(words) if self._is_name(word))]

    def _is_name(self, word: str) -> bool:
        if word in self._names:
            return True
        # Other forms of a name: Okafor's, the Okafors, Bruno-like.
        stems = {re.split(r"['-]", word, maxsplit=1)[0], word.replace("'", "").replace("-", "")}
        stems |= {stem.removesuffix(suffix) for stem in list(stems) for suffix in _ENDINGS}
        return any(len(stem) >= _MIN_STEM and stem in self._names for stem in stems)


def _ngrams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]


def _is_telling(run: Sequence[str]) -> bool:
    return sum(word not in load_common_words() for word in run) >= _MIN_TELLING
