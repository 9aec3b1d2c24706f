"""Whether an instruction or a demonstration tells of the people that it was found on.

Prompts that models write from examples copy phrases and names out of them. A text leaks if it shares a run of words
with what those people wrote or chose, names a name that stands there, or holds one of their record ids, or a mail
address, a telephone or an account number. What stood in the program's own prompt before the search, or ships with it,
is no leak. This file knows no optimizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hyperalign.privacy import private_parts
from hyperalign.records import Record, other_text, own_text, prompt_of

from .names import commonplace, names_in, words_of

__all__ = ["Leak", "LeakCheck"]

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
        found = [Leak("private", part) for part in private_parts(text)]
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
        stems |= {stem.removesuffix(ending) for stem in list(stems) for ending in _ENDINGS}
        return any(len(stem) >= _STEM and stem in self._names for stem in stems)


def _grams(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]


def _tells(gram: Sequence[str]) -> bool:
    return sum(word not in commonplace() for word in gram) >= _TELLING
