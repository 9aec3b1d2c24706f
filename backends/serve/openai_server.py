"""An OpenAI-compatible HTTP server: ``/health``, ``/v1/models`` and ``/v1/chat/completions``, also streamed.

It listens on loopback, and on other addresses only with a key. It logs nothing: a log would hold people's prompts.
"""

from __future__ import annotations

import hmac
import io
import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hyperalign.errors import ContextLengthError, HyperalignError, InputError, NotFoundError, StorageError
from hyperalign.scores import Message

__all__ = ["ChatModel", "Completion", "CompletionRequest", "check_host", "create_server", "port_error"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LOCAL_ADDRESS = re.compile(r"(?:127\.0\.0\.1|\[::1\]|localhost)(?::[0-9]{1,5})?", re.IGNORECASE)
_MAX_BODY_BYTES = 4 * 2**20
_MAX_CONNECTIONS = 64
_REQUEST_SECONDS = 30.0
"""How long a request may take to arrive, from when the connection is free for it to the last byte of its body."""
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
        top_p: the share of probability that sampling draws from.
    """

    model: str
    messages: Sequence[Message]
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int | None = None
    top_p: float = 1.0


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
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)  # as in OpenAI's reference
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
            self.top_p or CompletionRequest.top_p,
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
    server: type[ThreadingHTTPServer] = type("Server", (_Server,), {"address_family": family})
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


class _Server(ThreadingHTTPServer):
    """A thread for each connection, up to a limit; further ones are told to come back."""

    def __init__(self, *args: Any) -> None:
        self._free = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or refuse where all are taken."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(1)
            request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """End a connection, and free its place."""
        super().shutdown_request(request)
        self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing."""


class _TimedReader(io.RawIOBase):
    """Reads a connection until a deadline, however often it gives another byte."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = time.monotonic() + _REQUEST_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        before = self._connection.gettimeout()
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            # What is written has a limit of its own.
            self._connection.settimeout(before)


class _Response:
    """The bodies of one response; all share an id and a time."""

    def __init__(self, model: str) -> None:
        self._common = {"id": f"chatcmpl-{uuid.uuid4().hex[:12]}", "created": int(time.time()), "model": model}

    def completion(self, completion: Completion) -> dict[str, Any]:
        message = {"role": "assistant", "content": completion.text}
        choice = {"index": 0, "message": message, "finish_reason": "length" if completion.truncated else "stop"}
        return {**self._common, "object": "chat.completion", "choices": [choice], "usage": _usage(completion)}

    def text_chunk(self, text: str) -> dict[str, Any]:
        return self._chunk({"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None})

    def final_chunk(self, completion: Completion) -> dict[str, Any]:
        return self._chunk({"index": 0, "delta": {}, "finish_reason": "length" if completion.truncated else "stop"})

    def usage_chunk(self, completion: Completion) -> dict[str, Any]:
        return {**self._chunk(), "usage": _usage(completion)}

    def _chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        return {**self._common, "object": "chat.completion.chunk", "choices": list(choices)}


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
    # A client that reads no answer must not hold a thread.
    timeout = 60

    def setup(self) -> None:
        """Read with a deadline: a request whose head or body never ends must not hold a thread."""
        super().setup()
        self._reader = _TimedReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)

    def handle_one_request(self) -> None:
        """Answer the next request of the connection."""
        self._reader.deadline = time.monotonic() + _REQUEST_SECONDS
        super().handle_one_request()

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
        # Digits of other scripts are no number here, and a length beside chunks would be read in two ways.
        is_plain = length.isascii() and length.isdigit() and "Transfer-Encoding" not in self.headers
        if not is_plain or int(length[:20]) > _MAX_BODY_BYTES:
            self.close_connection = True
            self._send_error(413, f"A request needs a Content-Length of at most {_MAX_BODY_BYTES:,} bytes.")
            return
        body = self.rfile.read(int(length))
        if not self._check_access():
            return
        if self.headers.get_content_type() != "application/json":
            # A web page may send other types to any server, without asking it first (CORS).
            self._send_error(415, "A request needs the Content-Type application/json.")
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
            self._send_error(400, f"{field}: {first['msg']}")
            return
        request = parsed.to_completion_request()
        response = _Response(request.model)
        try:
            if parsed.stream:
                options = parsed.stream_options or _StreamOptions()
                self._stream(request, response, include_usage=options.include_usage)
            else:
                self._send(200, response.completion(self.model.complete(request)))
        except (ConnectionError, TimeoutError):
            # The client has left; the model is free for others.
            self.close_connection = True
        except Exception as error:
            self._send_error(*_describe(error))

    def _stream(self, request: CompletionRequest, response: _Response, *, include_usage: bool) -> None:
        events = _EventStream(self)
        try:
            completion = self.model.complete(request, lambda text: events.send(response.text_chunk(text)))
            events.send(response.final_chunk(completion))
            if include_usage:
                events.send(response.usage_chunk(completion))
        except Exception as error:
            # Once the stream has started, an error can't be a status any more: it becomes an event.
            if not events.started or isinstance(error, ConnectionError | TimeoutError):
                raise
            events.send(_error_body(*_describe(error)))
        events.close()

    def _check_access(self) -> bool:
        """Return whether the request is allowed; send an error if it is not."""
        if self.key:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, message = 401, "The key is missing or wrong."
            allowed = hmac.compare_digest(token.encode(), self.key.encode())
        else:
            # A web page could reach this server under a host name of its own (DNS rebinding), or from its own address.
            hosts = self.headers.get_all("Host", [])
            origins = [origin.partition("://")[2] for origin in self.headers.get_all("Origin", [])]
            status, message = 403, "Without a key this server accepts requests to and from 127.0.0.1 or localhost only."
            allowed = len(hosts) <= 1 and all(map(_LOCAL_ADDRESS.fullmatch, [*hosts, *origins]))
        if not allowed:
            self._send_error(status, message)
        return allowed

    def _send_unknown_path(self) -> None:
        self._send_error(404, "The paths are /health, /v1/models and /v1/chat/completions.")

    def _send_error(self, status: int, message: str) -> None:
        self._send(status, _error_body(status, message))

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


def _describe(error: Exception) -> tuple[int, str]:
    """The status and the message of an error; of one that nobody foresaw no more than that it happened."""
    if not isinstance(error, HyperalignError):
        return 500, "The model could not answer this request."
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500), str(error)
