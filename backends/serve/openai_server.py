"""The bodies of OpenAI's chat completions: an answer whole, or as a series of chunks.

This file knows no model and no connection.

OpenAI's wire over some voices: a small HTTP server for one machine.

``GET /health``, ``GET /v1/models``, ``POST /v1/chat/completions`` (also streamed). It listens on loopback unless told
otherwise, and elsewhere only with a key. Nothing of what is asked is logged. This file knows no model.
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

__all__ = ["Completion", "CompletionRequest", "Reply", "Speaks", "check_host", "listen", "refusal"]


@dataclass(frozen=True)
class CompletionRequest:
    """A request.

    Attributes:
        model: the base's name, or an adapter's, with or without the hash of its weights.
        messages: the conversation.
        max_tokens: of the answer.
        temperature: 0 for the likeliest words.
        seed: of what is drawn; None draws anew each time.
    """

    model: str
    messages: Sequence[Message]
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Completion:
    """An answer.

    Attributes:
        text: what was said.
        tokens_in: that were read.
        tokens_out: that were written.
        cut: whether ``max_tokens`` ended it.
    """

    text: str
    tokens_in: int
    tokens_out: int
    cut: bool


class Reply:
    """One answer under construction; all that is told of it has one id and one time.

    Args:
        model: the name that was asked for.
    """

    def __init__(self, model: str) -> None:
        self._same = {"id": f"chatcmpl-{uuid.uuid4().hex[:12]}", "created": int(time.time()), "model": model}

    def whole(self, said: Completion) -> dict[str, Any]:
        """All of it, with what it cost."""
        message = {"role": "assistant", "content": said.text}
        choices = [{"index": 0, "message": message, "finish_reason": _reason(said)}]
        return {**self._same, "object": "chat.completion", "choices": choices, "usage": _usage(said)}

    def piece(self, text: str) -> dict[str, Any]:
        """Some more of the text."""
        return self._chunk([{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}])

    def end(self, said: Completion) -> dict[str, Any]:
        """That there is no more, and why."""
        return self._chunk([{"index": 0, "delta": {}, "finish_reason": _reason(said)}])

    def cost(self, said: Completion) -> dict[str, Any]:
        """What it cost, after its end."""
        return {**self._chunk([]), "usage": _usage(said)}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._same, "object": "chat.completion.chunk", "choices": choices}


def refusal(status: int, message: str) -> dict[str, Any]:
    """An error, as clients read it."""
    return {"error": {"message": message, "type": "invalid_request_error", "code": str(status)}}


def _reason(said: Completion) -> str:
    return "length" if said.cut else "stop"


def _usage(said: Completion) -> dict[str, int]:
    return {
        "prompt_tokens": said.tokens_in,
        "completion_tokens": said.tokens_out,
        "total_tokens": said.tokens_in + said.tokens_out,
    }


_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NAMES = ("127.0.0.1", "[::1]", "localhost", "")
_LARGEST = 4 * 2**20
_STATUS = {NotFoundError: 404, ContextLengthError: 400, InputError: 400}


class Speaks(Protocol):
    """Whatever answers: ``Voices`` does."""

    @property
    def names(self) -> list[str]:
        """What can be asked for."""
        ...

    def answer(self, asked: CompletionRequest, heard: Callable[[str], object] | None = None) -> Completion:
        """Answer a conversation; ``heard`` is handed the text as it is written."""
        ...


class _Turn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "user", "assistant"]
    content: str


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[_Turn] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=8192)
    max_completion_tokens: int | None = Field(None, ge=1, le=8192)
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = None
    n: int = Field(1, ge=1, le=1)
    stream: bool = False
    stream_options: _StreamOptions | None = None


def listen(speaks: Speaks, host: str = "127.0.0.1", port: int = 8010, key: str = "") -> ThreadingHTTPServer:
    """A server that is bound and not running yet: ``serve_forever`` runs it, ``server_close`` ends it.

    Args:
        speaks: what answers.
        host: where to listen.
        port: where to listen; 0 for any free one.
        key: what requests must carry as a bearer token; empty for none.

    Raises:
        InputError: it would listen beyond this machine without a key.
        StorageError: the port is taken.
    """
    check_host(host, key)
    handler = type("Handler", (_Handler,), {"speaks": speaks, "key": key})
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server: type[ThreadingHTTPServer] = type("Server", (ThreadingHTTPServer,), {"address_family": family})
    try:
        return server((host, port), handler)
    except OSError as error:
        raise StorageError(
            f"Port {port} of {host} can't be listened on: {error.strerror or error}.", remedy="Choose another --port."
        ) from error


def check_host(host: str, key: str) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises:
        InputError: it would.
    """
    if host not in _LOOPBACK and not key:
        raise InputError(
            f"Listening on {host} lets others in, and there is no key.",
            remedy="Set HYPERALIGN_SERVE_KEY, or leave --host out to listen on this machine alone.",
        )


