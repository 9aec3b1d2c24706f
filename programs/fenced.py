"""Puts a person's text between tags that it cannot close itself.

What stands between the tags is data to the model that reads them; a text that holds the tag
must not be able to end the fence and go on as if it were part of the question. This file
knows no question.
"""

from __future__ import annotations

import re

__all__ = ["fenced"]

_TAGS = ("text", "prompt", "first", "second", "A", "B", "answer", "judgment")
_FORGED = re.compile(rf"<(?=\s*/?\s*(?:{'|'.join(_TAGS)})\s*>)", re.IGNORECASE)


def fenced(text: str, tag: str) -> str:
    """A text between an opening and a closing tag, each on a line of its own.

    Args:
        text: anything; a tag that could be taken for a fence loses its angle bracket, all else stays as it is.
        tag: one of those that are fences here.
    """
    return f"<{tag}>\n{_FORGED.sub('‹', text)}\n</{tag}>"
