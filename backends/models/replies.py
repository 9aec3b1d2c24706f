"""Reads what a server answered: its text without the thoughts before it, and why it ended.

Thoughts stand before an answer between marks, which differ by model, and an answer may come as the arguments of a tool.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .bodies import BLANK, INVISIBLE, normalize_body, well_formed

__all__ = ["Reply", "ThoughtFilter", "estimate_tokens", "note_truncated", "read_reply", "truncated"]

_truncated: ContextVar[list[str] | None] = ContextVar("truncated", default=None)
_CHARACTERS_PER_TOKEN = 4
# How a thought begins and ends; in lower case where models write either.
_MARKS = {
    "<think>": "</think>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|channel>thought": "<channel|>",
    "<|channel|>": "<|channel|>final<|message|>",
}
_LINED_MARKS = ("<think>", "<seed:think>", "[THINK]", "◁think▷")


def _either_case(*marks: str) -> str:
    return "|".join(f"(?i:{re.escape(mark)})" if mark.islower() else re.escape(mark) for mark in marks)


_OPENING = re.compile(rf"[\s{BLANK}]*({_either_case(*_MARKS)})")
_CLOSINGS = {mark: re.compile(_either_case(end)) for mark, end in _MARKS.items()}
_LONGEST_MARK = max(map(len, (*_MARKS, *_MARKS.values())))
# A text may be about these tags, unless they stand on lines of their own.
_LINED_THOUGHT = re.compile(r"\s*<(thinking|thought|thoughts|reasoning)>.*?</\1>[ \t]*\n", re.DOTALL | re.IGNORECASE)
# Some chat templates open the tag in the prompt, so that an answer only closes it, on a line of its own.
_LINED_OPENING = re.compile(_either_case(*_LINED_MARKS))
_LINED_ENDS = _either_case(*(_MARKS[mark] for mark in _LINED_MARKS))
_LINED_CLOSING = re.compile(rf"^[ \t]*(?:{_LINED_ENDS})|(?:{_LINED_ENDS})[ \t]*\n", re.MULTILINE)
_ENDS_OF_TURN = ("</s>", "<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>", "<|return|>", "<|end|>")


@contextmanager
def truncated() -> Iterator[list[str]]:
    """Collect the truncated answers of calls made inside, in the same thread or task, without space around them.

    DSPy hands on an answer's text, and not that it stopped at its length.
    """
    found: list[str] = []
    token = _truncated.set(found)
    try:
        yield found
    finally:
        _truncated.reset(token)


def note_truncated(text: str) -> None:
    """Report an answer that stopped at its length to those who collect them."""
    if (found := _truncated.get()) is not None:
        found.append(text.strip())


class Reply(dict[str, Any]):
    """The body of an answer in OpenAI's form, and what was found in it.

    Attributes:
        text: the answer, without thoughts.
        thought: whether the model thought before it answered, or instead.
        reason: why it ended, in the server's own term.
        refusal: the message that it gave instead of an answer.
    """

    text: str = ""
    thought: bool = False
    reason: str = ""
    refusal: str = ""


def read_reply(body: Mapping[str, Any], *, wants_tools: bool = False) -> Reply:
    """Read the body of a whole answer.

    Args:
        body: from LiteLLM or the server.
        wants_tools: whether tools were offered, so that calls of them are an answer.

    Returns:
        The same in OpenAI's form, with ``choices[0].message.content`` as text.
    """
    reply = Reply(normalize_body(body))
    if not reply["choices"]:
        return reply
    choice = reply["choices"][0]
    message = choice["message"]
    content = message["content"] or ""
    # Where thoughts come apart, the text is the answer as it is.
    text, thought = (content.lstrip(), True) if message["reasoning_content"] else _split_thoughts(content)
    text = _visible(text)
    if not text and not wants_tools:
        text = _tool_arguments(message)
        message.pop("tool_calls", None)
    message["content"] = text
    choice["logprobs"] = _align_logprobs(choice["logprobs"], text)
    reply.text = text
    reply.thought = thought
    reply.reason = choice["finish_reason"] or ""
    reply.refusal = message.pop("refusal", "")
    return reply


class ThoughtFilter:
    """Removes the thoughts before an answer, between marks, from a text that comes piece by piece."""

    def __init__(self) -> None:
        self._held = self._half = ""
        self._closing: re.Pattern[str] | None = None
        self._is_text = False
        self._thought = False

    def feed(self, piece: str) -> str:
        """What may be shown once this piece has come."""
        piece = self._half + piece
        # Half of a character: the other half may come next.
        self._half = piece[-1:] if "\ud800" <= piece[-1:] <= "\udbff" else ""
        piece = well_formed(piece[: len(piece) - len(self._half)])
        if self._is_text:
            return piece
        self._held += piece
        while self._closing is not None or (opening := _OPENING.match(self._held)):
            if self._closing is None and opening:
                self._closing, self._held = _closing(opening), self._held[opening.start(1) :]
            found = self._closing.search(self._held) if self._closing else None
            if not found:
                # Only an end that is not whole yet matters of what was thought.
                self._held = self._held[-_LONGEST_MARK:]
                return ""
            self._held, self._closing, self._thought = self._held[found.end() :], None, True
        start = self._held.lstrip(BLANK)
        return "" if any(mark.startswith((start, start.lower())) for mark in _MARKS) else self._let_go()

    def flush(self) -> str:
        """What is left at the end."""
        return "" if self._is_text or self._closing else self._let_go()

    def _let_go(self) -> str:
        text = self._held.lstrip(BLANK) if self._thought else _visible(self._held)
        self._held, self._is_text = "", True
        return text


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _split_thoughts(text: str) -> tuple[str, bool]:
    """A text without what was thought before it, and whether anything was."""
    at = 0
    while (end := _end_of_thought(text, at)) > at:
        at = end
    if end < 0:
        return "", True
    if closing := _LINED_CLOSING.search(text, at):
        opening = _LINED_OPENING.search(text, at, closing.start())
        at = at if opening else closing.end()
    return _without_end(text[at:].lstrip(BLANK) if at else text), at > 0


def _end_of_thought(text: str, at: int) -> int:
    """Where the thought ends that begins here: here if none does, and below zero if it never ends."""
    if opening := _OPENING.match(text, at):
        closing = _closing(opening).search(text, opening.start(1))
        return closing.end() if closing else -1
    lined = _LINED_THOUGHT.match(text, at)
    return lined.end() if lined else at


def _closing(opening: re.Match[str]) -> re.Pattern[str]:
    mark = opening.group(1)
    return _CLOSINGS.get(mark) or _CLOSINGS[mark.lower()]


def _without_end(text: str) -> str:
    """A text without the marks of the end of a turn; one that has an opening tag of the kind means its closing one."""
    end = len(text.rstrip())
    if "<s>" in text or not text.endswith(_ENDS_OF_TURN, 0, end):
        return text
    while mark := next((mark for mark in _ENDS_OF_TURN if text.endswith(mark, 0, end)), ""):
        end -= len(mark)
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end]


def _visible(text: str) -> str:
    """A text without invisible characters at its ends, and the white space among them."""
    start, end = len(text) - len(text.lstrip(BLANK)), len(text.rstrip(BLANK))
    if any(mark in text[end:] for mark in INVISIBLE):
        text = text[:end]
    return text[start:] if any(mark in text[:start] for mark in INVISIBLE) else text


def _tool_arguments(message: Mapping[str, Any]) -> str:
    """The answer that comes as the call of a tool that was not offered."""
    calls = message.get("tool_calls", [])
    return str(calls[0]["function"]["arguments"]) if len(calls) == 1 else ""


def _align_logprobs(logprobs: dict[str, Any] | None, text: str) -> dict[str, Any] | None:
    """The log-probabilities of the text alone, without those of thoughts; None if they can't be told apart."""
    if logprobs is None:
        return None
    tokens = logprobs["content"]
    whole = "".join(token["token"] for token in tokens)
    at = whole.rfind(text.strip())
    if at < 0 or not text.strip():
        return None
    offset, kept = 0, []
    for token in tokens:
        offset += len(token["token"])
        if offset > at:
            kept.append(token)
    return {**logprobs, "content": kept}
