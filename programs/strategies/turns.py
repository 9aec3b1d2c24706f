"""Earlier texts of a person as turns of a conversation, within a budget of words.

Shared by the strategies that show raw examples. It does not choose them.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.records import Sample
from hyperalign.scores import Message

__all__ = ["example_turns", "words"]

_NO_PROMPT = "Write a text of your own."


def words(text: str) -> int:
    """How many words a text has."""
    return len(text.split())


def example_turns(examples: Sequence[Sample], budget: int) -> list[Message]:
    """Prompt and text of each example in turn, whole texts only, until the budget is spent.

    Args:
        examples: the best first.
        budget: words.
    """
    turns: list[Message] = []
    for example in examples:
        prompt = example.prompt or _NO_PROMPT
        budget -= words(prompt) + words(example.text)
        if budget < 0:
            break
        # The last turn weighs most with small models: the best example goes there.
        turns[:0] = [{"role": "user", "content": prompt}, {"role": "assistant", "content": example.text}]
    return turns
