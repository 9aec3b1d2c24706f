"""Which prompts a scoped statement holds for.

A scope is a list of word beginnings with commas between: ``letter, mail`` covers each prompt that has a word with
either beginning.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from hyperalign.profile import Profile
from hyperalign.records import Record, prompt_of
from hyperalign.space import Space
from hyperalign.text import UNSPACED

__all__ = ["SubjectIndex", "falls_under", "find_subjects", "narrow", "touches"]

_UNSPACED = re.compile(f"[{UNSPACED}]")


def touches(text: str, beginnings: Iterable[str]) -> bool:
    """Whether a text has a word with one of some beginnings, in any case and Unicode form.

    A beginning of several words matches consecutive words; digits and signs separate words.
    """
    return bool(SubjectIndex([beginnings]).find(text))


def falls_under(prompt: str, scope: str) -> bool:
    """Whether a prompt is in a scope; all are in the empty one, and none in one without letters."""
    return not scope.strip() or touches(prompt, scope.split(","))


def narrow(profile: Profile, prompt: str) -> Profile:
    """Narrow a profile to one prompt: drop statements that are out of scope, and the scopes of the others.

    Args:
        profile: the person.
        prompt: the prompt alone, without answers to it.
    """
    if not any(hypothesis.scope for hypothesis in profile.hypotheses):
        return profile
    heard = [h.model_copy(update={"scope": ""}) for h in profile.hypotheses if falls_under(prompt, h.scope)]
    return profile.model_copy(update={"hypotheses": heard})


def find_subjects(space: Space, records: Sequence[Record]) -> dict[str, frozenset[str]]:
    """For each scope of a space, that is, the words of a dimension, the ids of the records whose prompts are in it."""
    subjects = [dimension.words for dimension in space.dimensions if dimension.words]
    index = SubjectIndex(subjects)
    found: list[list[str]] = [[] for _ in subjects]
    for record in records:
        for at in index.find(prompt_of(record)):
            found[at].append(record.id)
    return {", ".join(words): frozenset(ids) for words, ids in zip(subjects, found, strict=True)}


class SubjectIndex:
    """Finds which of many subjects a text touches; each of its words is looked up, not compared with every beginning.

    Args:
        subjects: the word beginnings of each subject.
    """

    def __init__(self, subjects: Sequence[Iterable[str]]) -> None:
        # By the first word of a beginning: the words that follow it, and the subject.
        self._known: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for at, beginnings in enumerate(subjects):
            for first, *rest in filter(None, map(_words, beginnings)):
                self._known.setdefault(first, []).append((tuple(rest), at))
        self._lengths = sorted(set(map(len, self._known)))

    def find(self, text: str) -> set[int]:
        """The places of the subjects that a text has a word of."""
        words = _words(text)
        found: set[int] = set()
        for place, word in enumerate(words, 1):
            for length in self._lengths:
                if length > len(word):
                    break
                for rest, subject in self._known.get(word[:length], ()):
                    said = words[place : place + len(rest)]
                    if len(said) == len(rest) and all(map(str.startswith, said, rest)):
                        found.add(subject)
        return found


# The words of one prompt are asked for once for each scope of a profile.
@lru_cache(maxsize=64)
def _words(text: str) -> tuple[str, ...]:
    """The case-folded words of a text; combining marks belong to their letter."""
    return tuple(unicodedata.normalize("NFKC", text).casefold().translate(_SPACED).split())


class _Spaced(dict[int, str]):
    """What stands for a character where words are apart; it is looked up once for each character."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if _UNSPACED.match(character):
            said = f" {character} "
        else:
            said = character if unicodedata.category(character)[0] in "LM" else " "
        self[code] = said
        return said


_SPACED = _Spaced()
