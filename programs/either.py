"""Puts a question that has two answers to a model, A or B unless others are named, and says how probable the first is.

Where a scorer is at hand the answers' own log-probabilities are read and nothing is written; else the model answers,
and ``answered`` reads what it wrote. A question of A or B has one order: whoever asks should ask in both. This file
knows no question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import dspy

from hyperalign.scores import Message, Scorer

from .answered import LETTERS, Either, share_of_first
from .plain import PlainAdapter
from .wishes import granted

__all__ = ["probability_of_first"]

_ALTERNATIVES = 5


def probability_of_first(
    ask: dspy.Predict,
    turns: Sequence[Message],
    *,
    answers: Either = LETTERS,
    scorer: Scorer | None = None,
    lm: dspy.LM | None = None,
) -> float:
    """Ask.

    Args:
        ask: its signature gives the instructions, from ``messages`` to one field.
        turns: the conversation, with a system turn before and the question at the end.
        answers: the two that there are, in one word or letter each.
        scorer: reads them.
        lm: answers where there is no scorer; DSPy's configured model if None.

    Returns:
        From 0 to 1; 0.5 where neither could be read.

    Raises:
        ModelOutputError: the model answered with nothing.
    """
    if scorer is not None:
        sent = PlainAdapter().format(ask.signature, ask.demos, {"messages": turns})
        context: list[Message] = [{"role": turn["role"], "content": turn["content"]} for turn in sent]
        first, second = (score.logprob for score in scorer.score(context, list(answers)))
        return 1.0 / (1.0 + math.exp(min(second - first, 700.0)))
    # Alternatives of the first token: one answer alone says only that it won, not by how much.
    offered = granted(lm or dspy.settings.lm, logprobs=True, top_logprobs=_ALTERNATIVES)
    config = {"temperature": 0.0, "max_tokens": 16, **offered}
    with dspy.context(adapter=PlainAdapter(), **({"lm": lm} if lm else {})):
        said = ask(messages=turns, config=config)
    (field,) = ask.signature.output_fields
    return share_of_first(said[field], getattr(said, "logprobs", None), answers)
