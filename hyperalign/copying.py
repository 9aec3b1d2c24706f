"""The longest run of words that an answer copies from texts it was shown.

An answer can look personal by repeating the person's own sentences; this is the check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

__all__ = ["longest_copied_run"]

_WORD = re.compile(r"\w+(?:['’]\w+)?")


def longest_copied_run(answer: str, texts: Iterable[str]) -> int:
    """How many words in a row an answer shares with any of some texts.

    Case and punctuation are ignored.

    Args:
        answer: the text to check.
        texts: what it might have copied from.

    Returns:
        The length of the longest common run, in words; 0 if there is none.
    """
    words = _words(answer)
    return max((_longest_run(words, _words(text)) for text in texts), default=0)


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _longest_run(first: Sequence[str], second: Sequence[str]) -> int:
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    return matcher.find_longest_match().size
