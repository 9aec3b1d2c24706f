"""Runs LiteLLM's proxy in this process, with a config of ours, until it is interrupted."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hyperalign.errors import InputError, MissingExtraError, ModelServerError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from hyperalign.backends.models.servers import Address
    from hyperalign.backends.models.target import Target

__all__ = [
    "APART",
    "CONTROL_TOKENS",
    "EVERYWHERE",
    "LOOPBACK",
    "check_installed",
    "is_loopback",
    "listen",
    "proxy_config",
    "run_proxy",
    "target_params",
    "while_healthy",
]

APART = "hyperalign.backends.gateway.apart"
"""The hook that keeps the words of conversations apart from control tokens."""
CONTROL_TOKENS = "HYPERALIGN_CONTROL_TOKENS"
"""The variable by which the hook learns of them: a JSON list."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what is asked for by a name of its own
_NEEDED = ("fastapi", "itsdangerous", "orjson", "uvicorn")
# An answer under way does not keep the server from ending for longer.
_LIMITS: dict[str, Any] = {"timeout_graceful_shutdown": 5}
_LOOK_SECONDS = 5.0
_QUIET = {
    "LITELLM_LOG": "ERROR",
    "DISABLE_ADMIN_UI": "True",
    "NO_DOCS": "True",
    "LITELLM_DONT_SHOW_FEEDBACK_BOX": "true",
}


def check_installed(what: str = "The gateway") -> None:
    """Check that LiteLLM's proxy is installed, not its client alone.

    Args:
        what: needs it.

    Raises:
        MissingExtraError: it is not.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise MissingExtraError(what, "gateway")


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


def proxy_config(called: Mapping[str, Mapping[str, Any]], callbacks: Sequence[str]) -> dict[str, Any]:
    """The proxy's config.

    Args:
        called: what LiteLLM is called with for each model, by the name that clients use.
        callbacks: the hooks, as a config names them.
    """
    is_own = any("api_base" in each for each in called.values())
    return {
        "model_list": [{"model_name": name, "litellm_params": dict(each)} for name, each in called.items()],
        "litellm_settings": {
            "callbacks": list(callbacks),
            "telemetry": False,
            # Anthropic's interface would be served by the Responses interface, which such a server may lack.
            "use_chat_completions_url_for_anthropic_messages": is_own,
        },
        # No sign-in page is served; the proxy would warn that it does not know what stands before it.
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY", "trusted_proxy_ranges": []},
    }


def target_params(target: Target) -> dict[str, Any]:
    """What LiteLLM is called with for a model.

    Args:
        target: where its requests go; its own server is started if need be.

    Raises:
        ModelError: the model cannot be used.
    """
    called = {"model": target.model, **target.fixed, **target.options()}
    if "api_base" in called:
        # A server of one's own may want no key, but the client library does.
        called.setdefault("api_key", os.environ.get("OPENAI_API_KEY") or "none")
    return called


def run_proxy(
    config: Mapping[str, Any],
    listening: socket.socket,
    on_ready: Callable[[str], None] = lambda _: None,
    *,
    key: str,
    host: str = "127.0.0.1",
    control_tokens: Sequence[str] = (),
    around: Callable[[ASGIApp, str], ASGIApp] = lambda proxy, _: proxy,
) -> None:
    """Serve until interrupted.

    Args:
        config: as ``proxy_config`` makes it.
        listening: as ``listen`` makes it, before anything that takes long.
        on_ready: told of the base address, once requests are answered.
        key: what clients send as a bearer token.
        host: the address that is listened to.
        control_tokens: what the models would take for control tokens, wherever it stands in a conversation.
        around: makes what is served of the proxy, and of the base address by which this machine reaches it.

    Raises:
        MissingExtraError: the proxy is not installed.
    """
    check_installed()
    # Read when the proxy is imported.
    os.environ.update({"LITELLM_MASTER_KEY": key, CONTROL_TOKENS: json.dumps(list(control_tokens))})
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    number = listening.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="hyperalign-proxy-") as folder:
        # The folder is this user's alone: headers of a model may be secret. JSON is YAML, too.
        path = Path(folder) / "config.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        here = _address(EVERYWHERE.get(host, host), number)
        _serve(path, listening, lambda proxy: around(proxy, here), lambda: on_ready(_address(host, number)))


@contextmanager
def while_healthy(address: Address) -> Iterator[None]:
    """End the ``with`` block as Ctrl-C does if a model's server has ended: the proxy would refuse every request.

    Args:
        address: of the server.

    Raises:
        ModelServerError: it has ended.
    """
    stop, has_ended = threading.Event(), threading.Event()

    def watch() -> None:
        while not stop.wait(_LOOK_SECONDS):
            # Busy servers may answer late once.
            if not address.is_healthy and not stop.wait(1.0) and not address.is_healthy:
                has_ended.set()
                os.kill(os.getpid(), signal.SIGINT)
                return

    threading.Thread(target=watch, name="hyperalign-watch", daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        if not has_ended.is_set():
            raise
    finally:
        stop.set()
    if has_ended.is_set():
        raise ModelServerError(
            "The embedded model's server has ended.",
            remedy="If memory is short, try a smaller model or fewer adapters. Then start it again.",
        )


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def _serve(config: Path, listening: Any, around: Callable[[ASGIApp], ASGIApp], on_ready: Callable[[], None]) -> None:
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
    Server(uvicorn.Config(around(proxy.app), log_level="warning", access_log=False, **_LIMITS)).run(sockets=[listening])


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
    return host in LOOPBACK
