"""Which prompts a statement holds for, and what it means that a text touches a subject.

A scope is a list of beginnings of words, with commas between: ``letter, mail`` covers each prompt with a word that
begins with either. Strategies say a scoped statement for such prompts alone; ``shortlist`` finds the subjects of
records by the same rule, and so does the search for scopes (``select.scopes``). This file knows no model.
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

__all__ = ["falls_under", "narrow", "subjects", "touches"]

_UNSPACED = re.compile(f"[{UNSPACED}]")


def touches(text: str, beginnings: Iterable[str]) -> bool:
    """Whether a text has a word that begins so.

    Case does not matter, nor how an accented letter is encoded; digits and signs part words.

    Args:
        text: any text.
        beginnings: of words; one of several words is looked for as words that follow each other.
    """
    words = _words(text)
    return any(_has(words, wanted) for wanted in map(_words, beginnings) if wanted)


def falls_under(prompt: str, scope: str) -> bool:
    """Whether a statement of this scope holds for a prompt; an empty scope covers everything.

    Args:
        prompt: what is asked.
        scope: beginnings of words, with commas between; one without any letter covers nothing.
    """
    return not scope.strip() or touches(prompt, scope.split(","))


def narrow(profile: Profile, prompt: str) -> Profile:
    """The profile as it holds for one prompt: out of scope is left out, and what is left has no scope any more.

    Args:
        profile: the person.
        prompt: what is asked, and nothing beside it: words of answers have no say in this.
    """
    if not any(hypothesis.scope for hypothesis in profile.hypotheses):
        return profile
    heard = [h.model_copy(update={"scope": ""}) for h in profile.hypotheses if falls_under(prompt, h.scope)]
    return profile.model_copy(update={"hypotheses": heard})


def subjects(space: Space, records: Sequence[Record]) -> dict[str, frozenset[str]]:
    """The scopes that a space suggests for some records.

    Args:
        space: its dimensions that have words are the subjects.
        records: anybody's.

    Returns:
        For each scope, the ids of the records whose prompts fall under it.
    """
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


# Each text is held against many subjects in turn.
@lru_cache(maxsize=512)
def _words(text: str) -> tuple[str, ...]:
    """The words of a text in one case; marks belong to their letter."""
    return tuple("".join(map(_spaced, unicodedata.normalize("NFKC", text).casefold())).split())


def _spaced(character: str) -> str:
    if _UNSPACED.match(character):
        return f" {character} "
    return character if unicodedata.category(character)[0] in "LM" else " "
