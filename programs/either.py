"""Puts a question that has two answers to a model, A or B unless others are named, and says how probable the first is.

Where a scorer is at hand the answers' own log-probabilities are read and nothing is written; else the model answers,
and ``answered`` reads what it wrote. A question of A or B has one order: whoever asks should ask in both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import dspy

from hyperalign.errors import ModelOutputError
from hyperalign.scores import Message, Scorer

from .answered import shares_of_first
from .asking import Ask, Steps, Work, finished
from .dspy_internals import AdapterParseError
from .plain import PlainAdapter, Render
from .tally import count_answer
from .verdicts import LETTERS, Either

__all__ = ["asked_for_first", "probability_of_first"]

_ALTERNATIVES = 5
_UNDECIDED = 0.5


def probability_of_first(
    ask: dspy.Predict,
    inputs: Mapping[str, Any],
    *,
    render: Render,
    answers: Either = LETTERS,
    scorer: Scorer | None = None,
    lm: dspy.LM | None = None,
) -> float:
    """Ask.

    Args:
        ask: its signature gives the instructions, and has one output field.
        inputs: the signature's, by name.
        render: makes the conversation of them, with a system turn before and the question at the end.
        answers: the two that there are, in one word or letter each.
        scorer: reads them.
        lm: answers where there is no scorer and ``ask`` has no model of its own; DSPy's configured model if None.

    Returns:
        From 0 to 1; 0.5 where neither could be read, which is counted (``tally.tally_answers``).

    Raises:
        UnusableAnswersError: most answers around the caller could not be used.
    """
    return finished(asked_for_first(ask, inputs, render=render, answers=answers, scorer=scorer, lm=lm))


def asked_for_first(
    ask: dspy.Predict,
    inputs: Mapping[str, Any],
    *,
    render: Render,
    answers: Either = LETTERS,
    scorer: Scorer | None = None,
    lm: dspy.LM | None = None,
) -> Steps[float]:
    """The same as steps, for modules that ask more than this."""
    adapter = PlainAdapter(render)
    if scorer is not None:
        sent = adapter.format(ask.signature, ask.demos, dict(inputs))
        context: list[Message] = [{"role": turn["role"], "content": turn["content"]} for turn in sent]
        scores = yield Work(lambda: scorer.score(context, list(answers)))
        first, second = (score.logprob for score in scores)
        return 1.0 / (1.0 + math.exp(min(second - first, 700.0)))
    # Alternatives of the first token: one answer alone says only that it won, not by how much.
    config = {"temperature": 0.0, "max_tokens": 16, "logprobs": True, "top_logprobs": _ALTERNATIVES}
    # A letter is no answer to show to whoever streams.
    settings = {"adapter": adapter, "send_stream": None, **({"lm": lm} if lm else {})}
    try:
        said = yield Ask(ask, {**inputs, "config": config}, settings)
    except (AdapterParseError, ModelOutputError) as error:
        count_answer(False, error.message if isinstance(error, ModelOutputError) else "")
        return _UNDECIDED
    (field,) = ask.signature.output_fields
    (share,) = shares_of_first(said[field], 1, getattr(said, "logprobs", None), answers)
    count_answer(share not in (None, _UNDECIDED), said[field])
    return _UNDECIDED if share is None else share
