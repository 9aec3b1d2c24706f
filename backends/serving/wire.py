"""OpenAI's wire over some voices: a small HTTP server for one machine.

``GET /health``, ``GET /v1/models``, ``POST /v1/chat/completions`` (also streamed, in one piece). It listens on loopback
unless told otherwise, and elsewhere only with a key. Nothing of what is asked is logged. This file knows no model.
"""

from __future__ import annotations

import hmac
import json
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hyperalign.errors import ContextLengthError, HyperalignError, InputError, NotFoundError, StorageError

from .voices import Asked, Said

__all__ = ["Speaks", "check_host", "listen"]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LARGEST = 4 * 2**20
_STATUS = {NotFoundError: 404, ContextLengthError: 400, InputError: 400}


class Speaks(Protocol):
    """Whatever answers: ``Voices`` does."""

    @property
    def names(self) -> list[str]:
        """What can be asked for."""
        ...

    def answer(self, asked: Asked) -> Said:
        """Answer a conversation."""
        ...


class _Turn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "user", "assistant"]
    content: str


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
    try:
        return ThreadingHTTPServer((host, port), handler)
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
        elif not self._let_in():
            self._refuse(401, "The key is missing or wrong.")
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
        if not self._let_in():
            self._refuse(401, "The key is missing or wrong.")
        elif self.path != "/v1/chat/completions":
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
        asked = Asked(
            request.model,
            [{"role": turn.role, "content": turn.content} for turn in request.messages],
            request.max_completion_tokens or request.max_tokens or Asked.max_tokens,
            request.temperature if request.temperature is not None else Asked.temperature,
            request.seed or 0,
        )
        try:
            said = self.speaks.answer(asked)
        except HyperalignError as error:
            status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
            self._refuse(status, str(error))
            return
        if request.stream:
            self._stream(asked.model, said)
        else:
            message = {"role": "assistant", "content": said.text}
            self._send(200, _reply(asked.model, said, "chat.completion", {"message": message}, ended=True))

    def _stream(self, model: str, said: Said) -> None:
        delta = {"role": "assistant", "content": said.text}
        parts = [
            _reply(model, said, "chat.completion.chunk", {"delta": delta}, ended=False),
            _reply(model, said, "chat.completion.chunk", {"delta": {}}, ended=True),
        ]
        lines = [f"data: {json.dumps(part)}\n\n" for part in parts]
        self._write(200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())

    def _let_in(self) -> bool:
        if not self.key:
            return True
        said = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(said.encode(), self.key.encode())

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error", "code": str(status)}})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        self._write(status, "application/json", json.dumps(content).encode())

    def _write(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _reply(model: str, said: Said, kind: str, part: dict[str, Any], *, ended: bool) -> dict[str, Any]:
    reason = ("length" if said.cut else "stop") if ended else None
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:12]}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, **part, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": said.tokens_in,
            "completion_tokens": said.tokens_out,
            "total_tokens": said.tokens_in + said.tokens_out,
        },
    }
