"""Puts several questions of A or B in one call, and asks once more about those whose answer cannot be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy

from hyperalign.errors import ModelOutputError

from .answered import shares_of_first
from .asking import Ask, Steps
from .dspy_internals import AdapterParseError
from .plain import PlainAdapter, Render
from .tally import check_answers, count_answer

__all__ = ["ANSWER_LINES", "Questions", "asked_for_several", "chunks"]

ANSWER_LINES = 'Answer with {count} lines, such as "1: A" or "1: B".'
"""The end of a question that asks for several answers."""

Questions = Callable[[Sequence[int]], Mapping[str, Any]]
"""A signature's inputs that put some of several questions, which are given by number from 0."""

_ALTERNATIVES = 5
_UNDECIDED = 0.5
_TOKENS = 16
_TOKENS_EACH = 12


def asked_for_several(
    ask: dspy.Predict, questions: Questions, count: int, *, render: Render, lm: dspy.LM | None = None
) -> Steps[list[float]]:
    """Ask several questions at once, and those whose answer could not be read once more, in a smaller call.

    Args:
        ask: its signature gives the instructions, and has one output field.
        questions: puts some of the questions, each of which is answered with A or B.
        count: how many there are.
        render: makes the conversation of the signature's inputs.
        lm: the model, where ``ask`` has none of its own; DSPy's configured one if None.

    Returns:
        The probability of A, one a question; 0.5 where the model did not decide or could not be read, which is counted
        (``tally.tally_answers``).

    Raises:
        UnusableAnswersError: most answers around the caller could not be used.
    """
    settings = {"adapter": PlainAdapter(render), "send_stream": None, **({"lm": lm} if lm else {})}
    found = yield from _asked(ask, questions(range(count)), count, settings)
    for some in _once_more([number for number, share in enumerate(found) if share is None], count):
        known = yield from _asked(ask, questions(some), len(some), settings, again=True)
        for number, share in zip(some, known, strict=True):
            found[number] = share
    return [_UNDECIDED if share is None else share for share in found]


def chunks(items: Sequence[int], size: int) -> list[list[int]]:
    """Items in order, in as few parts as hold at most ``size`` each, of nearly the same length."""
    parts = -(-len(items) // size)
    bounds = [len(items) * at // max(1, parts) for at in range(parts + 1)]
    return [list(items[start:end]) for start, end in itertools.pairwise(bounds)]


def _once_more(still_open: Sequence[int], count: int) -> list[list[int]]:
    """What to ask in smaller calls: the same call again would most likely be answered in the same way."""
    if len(still_open) < count:
        return [list(still_open)] if still_open else []
    return chunks(still_open, -(-count // 2)) if count > 1 else []


def _asked(
    ask: dspy.Predict, inputs: Mapping[str, Any], count: int, settings: Mapping[str, Any], *, again: bool = False
) -> Steps[list[float | None]]:
    config = {
        "temperature": 0.0,
        "max_tokens": _TOKENS if count == 1 else _TOKENS + _TOKENS_EACH * count,
        # Alternatives of a token: one answer alone says only that it won, not by how much.
        "logprobs": True,
        "top_logprobs": _ALTERNATIVES,
    }
    check_answers()
    try:
        answer = yield Ask(ask, {**inputs, "config": config}, settings)
    except (AdapterParseError, ModelOutputError) as error:
        # One silence among many questions decides nothing, and ends nothing.
        said = error.message if isinstance(error, ModelOutputError) else ""
        count_answer(False, said, asked=0 if again else count, undecided=0 if again else count)
        return [None] * count
    (field,) = ask.signature.output_fields
    said = answer[field]
    shares = shares_of_first(said, count, getattr(answer, "logprobs", None))
    undecided = sum(share is None or share == _UNDECIDED for share in shares)
    if again:
        # All of them were counted as open before.
        count_answer(2 * undecided <= count, said, asked=0, undecided=undecided - count)
    else:
        count_answer(2 * undecided <= count, said, asked=count, undecided=undecided)
    return shares
