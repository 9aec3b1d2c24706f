"""Normalizes the body of an answer to the one form that LiteLLM and DSPy read, with OpenAI's fields alone.

OpenAI-compatible servers differ: content comes as null or as a list of parts, thoughts stand in a field of their own,
log-probabilities have the older form, counts are text, and unneeded fields have types that no client expects.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["BLANK", "INVISIBLE", "normalize_body", "well_formed"]

INVISIBLE = "\u200b\u200c\u200d\ufeff"
BLANK = f" \t\r\n{INVISIBLE}"

_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details")
_THOUGHT_PARTS = {"thinking", "reasoning", "redacted_thinking"}
_TEXT_FIELDS = ("text", "thinking", "reasoning", "content", "summary")
_LENGTHS = {"max_tokens", "max_output_tokens", "max_length", "model_length"}
# Names of the same count in OpenAI's two interfaces, Anthropic's and Ollama's.
_COUNTS = {
    "prompt_tokens": ("prompt_tokens", "input_tokens", "prompt_eval_count"),
    "completion_tokens": ("completion_tokens", "output_tokens", "eval_count"),
    "total_tokens": ("total_tokens",),
}
_DETAILS = {
    "prompt_tokens_details": ("prompt_tokens_details", "input_tokens_details"),
    "completion_tokens_details": ("completion_tokens_details", "output_tokens_details"),
}
_DETAILED = ("cached_tokens", "cache_write_tokens", "audio_tokens", "reasoning_tokens")
# Other names of the prompt's cached tokens.
_CACHED = ("prompt_cache_hit_tokens", "cache_read_input_tokens")
_MOST_TOKENS = 10**12
_SURROGATE = re.compile("[\ud800-\udfff]")
# In JSON: an escaped backslash, a pair of surrogates, and one alone.
_ESCAPES = re.compile(r"\\\\|\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|(\\u[dD][89a-fA-F][\da-fA-F]{2})")


def well_formed(value: Any) -> Any:
    """JSON data whose texts all have a UTF-8 form: halves of a character are joined, or replaced by U+FFFD.

    A model that stops inside an emoji leaves one half of it (a lone surrogate), which no file and no request can hold.
    In a text that is JSON itself, the half may be escaped, and come to light when the text is parsed.

    Args:
        value: text, or lists and dicts of JSON data.
    """
    if isinstance(value, str):
        if _SURROGATE.search(value):
            value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if "{" in value and "\\u" in value:
            value = _ESCAPES.sub(lambda found: "\\ufffd" if found[1] else found[0], value)
        return value
    if isinstance(value, dict):
        return {well_formed(key): well_formed(each) for key, each in value.items()}
    return [well_formed(each) for each in value] if isinstance(value, (list, tuple)) else value


def normalize_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body with at most one choice, and fields of the types that OpenAI's client expects.

    Of several choices the first one with content counts; what can't be read is omitted. All texts are ``well_formed``.
    """
    body = well_formed(body)
    choices = body.get("choices")
    given = [choices] if isinstance(choices, dict) else choices if isinstance(choices, list) else []
    found = [_choice(choice) for choice in given if isinstance(choice, dict)]
    chosen = next((choice for choice in found if _says_something(choice["message"])), found[0] if found else None)
    usage = body.get("usage")
    normal = {name: str(value) for name in ("id", "model") if isinstance(value := body.get(name), (str, int)) and value}
    return {
        **normal,
        "object": "chat.completion",
        "created": _count(body.get("created")) or 0,
        "choices": [] if chosen is None else [chosen],
        "usage": _usage(usage) if isinstance(usage, dict) else None,
    }


def _says_something(message: Mapping[str, Any]) -> bool:
    return bool((message["content"] or "").strip(BLANK) or message.get("tool_calls"))


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice.get("text") if message is None else message}
    return {
        "index": 0,
        "message": _message(message),
        "finish_reason": _finish_reason(choice.get("finish_reason")),
        "logprobs": _logprobs(choice.get("logprobs")),
    }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    aside: list[str] = []
    content = _text(message.get("content"), aside)
    thoughts = [thought for name in _THOUGHT_FIELDS if (thought := _thought(message.get(name)))]
    # LiteLLM looks for tags in the content unless this field is there.
    normal: dict[str, Any] = {
        "role": "assistant",
        "content": content,
        "reasoning_content": (thoughts[0] if thoughts else "\n".join(aside)) or None,
    }
    calls = _calls(message.get("tool_calls")) or _calls(message.get("function_call"))
    if calls:
        normal["tool_calls"] = calls
    # LiteLLM keeps what it has no field for under another name.
    kept = message.get("provider_specific_fields")
    refusal = message.get("refusal") or (kept.get("refusal") if isinstance(kept, dict) else None)
    if refusal and isinstance(refusal, str):
        normal["refusal"] = refusal
    return normal


