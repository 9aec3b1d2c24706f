"""Reads what a server answered, in whichever of the usual shapes it comes: text, log-probabilities, usage.

Servers that speak OpenAI's wire differ: content comes as null, as a list of parts or as the arguments of a tool,
thoughts stand before the answer between tags, log-probabilities have the older form, usage is missing. ``tidied``
brings a body to the one form that LiteLLM and DSPy read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Reply", "ThoughtFilter", "guessed_tokens", "read_reply", "tidied"]

_CHARACTERS_PER_TOKEN = 4
_TAGS = {"<think>": "</think>", "<|channel|>": "<|channel|>final<|message|>"}
# Only the first is written by models alone; of the others a text may tell, unless they stand on lines of their own.
_THOUGHTS = re.compile(
    r"\A\s*<(?:think>.*?</think>\s*|(thinking|thought|thoughts|reasoning)>.*?</\1>[ \t]*\n\s*)",
    re.DOTALL | re.IGNORECASE,
)
# Some chat templates open the tag in the prompt, so that an answer only closes it, on a line of its own.
_CLOSED = re.compile(
    r"\A(?:(?!<think>).)*?(?:^[ \t]*</think>\s*|</think>[ \t]*\n\s*)", re.DOTALL | re.IGNORECASE | re.MULTILINE
)
_UNCLOSED = re.compile(r"\A\s*<think>", re.IGNORECASE)
_CHANNELS = re.compile(r"\A\s*<\|channel\|>.*<\|channel\|>final<\|message\|>", re.DOTALL)
_END_OF_TURN = re.compile(
    r"(?:\s*(?:</s>|<\|im_end\|>|<\|eot_id\|>|<\|endoftext\|>|<end_of_turn>|<\|return\|>|<\|end\|>))+\s*\Z"
)


class Reply(dict[str, Any]):
    """The body of an answer in OpenAI's form, and what was seen on the way.

    Attributes:
        text: what is said, without thoughts.
        thought: whether the model thought before it answered, or instead.
        reason: why it ended, in the server's word.
        refusal: what it said instead of an answer.
    """

    text: str = ""
    thought: bool = False
    reason: str = ""
    refusal: str = ""


def read_reply(body: Mapping[str, Any], *, wants_tools: bool = False) -> Reply:
    """Read the body of a whole answer.

    Args:
        body: as LiteLLM gives it, or the server.
        wants_tools: tools were offered, so that calls of them are an answer of their own.

    Returns:
        The same in OpenAI's form, with ``choices[0].message.content`` as text.
    """
    reply = Reply(tidied(body))
    if not reply["choices"]:
        return reply
    choice = reply["choices"][0]
    message = choice["message"]
    apart = bool(message.get("reasoning_content") or message.get("reasoning"))
    # Where thoughts come apart, the text is the answer as it is.
    text, thought = (
        (str(message.get("content") or "").lstrip(), True) if apart else _split_thoughts(message.get("content") or "")
    )
    if not text and not wants_tools:
        text = _tool_arguments(message)
        message.pop("tool_calls", None)
        message.pop("function_call", None)
    message["content"] = text
    choice["logprobs"] = _aligned(choice["logprobs"], text)
    reply.text = text
    reply.thought = thought
    reply.reason = str(choice.get("finish_reason") or "")
    # LiteLLM keeps what it has no field for under another name.
    reply.refusal = str(message.get("refusal") or (message.get("provider_specific_fields") or {}).get("refusal") or "")
    return reply


def tidied(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body whose parts have the types that OpenAI's client expects; what can't be read is left out."""
    tidy = dict(body)
    choices = tidy.get("choices")
    tidy["choices"] = [_choice(each) for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []
    usage = tidy.get("usage")
    tidy["usage"] = _usage(usage) if isinstance(usage, dict) else None
    return tidy


class ThoughtFilter:
    """Takes what was thought before an answer, between tags, out of a text that comes piece by piece."""

    def __init__(self) -> None:
        self._held = ""
        self._closing = ""
        self._is_text = False

    def feed(self, piece: str) -> str:
        """What may be shown once this piece has come."""
        if self._is_text:
            return piece
        self._held += piece
        if not self._closing:
            start = self._held.lstrip()
            self._closing = next((end for tag, end in _TAGS.items() if start.lower().startswith(tag)), "")
            if not self._closing:
                if any(tag.startswith(start.lower()) for tag in _TAGS):
                    return ""
                return self._let_go(self._held)
        _, found, text = self._held.partition(self._closing)
        if not found:
            # Only an end that is not whole yet matters of what was thought.
            self._held = self._held[-len(self._closing) :]
            return ""
        if not text.strip():
            self._held = found
            return ""
        return self._let_go(text.lstrip())

    def flush(self) -> str:
        """What is left at the end."""
        return "" if self._is_text or self._closing else self._let_go(self._held)

    def _let_go(self, text: str) -> str:
        self._held, self._is_text = "", True
        return text


def guessed_tokens(text: str) -> int:
    """About how many tokens a text has, where a server does not say."""
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    message = dict(message) if isinstance(message, dict) else {"content": choice.get("text")}
    thoughts: list[str] = []
    message["content"] = _text(message.get("content"), thoughts)
    if thoughts and not message.get("reasoning_content"):
        message["reasoning_content"] = "\n".join(thoughts)
    message.setdefault("role", "assistant")
    if isinstance(calls := message.get("tool_calls"), list):
        message["tool_calls"] = [_call(call) for call in calls if isinstance(call, dict)]
    tidy = {**choice, "message": message, "logprobs": _logprobs(choice.get("logprobs"))}
    if str(choice.get("finish_reason")).lower() in {"max_tokens", "max_output_tokens", "model_length"}:
        tidy["finish_reason"] = "length"
    tidy.pop("text", None)
    return tidy


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """A call of a tool with its arguments as text, which some servers give as an object."""
    function = call.get("function")
    if not isinstance(function, dict) or isinstance(given := function.get("arguments"), str):
        return call
    return {**call, "function": {**function, "arguments": json.dumps(given or {}, ensure_ascii=False)}}


def _text(content: Any, thoughts: list[str]) -> str | None:
    """Content as one text; parts that are thoughts are put aside."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_part(part, thoughts) for part in content)
    if isinstance(content, dict) and "text" in content:
        return _part(content, thoughts)
    return json.dumps(content, ensure_ascii=False)


def _part(part: Any, thoughts: list[str]) -> str:
    if not isinstance(part, dict):
        return str(part)
    kind = str(part.get("type", "text"))
    if kind in {"thinking", "reasoning", "redacted_thinking"}:
        thoughts.append(_text(part.get(kind) or part.get("text") or "", []) or "")
        return ""
    text = part.get("text")
    # The Responses interface puts the text one level deeper.
    return str(text.get("value", "")) if isinstance(text, dict) else str(text or "")


def _split_thoughts(text: str) -> tuple[str, bool]:
    """A text without what was thought before it, and whether anything was."""
    for pattern in (_THOUGHTS, _CHANNELS, _CLOSED):
        if match := pattern.match(text):
            return _split_thoughts(text[match.end() :])[0], True
    if _UNCLOSED.match(text) or text.lstrip().startswith("<|channel|>"):
        return "", True
    # A text that has an opening tag of the kind means its closing one.
    return text if "<s>" in text else _END_OF_TURN.sub("", text), False


def _tool_arguments(message: Mapping[str, Any]) -> str:
    """What an answer says that comes as the call of a tool which nobody offered."""
    calls = message.get("tool_calls") or []
    called = [call.get("function") for call in calls if isinstance(call, dict)] or [message.get("function_call")]
    given = called[0].get("arguments") if len(called) == 1 and isinstance(called[0], dict) else None
    return given if isinstance(given, str) else "" if given is None else json.dumps(given, ensure_ascii=False)


def _logprobs(given: Any) -> dict[str, Any] | None:
    """Log-probabilities of the written tokens in the form of chat completions; None where there are none to be read."""
    if isinstance(given, dict) and isinstance(given.get("tokens"), list):
        given = _older_logprobs(given)
    elif isinstance(given, dict):
        given = given.get("content")
    tokens = [_token(each) for each in given] if isinstance(given, list) else []
    found = [token for token in tokens if token is not None]
    # Where one can't be read, the others would stand at the wrong place.
    return {"content": found} if found and len(found) == len(tokens) else None


def _aligned(logprobs: dict[str, Any] | None, text: str) -> dict[str, Any] | None:
    """Those of the text alone, where a server gives those of the thoughts, too; None where it can't be told."""
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


def _older_logprobs(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    tokens = given["tokens"]
    own = given.get("token_logprobs") or [None] * len(tokens)
    tops = given.get("top_logprobs") or [None] * len(tokens)
    return [
        {"token": token, "logprob": nats, "top_logprobs": top}
        for token, nats, top in zip(tokens, own, tops, strict=False)
    ]


def _token(given: Any) -> dict[str, Any] | None:
    if not isinstance(given, dict) or not isinstance(given.get("token"), str) or not _is_nats(given.get("logprob")):
        return None
    tops = given.get("top_logprobs")
    if isinstance(tops, dict):
        tops = [{"token": token, "logprob": nats} for token, nats in tops.items()]
    alternatives = (
        [_token({**top, "top_logprobs": []}) for top in tops if isinstance(top, dict)] if isinstance(tops, list) else []
    )
    return {
        "token": given["token"],
        "logprob": float(given["logprob"]),
        "bytes": given.get("bytes") if isinstance(given.get("bytes"), list) else None,
        "top_logprobs": [each for each in alternatives if each is not None],
    }


def _is_nats(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value) and value <= 1e-6


def _usage(usage: dict[str, Any]) -> dict[str, Any] | None:
    """What was used, with whole numbers; None where neither side is known."""
    counts = {
        name: int(value)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        if isinstance(value := usage.get(name), (int, float)) and not isinstance(value, bool) and value >= 0
    }
    if not (counts.get("prompt_tokens") or counts.get("completion_tokens")):
        return None
    counts.setdefault("prompt_tokens", 0)
    counts.setdefault("completion_tokens", 0)
    counts.setdefault("total_tokens", counts["prompt_tokens"] + counts["completion_tokens"])
    details = {name: value for name, value in usage.items() if name.endswith("_details") and isinstance(value, dict)}
    return {**usage, **details, **counts}