class _Handler(BaseHTTPRequestHandler):
    speaks: Speaks
    key: str
    protocol_version = "HTTP/1.1"
    # What never ends its headers or body must not hold a thread.
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a log would hold what was asked."""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._send(200, {"status": "ok"})
        elif not self._lets_in():
            return
        elif self.path == "/v1/models":
            made = [{"id": name, "object": "model", "owned_by": "hyperalign"} for name in self.speaks.names]
            self._send(200, {"object": "list", "data": made})
        else:
            self._refuse(404, "There is /health, /v1/models and /v1/chat/completions.")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LARGEST:
            self.close_connection = True
            self._refuse(413, f"A request has a length, of at most {_LARGEST:,} bytes.")
            return
        body = self.rfile.read(int(length))
        if not self._lets_in():
            return
        if self.path != "/v1/chat/completions":
            self._refuse(404, "There is /health, /v1/models and /v1/chat/completions.")
        else:
            self._complete(body)

    def _complete(self, body: bytes) -> None:
        try:
            request = _Request.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            self._refuse(400, f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}")
            return
        asked = CompletionRequest(
            request.model,
            [{"role": turn.role, "content": turn.content} for turn in request.messages],
            request.max_completion_tokens or request.max_tokens or CompletionRequest.max_tokens,
            request.temperature if request.temperature is not None else CompletionRequest.temperature,
            request.seed,
        )
        reply = Reply(asked.model)
        try:
            if request.stream:
                self._stream(
                    asked, reply, tells_cost=bool(request.stream_options and request.stream_options.include_usage)
                )
            else:
                self._send(200, reply.whole(self.speaks.answer(asked)))
        except HyperalignError as error:
            self._refuse(_status(error), str(error))
        except ConnectionError:
            # Whoever asked has left: nobody is there to be told, and the model is free for others.
            self.close_connection = True

    def _stream(self, asked: CompletionRequest, reply: Reply, *, tells_cost: bool) -> None:
        events = _Events(self)
        try:
            said = self.speaks.answer(asked, lambda text: events.send(reply.piece(text)))
            events.send(reply.end(said))
            if tells_cost:
                events.send(reply.cost(said))
        except HyperalignError as error:
            # Once something was said there is no status any more, but the stream can still tell.
            if not events.begun:
                raise
            events.send(refusal(_status(error), str(error)))
        events.close()

    def _lets_in(self) -> bool:
        """Whether a request may ask; who may not has been told."""
        if self.key:
            said = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if hmac.compare_digest(said.encode(), self.key.encode()):
                return True
            self._refuse(401, "The key is missing or wrong.")
            return False
        # A page in a browser on this machine comes by another name, that leads here (DNS rebinding).
        host = self.headers.get("Host", "")
        if (f"{host.partition(']')[0]}]" if host.startswith("[") else host.partition(":")[0]) in _NAMES:
            return True
        self._refuse(403, "Without a key this server is asked as 127.0.0.1 or localhost.")
        return False

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, refusal(status, message))

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Events:
    """Server-sent events in chunks, so that the connection can be used again; headers go with the first one."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler
        self.begun = False

    def send(self, content: dict[str, Any]) -> None:
        self._write(f"data: {json.dumps(content)}\n\n".encode())

    def close(self) -> None:
        self._write(b"data: [DONE]\n\n")
        self._handler.wfile.write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if not self.begun:
            self._handler.send_response(200)
            self._handler.send_header("Content-Type", "text/event-stream")
            self._handler.send_header("Transfer-Encoding", "chunked")
            self._handler.end_headers()
            self.begun = True
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def _status(error: HyperalignError) -> int:
    return next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
