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

__all__ = ["falls_under", "find_subjects", "narrow", "touches"]

_UNSPACED = re.compile(f"[{UNSPACED}]")


def touches(text: str, beginnings: Iterable[str]) -> bool:
    """Whether a text has a word with one of some beginnings, in any case and Unicode form.

    A beginning of several words matches consecutive words; digits and signs separate words.
    """
    words = _words(text)
    return any(_has(words, wanted) for wanted in map(_words, beginnings) if wanted)


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
    return {
        ", ".join(dimension.words): frozenset(each.id for each in records if touches(prompt_of(each), dimension.words))
        for dimension in space.dimensions
        if dimension.words
    }


def _has(words: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(
        all(word.startswith(start) for word, start in zip(words[at : at + len(wanted)], wanted, strict=True))
        for at in range(len(words) - len(wanted) + 1)
    )


# Each text is compared with many subjects in turn.
@lru_cache(maxsize=512)
def _words(text: str) -> tuple[str, ...]:
    """The case-folded words of a text; combining marks belong to their letter."""
    return tuple("".join(map(_spaced, unicodedata.normalize("NFKC", text).casefold())).split())


def _spaced(character: str) -> str:
    if _UNSPACED.match(character):
        return f" {character} "
    return character if unicodedata.category(character)[0] in "LM" else " "
