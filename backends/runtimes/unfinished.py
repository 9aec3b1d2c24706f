"""Which answers stopped at their length, in the middle of a sentence: DSPy hands on the text alone, and no word of it.

Whoever wants to know listens while the calls are made, in the same thread or task. This file knows no runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["told_unfinished", "unfinished"]

_heard: ContextVar[list[str] | None] = ContextVar("unfinished", default=None)


@contextmanager
def unfinished() -> Iterator[list[str]]:
    """Collects the answers that stop at their length while this is open, without space around them."""
    found: list[str] = []
    token = _heard.set(found)
    try:
        yield found
    finally:
        _heard.reset(token)


def told_unfinished(text: str) -> None:
    """Tell whoever listens of an answer that stopped at its length."""
    if (found := _heard.get()) is not None:
        found.append(text.strip())