def _finish_reason(given: Any) -> str | None:
    """Why an answer ended; some servers put it into a list or an object."""
    while isinstance(given, (list, dict)):
        given = given.get("type") or given.get("reason") if isinstance(given, dict) else next(iter(given), None)
    if not isinstance(given, str):
        return None
    return "length" if given.lower() in _LENGTHS else given


def _calls(given: Any) -> list[dict[str, Any]]:
    """Tool calls with their arguments as text; some servers give an object."""
    found = []
    for number, call in enumerate(given if isinstance(given, list) else [given]):
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not ("name" in function or "arguments" in function):
            continue
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        called = {"name": str(function.get("name") or "function"), "arguments": text}
        found.append({"id": str(call.get("id") or f"call_{number}"), "type": "function", "function": called})
    return found


def _text(content: Any, thoughts: list[str]) -> str | None:
    """Content as one text; parts that are thoughts are put aside."""
    if content is None or content == {} or isinstance(content, str):
        return content or None
    if isinstance(content, list):
        return "".join(_part(part, thoughts) for part in content)
    if isinstance(content, dict) and "text" in content:
        return _part(content, thoughts)
    return json.dumps(content, ensure_ascii=False)


def _part(part: Any, thoughts: list[str]) -> str:
    if not isinstance(part, dict):
        return "" if part is None else str(part)
    kind = str(part.get("type", "text"))
    if kind in _THOUGHT_PARTS:
        thoughts.append(_thought(part.get(kind) or part.get("text")))
        return ""
    text = part.get("text")
    # OpenAI's older interfaces put the text one level deeper.
    return str(text.get("value", "")) if isinstance(text, dict) else str(text or "")


def _thought(given: Any) -> str:
    """Thoughts as one text, from whatever a server puts there."""
    if isinstance(given, list):
        return "\n".join(filter(None, map(_thought, given)))
    if isinstance(given, dict) and given:
        name = next((name for name in _TEXT_FIELDS if given.get(name)), None)
        return json.dumps(given, ensure_ascii=False) if name is None else _thought(given[name])
    return given if isinstance(given, str) else ""


def _logprobs(given: Any) -> dict[str, Any] | None:
    """Log-probabilities of the generated tokens in the form of chat completions; None if there are none."""
    if isinstance(given, dict) and isinstance(given.get("tokens"), list):
        given = _convert_logprobs(given)
    elif isinstance(given, dict):
        given = given.get("content")
    tokens = [_token(each) for each in given] if isinstance(given, list) else []
    found = [token for token in tokens if token is not None]
    # Where one can't be read, the others would stand at the wrong place.
    return {"content": found} if found and len(found) == len(tokens) else None


def _convert_logprobs(given: Mapping[str, Any]) -> list[dict[str, Any]]:
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
    """Token counts as whole numbers; None if neither side is known."""
    found = {name: list(_counts_of(usage, others).values()) for name, others in _COUNTS.items()}
    counts: dict[str, Any] = {name: given[0] for name, given in found.items() if given}
    if not (counts.get("prompt_tokens") or counts.get("completion_tokens")):
        return None
    counts.setdefault("prompt_tokens", 0)
    counts.setdefault("completion_tokens", 0)
    counts.setdefault("total_tokens", counts["prompt_tokens"] + counts["completion_tokens"])
    for name, others in _DETAILS.items():
        details = next((given for other in others if isinstance(given := usage.get(other), dict)), {})
        counts[name] = _counts_of(details, _DETAILED)
    if cached := list(_counts_of(usage, _CACHED).values()):
        counts["prompt_tokens_details"].setdefault("cached_tokens", cached[0])
    return counts


def _counts_of(given: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, int]:
    return {name: count for name in names if (count := _count(given.get(name))) is not None}


def _count(given: Any) -> int | None:
    """A number of tokens, also if given as text; None for anything else."""
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        return None
    try:
        count = float(given)
    except (ValueError, OverflowError):
        return None
    return int(count) if 0 <= count <= _MOST_TOKENS else None
