"""Reads the bytes of an answer to a chat request, whatever interface the server speaks, as one body in OpenAI's form.

Some servers stream although nobody asked for it, answer in Ollama's or Anthropic's own form, or report an error with
the status of success.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .bodies import tidied

__all__ = ["read_content"]

_ERROR, _BAD_GATEWAY = 500, 502
_QUOTED_CHARACTERS = 200
_ANOTHER_INTERFACE = "The server at this address does not speak OpenAI's chat interface"


def read_content(content: bytes) -> tuple[int, dict[str, Any]] | None:
    """The status that an answer should have had, and its body.

    Args:
        content: the whole body as it came, of an answer with the status of success.

    Returns:
        None where it is neither JSON nor a stream of it.
    """
    try:
        body = _parsed(content)
        if body is None:
            return None
        if said := _error(body):
            return said
        chat = _as_chat(body)
        return _no_answer(body) if chat is None else (200, tidied(chat))
    except RecursionError:
        # Nested deeper than any answer is.
        return None


def _parsed(content: bytes) -> dict[str, Any] | None:
    text = content.decode("utf-8-sig", errors="replace")
    body = _json(text)
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if body is None and "data:" in text:
        body = _assembled(text)
    return body if isinstance(body, dict) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return None


def _error(body: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """An error that says it is none; some servers send an empty one along with every answer."""
    given = body.get("error")
    error = given if isinstance(given, dict) else {"message": given}
    if body.get("choices") or not any(error.values()):
        return None
    message = error.get("message") or error.get("detail") or error
    code, kind = error.get("code"), error.get("type")
    said = {
        "message": message if isinstance(message, str) else json.dumps(message, ensure_ascii=False),
        "type": kind if isinstance(kind, str) else None,
        "code": code if isinstance(code, str) else None,
    }
    statuses = [_status(each) for each in (code, error.get("status"), body.get("status"), body.get("code"))]
    return next(filter(None, statuses), _ERROR), {"error": said}


def _status(given: Any) -> int | None:
    text = str(given)
    return int(text) if re.fullmatch("[45][0-9]{2}", text) else None


def _no_answer(body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    said = next((given for name in ("detail", "message") if isinstance(given := body.get(name), str) and given), "")
    words = f"{_ANOTHER_INTERFACE} (it says '{said[:_QUOTED_CHARACTERS]}')." if said else f"{_ANOTHER_INTERFACE}."
    return _BAD_GATEWAY, {"error": {"message": words, "type": None, "code": None}}


def _as_chat(body: dict[str, Any]) -> dict[str, Any] | None:
    """A body in the form of chat completions, from that or another interface; None where it has no answer."""
    message, content = body.get("message"), body.get("content")
    if "choices" in body:
        return body
    if isinstance(message, dict) and ("done" in body or "content" in message):
        return _chat(body, message, body.get("done_reason"), usage=body)
    if isinstance(body.get("response"), str) and "done" in body:
        return _chat(body, {"content": body["response"]}, body.get("done_reason"), usage=body)
    if isinstance(content, list) and ("stop_reason" in body or body.get("type") == "message"):
        return _chat(body, {"content": content, "tool_calls": _used_tools(content)}, body.get("stop_reason"))
    return None


def _chat(body: Mapping[str, Any], message: dict[str, Any], finish: Any, usage: Any = None) -> dict[str, Any]:
    """One answer of Ollama's, whose counts stand beside it, or of Anthropic's."""
    head = {name: body.get(name) for name in ("id", "model")}
    choices = [{"message": message, "finish_reason": finish}]
    return {**head, "choices": choices, "usage": usage or body.get("usage")}


def _used_tools(content: list[Any]) -> list[dict[str, Any]]:
    return [
        {"id": part.get("id"), "function": {"name": part.get("name"), "arguments": part.get("input")}}
        for part in content
        if isinstance(part, dict) and part.get("type") == "tool_use"
    ]


def _events(text: str) -> Iterator[dict[str, Any]]:
    """What a stream of events carries; an event may have several lines, and some servers leave out the empty ones."""
    for block in re.split(r"\n{2,}", re.sub(r"\r\n?", "\n", text)):
        lines = [line[len("data:") :].strip() for line in block.split("\n") if line.startswith("data:")]
        whole = _json("\n".join(lines))
        for event in [whole] if whole is not None else map(_json, lines):
            if isinstance(event, dict):
                yield event


def _assembled(text: str) -> dict[str, Any] | None:
    """The one body that the pieces of a stream make; None where none of them can be read."""
    chunks, last = _Chunks(), None
    for last in _events(text):
        if last.get("error"):
            return {"error": last["error"]}
        chunks.add(last)
    if chunks.has_choices or last is None:
        return chunks.body() if chunks.has_choices else None
    return last


class _Chunks:
    """The pieces of a streamed answer, of its first choice."""

    def __init__(self) -> None:
        self.has_choices = False
        self._index: Any = None
        self._head: dict[str, Any] = {}
        self._content: list[Any] = []
        self._thoughts: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._tokens: list[Any] = []
        self._whole: dict[str, Any] | None = None
        self._finish: Any = None

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take in the next piece."""
        for name in ("id", "model", "created", "usage"):
            if chunk.get(name):
                self._head[name] = chunk[name]
        choices = chunk.get("choices")
        self.has_choices = self.has_choices or isinstance(choices, list)
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict):
                self._index = choice.get("index", 0) if self._index is None else self._index
                if choice.get("index", 0) == self._index:
                    self._add_choice(choice)

    def body(self) -> dict[str, Any]:
        """The whole."""
        if self._index is None:
            return {**self._head, "choices": []}
        for call in self._calls:
            call["function"]["arguments"] = "".join(call["function"]["arguments"])
        message = self._whole or {
            "content": self._content,
            "reasoning_content": "".join(self._thoughts),
            "tool_calls": self._calls,
        }
        choice = {"message": message, "finish_reason": self._finish, "logprobs": {"content": self._tokens}}
        return {**self._head, "choices": [choice]}

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        self._finish = choice.get("finish_reason") or self._finish
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict) and isinstance(logprobs.get("content"), list):
            self._tokens += logprobs["content"]
        if isinstance(message := choice.get("message"), dict):
            self._whole = message
        delta = choice.get("delta")
        self._add_delta(delta if isinstance(delta, dict) else {"content": choice.get("text")})

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        content = delta.get("content")
        self._content += content if isinstance(content, list) else [content or ""]
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str):
            self._thoughts.append(thought)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                self._add_call(call, call["function"])

    def _add_call(self, call: Mapping[str, Any], function: Mapping[str, Any]) -> None:
        same = [each for each in self._calls[-1:] if call.get("index", each["index"]) == each["index"]]
        if not same or (call.get("id") and call["id"] != same[0]["id"]):
            begun: dict[str, Any] = {"name": function.get("name"), "arguments": []}
            self._calls.append({"index": call.get("index", 0), "id": call.get("id"), "function": begun})
        arguments = function.get("arguments")
        if arguments:
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            self._calls[-1]["function"]["arguments"].append(text)
