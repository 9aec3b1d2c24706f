"""Asks for the key at every path of vLLM's server.

vLLM's own ``--api-key`` guards ``/v1`` and a few other paths, and leaves open others that answer with the same models
(``/invocations``) or put adapters on and take them off (``/adapters``). This file is loaded by vLLM (``--middleware``)
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


class Guard:
    """ASGI middleware that lets through who has the key of ``VLLM_API_KEY``; anybody may ask whether the server lives.

    Args:
        app: what is guarded.
    """

    def __init__(self, app: _App) -> None:
        self._app = app
        self._key = os.environ["VLLM_API_KEY"].encode()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Pass a request on, or refuse it."""
        # A browser asks with OPTIONS, and no key, what it may ask; "lifespan" comes from the server itself.
        asked = scope["type"] in ("http", "websocket") and scope.get("method") != "OPTIONS"
        if not asked or scope["path"] == _OPEN or self._knows(scope["headers"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            body = json.dumps({"error": {"message": "The key is missing or wrong.", "code": 401}}).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    def _knows(self, headers: list[tuple[bytes, bytes]]) -> bool:
        said = next((value for name, value in headers if name.lower() == b"authorization"), b"")
        scheme, _, token = said.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token, self._key)
