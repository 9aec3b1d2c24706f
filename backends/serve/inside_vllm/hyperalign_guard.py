"""ASGI middleware for vLLM that checks the key on every path, or without a key the host name.

It is a module of its own because vLLM loads it by name (``--middleware``). vLLM's own ``--api-key`` guards ``/v1`` and
a few other paths only; open ones answer with the same models (``/invocations``) or load adapters (``/adapters``).
Without a key, a web page could reach the server under a host name of its own (DNS rebinding).
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["Guard"]

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]
_OPEN = "/health"
_NAMES = (b"127.0.0.1", b"[::1]", b"localhost", b"")


class Guard:
    """Lets requests through that carry the key of ``VLLM_API_KEY``, or without a key those to a loopback host name.

    ``/health`` is open.

    Args:
        app: the ASGI application.
    """

    def __init__(self, app: _App) -> None:
        self._app = app
        self._key = os.environ.get("VLLM_API_KEY", "").encode()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Pass a request on, or reject it."""
        # Browsers send OPTIONS without a key; "lifespan" comes from the server itself.
        guarded = scope["type"] in ("http", "websocket") and scope.get("method") != "OPTIONS"
        if not guarded or scope["path"] == _OPEN or self._is_allowed(scope["headers"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            code = 401 if self._key else 403
            message = (
                "The key is missing or wrong."
                if self._key
                else "Without a key this server accepts requests to 127.0.0.1 or localhost only."
            )
            body = json.dumps({"error": {"message": message, "code": code}}).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": code, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _is_allowed(self, headers: list[tuple[bytes, bytes]]) -> bool:
        if not self._key:
            host = _find_header(headers, b"host")
            return (host.partition(b"]")[0] + b"]" if host.startswith(b"[") else host.partition(b":")[0]) in _NAMES
        scheme, _, token = _find_header(headers, b"authorization").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token, self._key)


def _find_header(headers: list[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    return next((value for name, value in headers if name.lower() == wanted), b"")
