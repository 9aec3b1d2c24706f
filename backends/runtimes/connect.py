"""From a name to a model: ``connect("local:…")``, ``connect("vllm:…")``, ``connect("anthropic/…")``.

All of them speak OpenAI's wire through LiteLLM. This file starts no server and makes no
model call, except that a vLLM server is asked for the name of its model.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from hyperalign.budget import Budget
from hyperalign.errors import InputError, UnknownModelError

from .adapter_server import locate_adapter
from .catalogue import resolve
from .download import Progress
from .llama_server import LlamaServer, ServerSettings
from .lm import LM
from .meter import Journal, Meter
from .target import Target
from .vllm_server import locate

__all__ = ["connect"]

_HOSTED_SECONDS = 120.0
_LOCAL_SECONDS = 600.0
_RETRIES = 3


def connect(
    name: str,
    *,
    budget: Budget | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    journal: Journal | None = None,
    timeout: float | None = None,
    server: ServerSettings | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> LM:
    """A model to call, from its name.

    Args:
        name: ``local:<name from the catalogue or path of a .gguf file>``,
            ``vllm:<address or model name>`` (``vllm:http://127.0.0.1:8000#adapter`` picks one
            of several served models), ``adapter:<name>`` of a running
            ``hyperalign serve``, ``adapter:<folder>``, which is served from this process, or any LiteLLM name,
            such as ``anthropic/…``.
        budget: counts the calls and stops them at its caps.
        api_key: instead of the provider's environment variable; never saved or shown.
        api_base: another address for a hosted model.
        journal: remembers the answers of a run, so that a killed run makes no call twice.
        timeout: seconds to wait for an answer: ``HYPERALIGN_TIMEOUT`` by default, else 120, or 600 for a model of
            one's own.
        server: how to serve a ``local:`` model.
        progress: told of the download of a ``local:`` model's file.
        settings: DSPy's, such as ``temperature``, ``max_tokens`` and ``num_retries`` (3).

    Returns:
        The model. A ``local:`` model's file is fetched and its server started by the first call.

    Raises:
        InputError: ``HYPERALIGN_TIMEOUT`` is not a number of seconds.
        UnknownModelError: no model goes by this name.
        ModelServerError: the vLLM server, or that of adapters, does not answer.
    """
    name = name.strip()
    timeout = timeout or _timeout_from_environment()
    scheme, _, rest = name.partition(":")
    if scheme == "local":
        target = _local(name, rest, timeout, server, progress)
    elif scheme == "vllm":
        target = _vllm(name, rest, api_key, timeout)
    elif scheme == "adapter":
        target = _adapter(name, rest, api_key, timeout)
    else:
        if not name or name.endswith("/"):
            raise UnknownModelError(f"'{name}' is not the name of a model.", remedy="Write 'provider/model'.")
        target = Target(name, name, "hosted", timeout or _HOSTED_SECONDS, api_base, api_key)
    settings = {"num_retries": _RETRIES, **settings}
    # Saved states of DSPy programs hold these; both are fixed here.
    for fixed in ("cache", "engine", "model_type"):
        settings.pop(fixed, None)
    return LM(target, Meter(budget, journal), **settings)


def _timeout_from_environment() -> float | None:
    said = os.environ.get("HYPERALIGN_TIMEOUT")
    if not said:
        return None
    try:
        seconds = float(said)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InputError(f"HYPERALIGN_TIMEOUT is {said!r}.", remedy="Give seconds to wait for an answer, such as 300.")
    return seconds


def _local(
    name: str, rest: str, timeout: float | None, settings: ServerSettings | None, progress: Progress | None
) -> Target:
    model = resolve(rest)
    server = LlamaServer(model, settings, progress)
    return Target(name, f"openai/{model.served_name}", "local", timeout or _LOCAL_SECONDS, server=server)


def _vllm(name: str, rest: str, api_key: str | None, timeout: float | None) -> Target:
    served = locate(rest, api_key)
    # The client library wants a key even where the server doesn't.
    key = served.api_key or "none"
    return Target(name, f"hosted_vllm/{served.model}", "vllm", timeout or _LOCAL_SECONDS, served.base, key)


def _adapter(name: str, rest: str, api_key: str | None, timeout: float | None) -> Target:
    if (Path(rest).expanduser() / "card.json").is_file():
        # What serves an adapter here builds on this package: it is only loaded where it is asked for.
        from ..serving.at_home import serve_at_home

        served = serve_at_home(Path(rest).expanduser())
    else:
        served = locate_adapter(rest, api_key)
    # The client library wants a key even where the server doesn't.
    key = served.api_key or "none"
    return Target(name, f"openai/{served.model}", "adapter", timeout or _LOCAL_SECONDS, served.base, key)
