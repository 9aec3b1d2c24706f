"""Names of people and places in texts, without a list of names: words with a capital where others have none.

Titles of books and posts give most of their words one, and what an instruction says of answers stands in titles too:
"Trust", "Guide", "End". This file knows no leak.

Whether an instruction or a demonstration tells of the people that it was found on.

Prompts that models write from examples copy phrases and names out of them. A text leaks if it shares a run of words
with what those people wrote or chose, names a name that stands there, or holds one of their record ids, or a mail
address, a telephone or an account number. What stood in the program's own prompt before the search, or ships with it,
is no leak. This file knows no optimizer.
"""

from __future__ import annotations

import calendar
import json
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

__all__ = ["Leak", "LeakCheck", "commonplace", "names_in", "words_of"]

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?:\n\"“”(]\s*$")
_TITLES = frozenset(("Mr", "Mrs", "Ms", "Dr", "Prof", "St"))
_BEFORE_NAMES = _TITLES | {"Dear", "dear", "Hi", "Hello", "hello", "Hey", "Thanks", "thanks"}
_IN_TITLES = frozenset(["a", "an", "the", "of", "to", "and", "or", "for", "in", "on", "at", "by", "from", "with", "as"])
_NO_NAMES = {
    *(name.lower() for name in (*calendar.day_name, *calendar.month_name, *calendar.day_abbr) if name),
    *("i", "english", "american", "french", "german"),
}


def names_in(texts: Iterable[str]) -> set[str]:
    """Words that look like names, folded: with a capital within a sentence, and written small nowhere."""
    capital: set[str] = set()
    small: set[str] = set()
    for text in texts:
        for sentence in _sentences(text):
            small |= {_folded(word) for word in sentence if word[0].islower()}
            capital |= {_folded(sentence[place]).removesuffix("'s") for place in _named(sentence)}
    return {name for name in capital - small - _ordinary() if len(name) > 2 and name not in commonplace()} - _NO_NAMES


def words_of(text: str) -> list[str]:
    """The words of a text, without case and accents."""
    return [_folded(word) for word in _WORD.findall(text)]


