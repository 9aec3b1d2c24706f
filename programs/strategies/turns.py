"""What strategies share: earlier texts of a person as turns of a conversation, and what a statement asks for.

It does not choose either.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.profile import Hypothesis
from hyperalign.records import Sample
from hyperalign.scores import Message

from ..excerpts import excerpt

__all__ = ["example_turns", "guidance", "words"]

_NO_PROMPT = "Write a text of your own."


def words(text: str) -> int:
    """How many words a text has."""
    return len(text.split())


def example_turns(examples: Sequence[Sample], budget: int) -> list[Message]:
    """Prompt and text of each example in turn, until the budget is spent.

    No text takes more than half of the budget: longer ones are cut after a sentence, so that one long text does not
    leave nothing to show.

    Args:
        examples: the best first.
        budget: words.
    """
    turns: list[Message] = []
    half = budget // 2
    for example in examples:
        prompt = example.prompt or _NO_PROMPT
        text = excerpt(example.text, max(1, half - words(prompt)))
        budget -= words(prompt) + words(text)
        if budget < 0:
            break
        # The last turn weighs most with small models: the best example goes there.
        turns[:0] = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    return turns


def guidance(hypothesis: Hypothesis) -> str:
    """What to do; the figures behind a measured statement are for people to check."""
    if hypothesis.source != "measured":
        return hypothesis.statement
    return hypothesis.statement.partition(":")[0].rstrip(".") + "."
