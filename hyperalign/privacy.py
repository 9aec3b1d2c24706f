"""What in a text identifies somebody by its form alone: mail addresses, telephone and account numbers.

Names are not found here, and nothing is taken out: ``redaction`` does that. This file knows no record and no profile.
"""

from __future__ import annotations

import re

__all__ = ["MAIL", "private_parts"]

MAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
"""What a mail address looks like, as a regular expression."""

_PRIVATE = {
    "account number": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    "mail address": re.compile(MAIL),
    "telephone number": re.compile(r"(?<![\w.])\+?\d(?:[ ()./-]?\d){8,14}(?![\w.])"),
}


def private_parts(text: str) -> list[str]:
    """What a text holds that belongs in no training data and no prompt, by kind."""
    return [name for name, pattern in _PRIVATE.items() if pattern.search(text)]
