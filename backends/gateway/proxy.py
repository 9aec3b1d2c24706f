"""Runs the gateway: LiteLLM's proxy with the hook, one model, and people's pages under ``/me``."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from .litellm_proxy import (
    APART,
    EVERYWHERE,
    LOOPBACK,
    check_installed,
    listen,
    proxy_config,
    run_proxy,
    target_params,
    while_healthy,
)
from .service import GatewaySettings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

    from hyperalign.backends.models.target import Target

    from .page.background import Comparison, WriteBoth

__all__ = ["HOOK", "PAGES", "run_gateway"]

HOOK = "hyperalign.backends.gateway.personalize"
"""What a config names under ``litellm_settings: callbacks``."""
PAGES = "/me"
"""The path under which people's pages are served."""
_ANSWER_SECONDS = 600.0


def run_gateway(
    name: str,
    target: Target,
    settings: GatewaySettings,
    on_ready: Callable[[str], None] = lambda _: None,
    *,
    key: str,
    host: str = "127.0.0.1",
    port: int = 4000,
    page_hosts: Collection[str] = (),
    encoder: str | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        name: what clients call the model.
        target: where its requests go; its own server is started if need be.
        settings: how to personalize.
        on_ready: told of the base address, once requests are answered.
        key: what clients send as a bearer token.
        host: the address to listen on.
        port: 0 takes any free one.
        page_hosts: names under which people's pages may be asked for, beside this machine's own and ``host``.
        encoder: what a new reward, learned from an answer on a page, reads texts with.

    Raises:
        InputError: the port is taken.
        ModelError: the model cannot be used, or its server on this machine has ended.
        MissingExtraError: the proxy is not installed.
    """
    check_installed()
    listening = listen(host, port)
    # Read by the hook, which the proxy imports.
    os.environ.update(settings.to_environment())
    # A profile holds a person's words, too: they are kept apart after they were put in front. A hosted model's server
    # does that itself, and each hook is asked about every piece of a stream.
    callbacks = [HOOK] if target.server is None else [HOOK, APART]
    config = proxy_config({name: target_params(target)}, callbacks)
    # A stranger's name for this machine is refused: nobody asks for a page by the address of all interfaces.
    hosts = {*LOOPBACK, *page_hosts, *(() if host in EVERYWHERE else (host,))}

    def with_pages(proxy: ASGIApp, address: str) -> ASGIApp:
        from .page.app import page_app

        compare = _answer_both(address, key, name)
        return _WithPages(proxy, page_app(settings.store, compare=compare, hosts=hosts, encoder=encoder))

    if (server := target.server) is None:
        run_proxy(config, listening, on_ready, key=key, host=host, around=with_pages)
        return
    tokens = server.control_tokens
    with while_healthy(server.address()):
        run_proxy(config, listening, on_ready, key=key, host=host, control_tokens=tokens, around=with_pages)


def _answer_both(address: str, key: str, model: str) -> WriteBoth:
    """Answers a prompt as the gateway would, without the profile and with it.

    Args:
        address: the gateway's, with ``/v1``.
        key: its key.
        model: what it calls the model.
    """

    def write(user: str, prompt: str) -> Comparison:
        import httpx

        from hyperalign.errors import ModelError

        from .page.background import Comparison

        def ask(profile: str) -> str:
            body = {"model": model, "user": user, "messages": [{"role": "user", "content": prompt}]}
            headers = {"Authorization": f"Bearer {key}", "x-hyperalign-profile": profile}
            try:
                # No proxy of the environment's: this is our own server.
                with httpx.Client(trust_env=False, timeout=_ANSWER_SECONDS) as client:
                    response = client.post(f"{address}/chat/completions", json=body, headers=headers)
                    response.raise_for_status()
                    return str(response.json()["choices"][0]["message"]["content"] or "")
            except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
                # What the model's server said is for whoever runs the gateway.
                raise ModelError("The model gave no answer.", remedy="Try again in a minute.") from error

        return Comparison(prompt, ask("off"), ask("on"), f"By {model}.")

    return write


class _WithPages:
    """The proxy, and people's pages beside it, which its own middleware never sees: it answers to any origin."""

    def __init__(self, proxy: ASGIApp, pages: Starlette) -> None:
        self._proxy = proxy
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the time that the server runs."""
        if scope["type"] == "lifespan":
            async with self._pages.router.lifespan_context(self._pages):
                await self._proxy(scope, receive, send)
        elif scope["type"] == "http" and (scope["path"] == PAGES or scope["path"].startswith(f"{PAGES}/")):
            await self._pages({**scope, "root_path": f"{scope.get('root_path', '')}{PAGES}"}, receive, send)
        else:
            await self._proxy(scope, receive, send)
