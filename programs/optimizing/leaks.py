"""Whether an instruction or a demonstration tells of the people that it was found on.

Prompts that models write from examples copy phrases and names out of them. A text leaks if it shares a run of words
with what those people wrote or chose, names a name that stands there, or holds one of their record ids, or a mail
address, a telephone or an account number. What stood in the program's own prompt before the search is no leak. This
file knows no optimizer.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hyperalign.privacy import private_parts
from hyperalign.records import Record, other_text, own_text, prompt_of
from hyperalign.style.lexicon import function_words

__all__ = ["Leak", "LeakCheck"]

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?:\n\"“”(]\s*$")
_TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St)\.?\s+$")
_RUN = 4
"""Words in a row; two of them must say something, or it takes two more."""
_TELLING = 2
_LONG_RUN = 6
_STEM = 4
_ENDINGS = ("'s", "s", "es", "ian", "ish", "y", "ie")
_NO_NAMES = {
    *(name.lower() for name in (*calendar.day_name, *calendar.month_name, *calendar.day_abbr) if name),
    *("i", "english", "american", "french", "german"),
}


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
        known: texts that may be repeated: the prompts as they were before.
        more: other texts of theirs, such as held-out answers.
    """

    def __init__(self, records: Iterable[Record], known: Sequence[str] = (), more: Sequence[str] = ()) -> None:
        kept = list(records)
        texts = [text for record in kept for text in (prompt_of(record), own_text(record), other_text(record) or "")]
        texts += [text for text in more if text.strip()]
        allowed = {gram for text in known for gram in _grams(_words(text), _RUN)}
        self._grams = {gram for text in texts for gram in _grams(_words(text), _RUN)} - allowed
        self._long = {gram for text in texts for gram in _grams(_words(text), _LONG_RUN)}
        self._long -= {gram for text in known for gram in _grams(_words(text), _LONG_RUN)}
        self._names = _names(texts) - {word for text in known for word in _words(text)}
        self._ids = {
            record.id.lower() for record in kept if re.search(r"\d|-|_", record.id) and len(record.id) >= _STEM
        }

    def __call__(self, text: str) -> list[Leak]:
        """What a text leaks; empty if nothing."""
        found = [Leak("private", part) for part in private_parts(text)]
        lower = text.lower()
        found += [
            Leak("record", name) for name in sorted(self._ids) if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", lower)
        ]
        words = _words(text)
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
        stems |= {stem.removesuffix(ending) for stem in list(stems) for ending in _ENDINGS}
        return any(len(stem) >= _STEM and stem in self._names for stem in stems)


def _words(text: str) -> list[str]:
    return [_folded(word) for word in _WORD.findall(text)]


def _folded(word: str) -> str:
    plain = unicodedata.normalize("NFKD", word.replace("’", "'"))
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()


def _grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]


def _tells(gram: Sequence[str]) -> bool:
    return sum(word not in _commonplace() for word in gram) >= _TELLING


@cache
def _commonplace() -> frozenset[str]:
    """Words that say nothing of anybody: function words, and what any instruction about answers may say."""
    lines = files(__package__).joinpath("commonplace.txt").read_text(encoding="utf-8").splitlines()
    return function_words() | {line for line in lines if not line.startswith("#")}


def _names(texts: Sequence[str]) -> set[str]:
    """Words with a capital within a sentence that are written small nowhere."""
    capital: set[str] = set()
    small: set[str] = set()
    for text in texts:
        for match in _WORD.finditer(text):
            word = match.group()
            if word[0].islower():
                small.add(_folded(word))
            elif word[0].isupper() and not word.isupper() and not _starts(text, match.start()):
                capital.add(_folded(word).removesuffix("'s"))
    return {name for name in capital - small if len(name) > 2 and name not in _commonplace()} - _NO_NAMES


def _starts(text: str, place: int) -> bool:
    before = text[:place]
    if _TITLE.search(before):
        return False
    return not before.strip() or bool(_SENTENCE_END.search(before))
