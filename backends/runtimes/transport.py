"""HTTP clients that hand LiteLLM bodies it can read, for servers that speak OpenAI's wire in their own way.

LiteLLM refuses an answer whose content is a list of parts or whose choices are null. These clients tidy the body before
it sees it; streams that were asked for, errors and everything else pass as they are.
"""

from __future__ import annotations

import json
import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from .interfaces import read_content

__all__ = ["Clients", "environment_base"]

_NO_LIMIT = httpx.Limits(max_connections=None, max_keepalive_connections=32)
_NOT_KEPT = httpx.Limits(max_connections=None, max_keepalive_connections=0)
_CONNECT_SECONDS = 10.0
_BAD_REQUEST = 400


class Clients:
    """The HTTP clients of one model, kept so that connections are used again.

    Args:
        provider: LiteLLM's name of the provider; all but those that speak OpenAI's wire use LiteLLM's own clients.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, provider: str, timeout: float) -> None:
        self._provider = provider
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        self._lock = threading.Lock()
        self._plain: dict[tuple[str, str], Any] = {}
        weakref.finalize(self, _close, self._plain)
        # Asynchronous connections belong to the event loop that made them.
        self._by_loop: weakref.WeakKeyDictionary[Any, dict[tuple[str, str], Any]] = weakref.WeakKeyDictionary()

    def client(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What to hand LiteLLM for an ordinary call: nothing, or the client.

        Args:
            options: the address and key of the call, as LiteLLM takes them.
        """
        with self._lock:
            return self._of(self._plain, options, asynchronous=False)

    def async_client(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The same for a call in the running event loop."""
        import asyncio

        with self._lock:
            for loop in [loop for loop in self._by_loop if loop.is_closed()]:
                del self._by_loop[loop]
            kept = self._by_loop.setdefault(asyncio.get_running_loop(), {})
            return self._of(kept, options, asynchronous=True)

    def _of(
        self, kept: dict[tuple[str, str], Any], options: Mapping[str, Any], *, asynchronous: bool
    ) -> dict[str, Any]:
        base, key = options.get("api_base") or environment_base(self._provider), options.get("api_key")
        if base is None:
            return {}
        name = (base, key or "")
        if name not in kept:
            kept[name] = None if _behind_proxy(base) else self._made(base, key, asynchronous=asynchronous)
        return {"client": kept[name]} if kept[name] is not None else {}

    def _made(self, base: str, key: str | None, *, asynchronous: bool) -> Any:
        if self._provider == "openai":
            import litellm
            import openai

            # As LiteLLM looks for it; a server at home often wants none, and the client library always.
            found = key or litellm.api_key or litellm.openai_key or os.environ.get("OPENAI_API_KEY") or "none"
            shared: dict[str, Any] = {"api_key": found, "base_url": base, "max_retries": 0}
            if asynchronous:
                return openai.AsyncOpenAI(
                    **shared, http_client=httpx.AsyncClient(transport=_AsyncTidy(), timeout=self._timeout)
                )
            return openai.OpenAI(**shared, http_client=httpx.Client(transport=_Tidy(), timeout=self._timeout))
        if self._provider == "hosted_vllm" and not asynchronous:
            from litellm.llms.custom_httpx.http_handler import HTTPHandler

            return HTTPHandler(client=httpx.Client(transport=_Tidy(), timeout=self._timeout))
        return None


def environment_base(provider: str) -> str | None:
    """Where LiteLLM goes by the environment for a provider, if not to the provider itself."""
    if provider != "openai":
        return None
    return os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")


def _close(kept: dict[tuple[str, str], Any]) -> None:
    for client in kept.values():
        if client is not None:
            client.close()


class _Tidy(httpx.HTTPTransport):
    """Tidies whole answers on their way in."""

    def __init__(self) -> None:
        super().__init__(verify=_certificates(), limits=_NO_LIMIT)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if _is_whole_answer(request, response):
            try:
                content = response.read()
            finally:
                response.close()
            return _with(response, content)
        return response


class _AsyncTidy(httpx.AsyncHTTPTransport):
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
            return _with(response, content)
        return response


def _certificates() -> Any:
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    return get_ssl_configuration()


def _behind_proxy(base: str) -> bool:
    """Whether the environment names a proxy for an address: LiteLLM's own clients know how to go through it."""
    address, proxies = urlsplit(base), getproxies()
    return bool({address.scheme, "all"} & proxies.keys()) and not proxy_bypass(address.hostname or "")


def _is_whole_answer(request: httpx.Request, response: httpx.Response) -> bool:
    """Whether one body was asked for, as which a stream that nobody asked for is read, too; or a refusal is told."""
    granted = response.is_success or response.status_code == _BAD_REQUEST
    return granted and request.url.path.endswith("/chat/completions") and not _wants_stream(request)


def _wants_stream(request: httpx.Request) -> bool:
    try:
        return b'"stream"' in request.content and json.loads(request.content).get("stream") is True
    except (httpx.RequestNotRead, ValueError):
        return False


def _with(response: httpx.Response, content: bytes) -> httpx.Response:
    """The answer with a tidy body; one that is no JSON stays as it is."""
    if response.status_code == _BAD_REQUEST:
        # LiteLLM tries to mend these by itself, and loses them.
        content = content.replace(b"roles must alternate", b"roles have to alternate")
        content = content.replace(b"roles should be alternating", b"roles have to alternate")
    found = read_content(content) if response.is_success else None
    status, dropped = response.status_code, {"content-encoding", "content-length", "transfer-encoding"}
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in dropped]
    if found is not None:
        status, body = found
        # Lone surrogates have no UTF-8: ASCII keeps them as they came.
        content = json.dumps(body).encode("ascii")
        headers = [(name, value) for name, value in headers if name != "content-type"]
        headers.append(("content-type", "application/json"))
    return httpx.Response(status, headers=headers, content=content, extensions=response.extensions)
