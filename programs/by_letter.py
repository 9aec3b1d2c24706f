"""Puts a question of A or B to a model, and says how probable A is.

Where a scorer is at hand the letters' own log-probabilities are read and nothing is written; else the model answers,
and ``letter`` reads what it wrote. One question has one order: whoever asks should ask in both. This file knows no
question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import dspy

from hyperalign.scores import Message, Scorer

from .letter import share_of_a
from .plain import PlainAdapter
from .wishes import granted

__all__ = ["probability_of_a"]

_ALTERNATIVES = 5


def probability_of_a(
    ask: dspy.Predict, turns: Sequence[Message], *, scorer: Scorer | None = None, lm: dspy.LM | None = None
) -> float:
    """Ask.

    Args:
        ask: its signature gives the instructions, from ``messages`` to ``letter``.
        turns: the conversation, with a system turn before and the question at the end.
        scorer: reads the letters.
        lm: answers where there is no scorer; DSPy's configured model if None.

    Returns:
        From 0 to 1; 0.5 where no letter could be read.

    Raises:
        ModelOutputError: the model answered with nothing.
    """
    if scorer is not None:
        sent = PlainAdapter().format(ask.signature, ask.demos, {"messages": turns})
        context: list[Message] = [{"role": turn["role"], "content": turn["content"]} for turn in sent]
        a, b = (score.logprob for score in scorer.score(context, ["A", "B"]))
        return 1.0 / (1.0 + math.exp(min(b - a, 700.0)))
    # Alternatives of the first token: one letter alone says only that it won, not by how much.
    offered = granted(lm or dspy.settings.lm, logprobs=True, top_logprobs=_ALTERNATIVES)
    config = {"temperature": 0.0, "max_tokens": 16, **offered}
    with dspy.context(adapter=PlainAdapter(), **({"lm": lm} if lm else {})):
        answer = ask(messages=turns, config=config)
    return share_of_a(answer.letter, getattr(answer, "logprobs", None))
