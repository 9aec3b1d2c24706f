"""Asks for the key at every path of vLLM's server, or, where there is none, for a name of this machine.

vLLM's own ``--api-key`` guards ``/v1`` and a few other paths, and leaves open others that answer with the same models
(``/invocations``) or put adapters on and take them off (``/adapters``). Without a key a page in a browser on this
machine could ask by a name of its own that leads here (DNS rebinding). This file is loaded by vLLM (``--middleware``)
and knows neither vLLM nor hyperalign.
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
    """ASGI middleware that lets through who has the key of ``VLLM_API_KEY``, or without one who asks a name of this
    machine; anybody may ask whether the server lives.

    Args:
        app: what is guarded.
    """

    def __init__(self, app: _App) -> None:
        self._app = app
        self._key = os.environ.get("VLLM_API_KEY", "").encode()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Pass a request on, or refuse it."""
        # A browser asks with OPTIONS, and no key, what it may ask; "lifespan" comes from the server itself.
        asked = scope["type"] in ("http", "websocket") and scope.get("method") != "OPTIONS"
        if not asked or scope["path"] == _OPEN or self._knows(scope["headers"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            code = 401 if self._key else 403
            said = "The key is missing or wrong." if self._key else "This server is asked as 127.0.0.1 or localhost."
            body = json.dumps({"error": {"message": said, "code": code}}).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": code, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _knows(self, headers: list[tuple[bytes, bytes]]) -> bool:
        if not self._key:
            host = next((value for name, value in headers if name.lower() == b"host"), b"")
            return (host.partition(b"]")[0] + b"]" if host.startswith(b"[") else host.partition(b":")[0]) in _NAMES
        said = next((value for name, value in headers if name.lower() == b"authorization"), b"")
        scheme, _, token = said.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token, self._key)