def _folded(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.replace("’", "'"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()


@cache
def commonplace() -> frozenset[str]:
    """Words that say nothing of anybody: function words, and what any instruction about answers may say."""
    lines = files(__package__).joinpath("commonplace.txt").read_text(encoding="utf-8").splitlines()
    return load_function_words() | {line for line in lines if not line.startswith("#")}


@cache
def _ordinary() -> frozenset[str]:
    """Words that stand small in what ships: instructions, dimensions, and what the example people wrote and chose."""
    return frozenset(_folded(word) for text in _shipped_texts() for word in _WORD.findall(text) if word[0].islower())


def _shipped_texts() -> Iterator[str]:
    shipped: dict[str, list[str]] = json.loads(files(__package__).joinpath("variants.json").read_text(encoding="utf-8"))
    for texts in shipped.values():
        yield from texts
    for dimension in load_space().dimensions:
        yield from (dimension.name, dimension.high, dimension.low)
    for record in ShippedPopulation().records(""):
        yield from (prompt_of(record), own_text(record), other_text(record) or "")


def _sentences(text: str) -> list[list[str]]:
    """The words of each sentence, and of what is quoted in it."""
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


def _named(sentence: Sequence[str]) -> list[int]:
    """The places of the words that look like names: with a capital, where most others have none.

    In a title most words have one, and so have the small ones that it begins with in the middle of a sentence.
    """
    runs = _runs(sentence)
    says = [_folded(word) not in commonplace() for word in sentence]
    small = [says[place] and sentence[place][0].islower() for place in range(1, len(sentence))]
    # Without another word that says something, it takes a small one that titles do not have.
    bare = any(word[0].islower() and _folded(word) not in _IN_TITLES for word in sentence)
    found = []
    for run in runs:
        if run[0] > 0 and sentence[run[0] - 1] in _BEFORE_NAMES:
            found += run
            continue
        if len(run) > 1 and sentence[run[0]] in _BEFORE_NAMES:
            found += run[1:]
            continue
        if any(not says[place] for place in run if place):
            continue
        others = sum(each is not run and each[-1] > 0 for each in runs)
        if sum(small) > others or (bare and not sum(small) and not others):
            found += [place for place in run if place]
    return found


def _runs(sentence: Sequence[str]) -> list[list[int]]:
    """The places of words with a capital, those beside each other together, as forename and surname are."""
    found: list[list[int]] = []
    for place, word in enumerate(sentence):
        if word[0].isupper() and not word.isupper():
            if found and found[-1][-1] == place - 1:
                found[-1].append(place)
            else:
                found.append([place])
    return found


_RUN = 4
"""Words in a row; two of them must say something, or it takes two more."""
_TELLING = 2
_LONG_RUN = 6
_STEM = 4
_ENDINGS = ("'s", "s", "es", "ian", "ish", "y", "ie")


@dataclass(frozen=True)
class Leak:
    """What a text gives away.

    Attributes:
        kind: ``words``, ``name``, ``record`` or ``private``.
        what: the words as they stand in the text.
    """

    kind: str
    what: str

    def __str__(self) -> str:
        kinds = {"words": "words of theirs", "name": "a name", "record": "a record's id", "private": "private data"}
        return f"{kinds[self.kind]}: {self.what!r}"


class LeakCheck:
    """Looks for traces of people in texts.

    Args:
        records: those of the people.
        known: texts that may be repeated, and whose words are nobody's names: the prompts as they were before, what
            ships with them.
        more: other texts of theirs, such as held-out answers.
    """

    def __init__(self, records: Iterable[Record], known: Sequence[str] = (), more: Sequence[str] = ()) -> None:
        kept = list(records)
        texts = [text for record in kept for text in (prompt_of(record), own_text(record), other_text(record) or "")]
        texts += [text for text in more if text.strip()]
        allowed = {gram for text in known for gram in _grams(words_of(text), _RUN)}
        self._grams = {gram for text in texts for gram in _grams(words_of(text), _RUN)} - allowed
        self._long = {gram for text in texts for gram in _grams(words_of(text), _LONG_RUN)}
        self._long -= {gram for text in known for gram in _grams(words_of(text), _LONG_RUN)}
        self._names = names_in(texts) - {word for text in known for word in words_of(text)}
        self._ids = {
            record.id.lower() for record in kept if re.search(r"\d|-|_", record.id) and len(record.id) >= _STEM
        }

    def __call__(self, text: str) -> list[Leak]:
        """What a text leaks; empty if nothing."""
        found = [Leak("private", part) for part in find_private_parts(text)]
        lower = text.lower()
        found += [
            Leak("record", name) for name in sorted(self._ids) if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", lower)
        ]
        words = words_of(text)
        found += [Leak("words", " ".join(gram)) for gram in _grams(words, _LONG_RUN) if gram in self._long]
        if not any(leak.kind == "words" for leak in found):
            found += [Leak("words", " ".join(g)) for g in _grams(words, _RUN) if g in self._grams and _tells(g)]
        found += [Leak("name", word) for word in dict.fromkeys(words) if self._is_name(word)]
        return found

    def _is_name(self, word: str) -> bool:
        if word in self._names:
            return True
        # A name in another form: Okafor's, the Okafors, Bruno-like.
        stems = {re.split(r"['-]", word, maxsplit=1)[0], word.replace("'", "").replace("-", "")}
        stems |= {stem.removesuffix(suffix) for stem in list(stems) for suffix in _ENDINGS}
        return any(len(stem) >= _STEM and stem in self._names for stem in stems)


def _grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]


def _tells(gram: Sequence[str]) -> bool:
    return sum(word not in commonplace() for word in gram) >= _TELLING
