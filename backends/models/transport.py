"""HTTP clients that normalize whole answers before LiteLLM reads them.

LiteLLM refuses content that is a list of parts and choices that are null, and some servers stream unasked, answer in
Ollama's or Anthropic's own form, or report an error with the status of success. Streams that were asked for, errors and
everything else pass as they are.
"""

from __future__ import annotations

import json
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from .bodies import normalize_body

__all__ = ["Clients", "environment_base", "read_content"]

_ERROR, _BAD_GATEWAY = 500, 502
_QUOTED_CHARACTERS = 200
_ANOTHER_INTERFACE = "The server at this address does not speak OpenAI's chat interface"


def read_content(content: bytes) -> tuple[int, dict[str, Any]] | None:
    """The status that a successful answer should have had, and its normalized body; None if it holds no JSON.

    Args:
        content: the whole body as it came.
    """
    try:
        body = _parsed(content)
        if body is None:
            return None
        if said := _error(body):
            return said
        chat = _as_chat(body)
        return _no_answer(body) if chat is None else (200, normalize_body(chat))
    except RecursionError:
        # Nested deeper than any answer is.
        return None


def _parsed(content: bytes) -> dict[str, Any] | None:
    text = content.decode("utf-8-sig", errors="replace")
    body = _json(text)
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if body is None and "data:" in text:
        body = _assemble(text)
    return body if isinstance(body, dict) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return None


