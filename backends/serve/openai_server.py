"""An OpenAI-compatible HTTP server: ``/health``, ``/v1/models`` and ``/v1/chat/completions``, also streamed.

It listens on loopback, and on other addresses only with a key. It logs nothing: a log would hold people's prompts.
"""

from __future__ import annotations

import hmac
import json
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hyperalign.errors import ContextLengthError, HyperalignError, InputError, NotFoundError, StorageError
from hyperalign.scores import Message

__all__ = ["ChatModel", "Completion", "CompletionRequest", "check_host", "create_server", "port_error"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LOCAL_NAMES = ("127.0.0.1", "[::1]", "localhost", "")
_MAX_BODY_BYTES = 4 * 2**20
_STATUS = {NotFoundError: 404, ContextLengthError: 400, InputError: 400}


@dataclass(frozen=True)
class CompletionRequest:
    """A request for a chat completion.

    Attributes:
        model: the name of the base or of an adapter, with or without the hash of its weights.
        messages: the conversation.
        max_tokens: tokens of the answer, at most.
        temperature: 0 for greedy decoding.
        seed: of the sampling; None samples differently each time.
    """

    model: str
    messages: Sequence[Message]
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Completion:
    """A chat completion.

    Attributes:
        text: the answer.
        tokens_in: number of prompt tokens.
        tokens_out: number of generated tokens.
        truncated: whether it stopped at ``max_tokens``.
    """

    text: str
    tokens_in: int
    tokens_out: int
    truncated: bool


class ChatModel(Protocol):
    """A model that the server can serve: see ``MultiLoraModel``."""

    @property
    def names(self) -> list[str]:
        """The served names."""
        ...

    def complete(self, request: CompletionRequest, on_text: Callable[[str], object] | None = None) -> Completion:
        """Answer a conversation; ``on_text`` is called with each piece of the text as it is generated."""
        ...


class _RequestPart(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Turn(_RequestPart):
    role: Literal["system", "user", "assistant"]
    content: str


class _StreamOptions(_RequestPart):
    include_usage: bool = False


class _Request(_RequestPart):
    model: str
    messages: list[_Turn] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=8192)
    max_completion_tokens: int | None = Field(None, ge=1, le=8192)
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = None
    n: int = Field(1, ge=1, le=1)
    stream: bool = False
    stream_options: _StreamOptions | None = None

    def to_completion_request(self) -> CompletionRequest:
        return CompletionRequest(
            self.model,
            [{"role": turn.role, "content": turn.content} for turn in self.messages],
            self.max_completion_tokens or self.max_tokens or CompletionRequest.max_tokens,
            self.temperature if self.temperature is not None else CompletionRequest.temperature,
            self.seed,
        )


def create_server(model: ChatModel, host: str = "127.0.0.1", port: int = 8010, key: str = "") -> ThreadingHTTPServer:
    """Bind a server; ``serve_forever`` runs it, ``server_close`` closes it.

    Args:
        model: the model to serve.
        host: the address to listen on.
        port: the port to listen on; 0 for a free one.
        key: the bearer token that requests must carry; empty for none.

    Raises:
        InputError: the host is not loopback, and there is no key.
        StorageError: the port is taken.
    """
    check_host(host, key)
    handler = type("Handler", (_Handler,), {"model": model, "key": key})
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server: type[ThreadingHTTPServer] = type("Server", (ThreadingHTTPServer,), {"address_family": family})
    try:
        return server((host, port), handler)
    except OSError as error:
        raise port_error(host, port, error) from error


def port_error(host: str, port: int, error: OSError) -> StorageError:
    """Return the error for a port that can't be bound."""
    return StorageError(
        f"Port {port} of {host} can't be listened on: {error.strerror or error}.", remedy="Choose another --port."
    )


def check_host(host: str, key: str) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises:
        InputError: the host is not loopback, and there is no key.
    """
    if host not in _LOOPBACK and not key:
        raise InputError(
            f"Listening on {host} lets others in, and there is no key.",
            remedy="Set HYPERALIGN_SERVE_KEY, or leave --host out to listen on this machine alone.",
        )


class _Response:
    """The bodies of one response; all share an id and a time."""

    def __init__(self, model: str) -> None:
        self._common = {"id": f"chatcmpl-{uuid.uuid4().hex[:12]}", "created": int(time.time()), "model": model}

    def completion(self, completion: Completion) -> dict[str, Any]:
        message = {"role": "assistant", "content": completion.text}
        choice = {"index": 0, "message": message, "finish_reason": _finish_reason(completion)}
        return {**self._common, "object": "chat.completion", "choices": [choice], "usage": _usage(completion)}

    def text_chunk(self, text: str) -> dict[str, Any]:
        return self._chunk({"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None})

    def final_chunk(self, completion: Completion) -> dict[str, Any]:
        return self._chunk({"index": 0, "delta": {}, "finish_reason": _finish_reason(completion)})

    def usage_chunk(self, completion: Completion) -> dict[str, Any]:
        return {**self._chunk(), "usage": _usage(completion)}

    def _chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        return {**self._common, "object": "chat.completion.chunk", "choices": list(choices)}


def _finish_reason(completion: Completion) -> str:
    return "length" if completion.truncated else "stop"


def _usage(completion: Completion) -> dict[str, int]:
    return {
        "prompt_tokens": completion.tokens_in,
        "completion_tokens": completion.tokens_out,
        "total_tokens": completion.tokens_in + completion.tokens_out,
    }


class _Handler(BaseHTTPRequestHandler):
    model: ChatModel
    key: str
    protocol_version = "HTTP/1.1"
    # A request whose headers or body never end must not hold a thread.
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {"status": "ok"})
        elif not self._check_access():
            return
        elif self.path == "/v1/models":
            models = [{"id": name, "object": "model", "owned_by": "hyperalign"} for name in self.model.names]
            self._send(200, {"object": "list", "data": models})
        else:
            self._send_unknown_path()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._send(413, _error_body(413, f"A request needs a Content-Length of at most {_MAX_BODY_BYTES:,} bytes."))
            return
        body = self.rfile.read(int(length))
        if not self._check_access():
            return
        if self.path == "/v1/chat/completions":
            self._complete(body)
        else:
            self._send_unknown_path()

    def _complete(self, body: bytes) -> None:
        try:
            parsed = _Request.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "body"
            self._send(400, _error_body(400, f"{field}: {first['msg']}"))
            return
        request = parsed.to_completion_request()
        response = _Response(request.model)
        try:
            if parsed.stream:
                options = parsed.stream_options or _StreamOptions()
                self._stream(request, response, include_usage=options.include_usage)
            else:
                self._send(200, response.completion(self.model.complete(request)))
        except HyperalignError as error:
            self._send(_status(error), _error_body(_status(error), str(error)))
        except ConnectionError:
            # The client has left; the model is free for others.
            self.close_connection = True

    def _stream(self, request: CompletionRequest, response: _Response, *, include_usage: bool) -> None:
        events = _EventStream(self)
        try:
            completion = self.model.complete(request, lambda text: events.send(response.text_chunk(text)))
            events.send(response.final_chunk(completion))
            if include_usage:
                events.send(response.usage_chunk(completion))
        except HyperalignError as error:
            # Once the stream has started, an error can't be a status any more: it becomes an event.
            if not events.started:
                raise
            events.send(_error_body(_status(error), str(error)))
        events.close()

    def _check_access(self) -> bool:
        """Return whether the request is allowed; send an error if it is not."""
        if self.key:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, message = 401, "The key is missing or wrong."
            allowed = hmac.compare_digest(token.encode(), self.key.encode())
        else:
            # A web page could reach this server under a host name of its own (DNS rebinding).
            host = self.headers.get("Host", "")
            name = f"{host.partition(']')[0]}]" if host.startswith("[") else host.partition(":")[0]
            status, message = 403, "Without a key this server accepts requests to 127.0.0.1 or localhost only."
            allowed = name in _LOCAL_NAMES
        if not allowed:
            self._send(status, _error_body(status, message))
        return allowed

    def _send_unknown_path(self) -> None:
        self._send(404, _error_body(404, "The paths are /health, /v1/models and /v1/chat/completions."))

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _EventStream:
    """Server-sent events in HTTP chunks; the headers are sent with the first event."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler
        self.started = False

    def send(self, content: dict[str, Any]) -> None:
        self._write(f"data: {json.dumps(content)}\n\n".encode())

    def close(self) -> None:
        self._write(b"data: [DONE]\n\n")
        self._handler.wfile.write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if not self.started:
            self._handler.send_response(200)
            self._handler.send_header("Content-Type", "text/event-stream")
            self._handler.send_header("Transfer-Encoding", "chunked")
            self._handler.end_headers()
            self.started = True
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def _error_body(status: int, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "code": str(status)}}


def _status(error: HyperalignError) -> int:
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
