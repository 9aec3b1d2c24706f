"""Runs LiteLLM's proxy in this process, with the hook and one model."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hyperalign.errors import InputError, MissingExtraError

from .service import GatewaySettings

if TYPE_CHECKING:
    from hyperalign.backends.models.target import Target

__all__ = ["HOOK", "check_installed", "proxy_config", "run_proxy"]

HOOK = "hyperalign.backends.gateway.personalize"
"""What a config names under ``litellm_settings: callbacks``."""
_NEEDED = ("fastapi", "orjson", "uvicorn")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
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
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }


def run_proxy(
    config: dict[str, Any],
    settings: GatewaySettings,
    *,
    key: str,
    host: str = "127.0.0.1",
    port: int = 4000,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until interrupted.

    Args:
        config: as ``proxy_config`` makes it.
        settings: how to personalize.
        key: what clients send as a bearer token.
        host: the address to listen on.
        port: 0 takes any free one.
        on_ready: told of the base address, once requests are answered.

    Raises:
        InputError: the port is taken.
        MissingExtraError: the proxy is not installed.
    """
    check_installed()
    # Read when the proxy is imported.
    os.environ.update({**settings.to_environment(), "LITELLM_MASTER_KEY": key})
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import socket

    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InputError(
            f"{host}:{port} can't be listened on: {error.strerror}.", remedy="Choose another --port, or 0 for any."
        ) from error
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/v1"
    with tempfile.TemporaryDirectory(prefix="hyperalign-gateway-") as folder:
        # The folder is this user's alone: headers of a model may be secret. JSON is YAML, too.
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        _serve(path, listening, lambda: on_ready(address))


def _serve(config: Path, listening: Any, on_ready: Callable[[], None]) -> None:
    import uvicorn

    _stand_in_for_prisma()
    proxy: Any = import_module("litellm.proxy.proxy_server")

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                on_ready()

    proxy.save_worker_config(config=str(config))
    os.environ["CONFIG_FILE_PATH"] = str(config)
    Server(uvicorn.Config(proxy.app, log_level="warning", access_log=False)).run(sockets=[listening])


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
