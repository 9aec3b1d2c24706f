"""Runs LiteLLM's proxy in this process, with the hook, one model, and people's pages under ``/me``."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Collection
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hyperalign.errors import InputError, MissingExtraError

from .service import GatewaySettings

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

    from hyperalign.backends.models.target import Target

    from .page.background import Comparison, WriteBoth

__all__ = ["HOOK", "PAGES", "check_installed", "is_loopback", "listen", "proxy_config", "run_proxy"]

HOOK = "hyperalign.backends.gateway.personalize"
"""What a config names under ``litellm_settings: callbacks``."""
PAGES = "/me"
"""The path under which people's pages are served."""
_NEEDED = ("fastapi", "itsdangerous", "orjson", "uvicorn")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what is asked for by a name of its own
_ANSWER_SECONDS = 600.0
_QUIET = {
    "LITELLM_LOG": "ERROR",
    "DISABLE_ADMIN_UI": "True",
    "NO_DOCS": "True",
    "LITELLM_DONT_SHOW_FEEDBACK_BOX": "true",
}


def check_installed() -> None:
    """Check that LiteLLM's proxy is installed, not its client alone.

    Raises:
        MissingExtraError: it is not.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise MissingExtraError("The gateway", "gateway")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that the address is known before a server starts.

    Args:
        host: the address to listen on.
        port: 0 for any that is free.

    Raises:
        InputError: the port is taken, or the address is none of this machine.
    """
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise InputError(
            f"{host}:{port} can't be listened on: {error.strerror}.",
            remedy="Choose another one, or any that is free: --port 0",
        ) from error
    return found


def proxy_config(name: str, target: Target) -> dict[str, Any]:
    """The proxy's config for one model.

    Args:
        name: what clients call the model.
        target: where its requests go; its own server is started if need be.

    Raises:
        ModelError: the model cannot be used.
    """
    called = {"model": target.model, **target.fixed, **target.options()}
    is_own = "api_base" in called
    if is_own:
        # A server of one's own may want no key, but the client library does.
        called.setdefault("api_key", os.environ.get("OPENAI_API_KEY") or "none")
    return {
        "model_list": [{"model_name": name, "litellm_params": called}],
        "litellm_settings": {
            "callbacks": [HOOK],
            "telemetry": False,
            # Anthropic's interface would be served by the Responses interface, which such a server may lack.
            "use_chat_completions_url_for_anthropic_messages": is_own,
        },
        # No sign-in page is served; the proxy would warn that it does not know what stands before it.
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY", "trusted_proxy_ranges": []},
    }


def run_proxy(
    config: dict[str, Any],
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
        config: as ``proxy_config`` makes it.
        settings: how to personalize.
        on_ready: told of the base address, once requests are answered.
        key: what clients send as a bearer token.
        host: the address to listen on.
        port: 0 takes any free one.
        page_hosts: names under which people's pages may be asked for, beside this machine's own and ``host``.
        encoder: what a new reward, learned from an answer on a page, reads texts with.

    Raises:
        InputError: the port is taken.
        MissingExtraError: the proxy is not installed.
    """
    check_installed()
    # Read when the proxy is imported.
    os.environ.update({**settings.to_environment(), "LITELLM_MASTER_KEY": key})
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    listening = listen(host, port)
    address = _address(host, listening.getsockname()[1])
    name = str(config["model_list"][0]["model_name"])
    write = _answer_both(_address(_EVERYWHERE.get(host, host), listening.getsockname()[1]), key, name)
    with tempfile.TemporaryDirectory(prefix="hyperalign-gateway-") as folder:
        # The folder is this user's alone: headers of a model may be secret. JSON is YAML, too.
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        from .page.app import page_app

        # A stranger's name for this machine is refused: nobody asks for a page by the address of all interfaces.
        names = {*_LOOPBACK, *page_hosts, *(() if host in _EVERYWHERE else (host,))}
        pages = page_app(settings.store, compare=write, hosts=names, encoder=encoder)
        _serve(path, listening, pages, lambda: on_ready(address))


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


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


def _serve(config: Path, listening: Any, pages: Starlette, on_ready: Callable[[], None]) -> None:
    import uvicorn

    _stand_in_for_prisma()
    proxy: Any = import_module("litellm.proxy.proxy_server")

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            # The proxy prints its list of models, in color.
            with redirect_stdout(StringIO()):
                await super().startup(sockets)
            if self.started:
                on_ready()

    proxy.save_worker_config(config=str(config))
    os.environ["CONFIG_FILE_PATH"] = str(config)
    Server(uvicorn.Config(_WithPages(proxy.app, pages), log_level="warning", access_log=False)).run(sockets=[listening])


def _stand_in_for_prisma() -> None:
    """Let a request without a valid key be answered 401.

    The proxy asks whether its database caused the refusal, by the exceptions of ``prisma``, which ``litellm[proxy]``
    does not install: each such request would end in a 500 instead.
    """
    if importlib.util.find_spec("prisma") is not None:
        return

    class Errors(ModuleType):
        def __getattr__(self, name: str) -> type[Exception]:
            if name.startswith("_"):
                raise AttributeError(name)
            found: type[Exception] = self.__dict__.setdefault(name, type(name, (Exception,), {}))
            return found

    errors = Errors("prisma.errors")
    module = ModuleType("prisma")
    module.errors = errors  # type: ignore[attr-defined]  # as the package has it
    sys.modules |= {"prisma": module, "prisma.errors": errors}


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    return host in _LOOPBACK