def _error(body: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
    """An error sent with the status of success; some servers send an empty one along with every answer."""
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
    """A body in the form of chat completions, from that or another interface; None if it holds no answer."""
    message, content = body.get("message"), body.get("content")
    if "choices" in body:
        return body
    if isinstance(message, dict) and ("done" in body or "content" in message):
        return _chat(body, message, body.get("done_reason"), usage=body)
    if isinstance(body.get("response"), str) and "done" in body:
        return _chat(body, {"content": body["response"]}, body.get("done_reason"), usage=body)
    if isinstance(content, list) and ("stop_reason" in body or body.get("type") == "message"):
        return _chat(body, {"content": content, "tool_calls": _tool_calls(content)}, body.get("stop_reason"))
    return None


def _chat(body: Mapping[str, Any], message: dict[str, Any], finish: Any, usage: Any = None) -> dict[str, Any]:
    """One answer of Ollama's, whose counts stand beside it, or of Anthropic's."""
    head = {name: body.get(name) for name in ("id", "model")}
    choices = [{"message": message, "finish_reason": finish}]
    return {**head, "choices": choices, "usage": usage or body.get("usage")}


def _tool_calls(content: list[Any]) -> list[dict[str, Any]]:
    return [
        {"id": part.get("id"), "function": {"name": part.get("name"), "arguments": part.get("input")}}
        for part in content
        if isinstance(part, dict) and part.get("type") == "tool_use"
    ]


def _events(text: str) -> Iterator[dict[str, Any]]:
    """The bodies in a stream of events; an event may have several lines, and some servers omit the empty ones."""
    for block in re.split(r"\n{2,}", re.sub(r"\r\n?", "\n", text)):
        lines = [line[len("data:") :].strip() for line in block.split("\n") if line.startswith("data:")]
        whole = _json("\n".join(lines))
        for event in [whole] if whole is not None else map(_json, lines):
            if isinstance(event, dict):
                yield event


def _assemble(text: str) -> dict[str, Any] | None:
    """The body that the chunks of a stream make; None if none of them can be read."""
    chunks, last = _Chunks(), None
    for last in _events(text):
        if last.get("error"):
            return {"error": last["error"]}
        chunks.add(last)
    if chunks.has_choices or last is None:
        return chunks.body() if chunks.has_choices else None
    return last


class _Chunks:
    """The chunks of a streamed answer's first choice."""

    def __init__(self) -> None:
        self.has_choices = False
        self._index: Any = None
        self._head: dict[str, Any] = {}
        self._content: list[Any] = []
        self._thoughts: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._tokens: list[Any] = []
        self._whole: dict[str, Any] | None = None
        self._finish_reason: Any = None

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Add the next chunk."""
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
        """The whole answer."""
        if self._index is None:
            return {**self._head, "choices": []}
        for call in self._calls:
            call["function"]["arguments"] = "".join(call["function"]["arguments"])
        message = self._whole or {
            "content": self._content,
            "reasoning_content": "".join(self._thoughts),
            "tool_calls": self._calls,
        }
        choice = {"message": message, "finish_reason": self._finish_reason, "logprobs": {"content": self._tokens}}
        return {**self._head, "choices": [choice]}

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
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


_NO_LIMIT = httpx.Limits(max_connections=None, max_keepalive_connections=32)
_NOT_KEPT = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_CONNECT_SECONDS = 10.0
_BAD_REQUEST = 400


class Clients:
    """The HTTP clients of one model, kept so that connections are used again.

    Args:
        provider: LiteLLM's name of the provider; all but OpenAI-compatible servers use LiteLLM's own clients.
        timeout: seconds to wait for an answer.
        sending: waits until a request may be sent, and is left when it is answered.
    """

    def __init__(
        self, provider: str, timeout: float, sending: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._provider = provider
        self._sending = sending
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        self._lock = threading.Lock()
        self._plain: dict[tuple[str, str], Any] = {}
        self._direct: dict[str, bool] = {}
        weakref.finalize(self, _close_clients, self._plain)
        # Asynchronous connections belong to the event loop that made them.
        self._by_loop: weakref.WeakKeyDictionary[Any, dict[tuple[str, str], Any]] = weakref.WeakKeyDictionary()

    def hold_back(self, base: str | None) -> bool:
        """Whether ordinary requests to an address wait for ``sending``: those by a client of ours do."""
        base = base or environment_base(self._provider)
        if base is None or self._provider not in ("openai", "hosted_vllm"):
            return False
        if base not in self._direct:
            # To ask the environment takes as long as to write the request.
            self._direct[base] = not _is_behind_proxy(base)
        return self._direct[base]

    def client(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """LiteLLM's argument for an ordinary call: none, or the client.

        Args:
            options: the address and key of the call, as LiteLLM takes them.
        """
        with self._lock:
            return self._client_for(self._plain, options, asynchronous=False)

    def async_client(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The same for a call in the running event loop."""
        import asyncio

        with self._lock:
            for loop in [loop for loop in self._by_loop if loop.is_closed()]:
                del self._by_loop[loop]
            kept = self._by_loop.setdefault(asyncio.get_running_loop(), {})
            return self._client_for(kept, options, asynchronous=True)

    def _client_for(
        self, kept: dict[tuple[str, str], Any], options: Mapping[str, Any], *, asynchronous: bool
    ) -> dict[str, Any]:
        base, key = options.get("api_base") or environment_base(self._provider), options.get("api_key")
        if base is None:
            return {}
        name = (base, key or "")
        if name not in kept:
            kept[name] = None if _is_behind_proxy(base) else self._make_client(base, key, asynchronous=asynchronous)
        return {"client": kept[name]} if kept[name] is not None else {}

    def _make_client(self, base: str, key: str | None, *, asynchronous: bool) -> Any:
        if self._provider == "openai":
            import litellm
            import openai

            # In LiteLLM's order; the client library wants a key even where the server does not.
            found = key or litellm.api_key or litellm.openai_key or os.environ.get("OPENAI_API_KEY") or "none"
            shared: dict[str, Any] = {"api_key": found, "base_url": base, "max_retries": 0}
            if asynchronous:
                client = httpx.AsyncClient(transport=_AsyncNormalizingTransport(), timeout=self._timeout)
                return openai.AsyncOpenAI(**shared, http_client=client)
            return openai.OpenAI(**shared, http_client=self._http_client())
        if self._provider == "hosted_vllm" and not asynchronous:
            from litellm.llms.custom_httpx.http_handler import HTTPHandler

            return HTTPHandler(client=self._http_client())
        return None

    def _http_client(self) -> httpx.Client:
        return httpx.Client(transport=_NormalizingTransport(self._sending), timeout=self._timeout)


def environment_base(provider: str) -> str | None:
    """The address that the environment sets for a provider, in place of the provider's own."""
    if provider != "openai":
        return None
    return os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")


def _close_clients(kept: dict[tuple[str, str], Any]) -> None:
    for client in kept.values():
        if client is not None:
            client.close()


class _NormalizingTransport(httpx.HTTPTransport):
    """Normalizes whole answers as they arrive."""

    def __init__(self, sending: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__(verify=_certificates(), limits=_NO_LIMIT)
        self._sending = sending

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._sending():
            response = super().handle_request(request)
            if not _is_whole_answer(request, response):
                return response
            try:
                content = response.read()
            finally:
                response.close()
        return _normalize_response(response, content)


class _AsyncNormalizingTransport(httpx.AsyncHTTPTransport):
    """The same, asynchronously."""

    def __init__(self) -> None:
        # A connection that is kept would keep its event loop, and an event loop may end after each call.
        super().__init__(verify=_certificates(), limits=_NOT_KEPT)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if _is_whole_answer(request, response):
            try:
                content = await response.aread()
            finally:
                await response.aclose()
            return _normalize_response(response, content)
        return response


def _certificates() -> Any:
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    return get_ssl_configuration()


def _is_behind_proxy(base: str) -> bool:
    """Whether the environment names a proxy for an address: LiteLLM's own clients know how to go through it."""
    address, proxies = urlsplit(base), getproxies()
    return bool({address.scheme, "all"} & proxies.keys()) and not proxy_bypass(address.hostname or "")


def _is_whole_answer(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether the answer to a request for one body came: a success, or a refusal."""
    granted = response.is_success or response.status_code == _BAD_REQUEST
    return granted and request.url.path.endswith("/chat/completions") and not _wants_stream(request)


def _wants_stream(request: httpx.Request) -> bool:
    try:
        return b'"stream"' in request.content and json.loads(request.content).get("stream") is True
    except (httpx.RequestNotRead, ValueError):
        return False


def _normalize_response(response: httpx.Response, content: bytes) -> httpx.Response:
    """The answer with a normalized body; one that is not JSON stays as it is."""
    if response.status_code == _BAD_REQUEST:
        # LiteLLM would handle these itself, and lose the message.
        content = content.replace(b"roles must alternate", b"roles have to alternate")
        content = content.replace(b"roles should be alternating", b"roles have to alternate")
    found = read_content(content) if response.is_success else None
    status, dropped = response.status_code, {"content-encoding", "content-length", "transfer-encoding"}
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in dropped]
    if found is not None:
        status, body = found
        content = json.dumps(body).encode("ascii")
        headers = [(name, value) for name, value in headers if name != "content-type"]
        headers.append(("content-type", "application/json"))
    return httpx.Response(status, headers=headers, content=content, extensions=response.extensions)
