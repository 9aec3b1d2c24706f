"""What would stop a model's first call, said before a file is fetched: no key, a part that is missing, no space.

Nothing is fetched, started or asked here.

From a name to a model: ``connect("local:…")``, ``connect("vllm:…")``, ``connect("anthropic/…")``.

All of them speak OpenAI's wire through LiteLLM. This file starts no server and makes no
model call, except that a vLLM server is asked for the name of its model.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperalign.budget import Budget
from hyperalign.concurrency import DEFAULT_CONCURRENCY, Progress
from hyperalign.errors import InputError, MissingExtraError, MissingKeyError, UnknownModelError

from .catalogue import LocalModel, resolve
from .download import check_fetch, is_verified
from .llama_server import LlamaServer, ServerSettings
from .lm import LM
from .meter import Journal, Meter
from .target import ModelKind, Target, locate, locate_adapter

__all__ = ["check_local", "check_name", "check_ready", "check_scorer", "connect"]


def check_ready(lm: LM) -> None:
    """Check that a model could be asked.

    Raises:
        MissingKeyError: a hosted model's key is not set.
        UnknownModelError: LiteLLM knows no such provider.
        MissingExtraError: a ``local:`` model, and what runs it is not installed.
        DownloadError: its file is not here, and must not be fetched.
        StorageError: there is no space for its file.
    """
    target = lm.target
    if target.server is not None:
        check_local(target.server.model, "xllamacpp", "A 'local:' model")
    else:
        target.options()


def check_scorer(name: str) -> None:
    """Check that a scorer could be opened, as far as this machine can tell.

    Raises:
        UnknownModelError: no such model, or one of a kind that gives no log-probabilities of text.
        MissingExtraError: a ``local:`` model without the part that reads it.
        DownloadError: its file is not here, and must not be fetched.
        StorageError: there is no space for its file.
    """
    scheme, _, rest = name.strip().partition(":")
    if scheme == "local":
        check_local(resolve(rest), "cyllama", "Scoring with a GGUF file")
    elif scheme != "vllm":
        raise UnknownModelError(
            f"'{name}' gives no log-probabilities of text.",
            remedy="A scorer is 'local:<name>' or 'vllm:<address>'; without one, hypotheses are tested by choice.",
        )


def check_local(model: LocalModel, module: str, what: str) -> None:
    """Check that a local model could be loaded by a module, once its file is here.

    Args:
        model: of the catalogue, or a file of the user's own.
        module: the name of what loads it, which the extra ``local`` brings.
        what: what it is for, for the message.

    Raises:
        MissingExtraError: the module is not installed.
        DownloadError: the file is not here, and must not be fetched.
        StorageError: there is no space for it.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(what, "local")
    if model.entry is not None and not is_verified(model.entry):
        check_fetch(model.entry)


def check_name(name: str) -> None:
    """Check that a name could be a model's: nothing is asked, and its key need not be set.

    Raises:
        InputError: it could not.
    """
    scheme, _, rest = name.partition(":")
    try:
        if scheme == "local":
            resolve(rest)
        elif scheme not in ("vllm", "adapter"):
            # An address of its own would hide what LiteLLM makes of the name.
            Target(name, name, "hosted", timeout=1.0).options()
    except MissingKeyError:
        return
    except UnknownModelError as error:
        raise InputError(error.message, remedy=error.remedy) from error


_HOSTED_SECONDS = 120.0
_LOCAL_SECONDS = 600.0
_RETRIES = 3
_VLLM_CONCURRENCY = 16
_HOTTEST = 2.0


def connect(
    name: str,
    *,
    budget: Budget | None = None,
    api_key: str | None = None,
    api_base: str | None = None,
    api_version: str | None = None,
    extra_headers: Mapping[str, str] | None = None,
    temperature: float | None = None,
    reasoning_effort: str | None = None,
    concurrency: int | None = None,
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
        api_base: another address for a hosted model, such as that of an OpenAI-compatible server.
        api_version: of the provider's interface, where it has versions (Azure).
        extra_headers: sent with every request; never saved or shown.
        temperature: of all calls, in place of what each asks for; left out for models that take none.
        reasoning_effort: of all calls, such as ``low``, for models that think before they answer.
        concurrency: requests under way at once, at most; 8 by default, or the slots of a ``local:`` model's server.
        journal: remembers the answers of a run, so that a killed run makes no call twice.
        timeout: seconds to wait for an answer: ``HYPERALIGN_TIMEOUT`` by default, else 120, or 600 for a model of
            one's own.
        server: how to serve a ``local:`` model.
        progress: told of the download of a ``local:`` model's file.
        settings: DSPy's, such as ``temperature``, ``max_tokens`` and ``num_retries`` (3).

    Returns:
        The model. A ``local:`` model's file is fetched and its server started by the first call.

    Raises:
        InputError: ``HYPERALIGN_TIMEOUT`` is not a number of seconds, or a setting has no sense.
        UnknownModelError: no model goes by this name.
        ModelServerError: the vLLM server, or that of adapters, does not answer.
    """
    name = name.strip()
    _check(temperature, concurrency, api_base)
    fixed = {"temperature": temperature, "reasoning_effort": reasoning_effort}
    settings = {"num_retries": _RETRIES, **settings}
    shared = _Shared(
        name=name,
        timeout=timeout or _timeout_from_environment(),
        headers=dict(extra_headers or {}),
        fixed={key: value for key, value in fixed.items() if value is not None},
        concurrency=concurrency,
        patience=settings["num_retries"],
    )
    scheme, _, rest = name.partition(":")
    if scheme == "local":
        target = _local(shared, rest, server, progress)
    elif scheme == "vllm":
        target = _vllm(shared, rest, api_key)
    elif scheme == "adapter":
        target = _adapter(shared, rest, api_key)
    else:
        if not name or name.endswith("/"):
            raise UnknownModelError(f"'{name}' is not the name of a model.", remedy="Write 'provider/model'.")
        target = shared.target(
            name, "hosted", _HOSTED_SECONDS, api_base=api_base, api_key=api_key, api_version=api_version
        )
    # Saved states of DSPy programs hold these; both are fixed here.
    for key in ("cache", "engine", "model_type"):
        settings.pop(key, None)
    return LM(target, Meter(budget, journal), **settings)


@dataclass(frozen=True)
class _Shared:
    """What all kinds of targets have in common."""

    name: str
    timeout: float | None
    headers: dict[str, str]
    fixed: dict[str, Any]
    concurrency: int | None
    patience: int

    def target(
        self,
        model: str,
        kind: ModelKind,
        seconds: float,
        *,
        default_concurrency: int = DEFAULT_CONCURRENCY,
        **of_kind: Any,
    ) -> Target:
        """A target.

        Args:
            model: LiteLLM's name.
            kind: who runs it.
            seconds: to wait for an answer, where nothing else was said.
            default_concurrency: requests under way at once, where nothing else was said.
            of_kind: what only some kinds have.
        """
        return Target(
            self.name,
            model,
            kind,
            self.timeout or seconds,
            headers=self.headers,
            fixed=self.fixed,
            concurrency=self.concurrency or default_concurrency,
            patience=self.patience,
            **of_kind,
        )


def _check(temperature: float | None, concurrency: int | None, api_base: str | None) -> None:
    if api_base is not None and "?" in api_base:
        raise InputError(
            "The address has a query, which is no place for a key.",
            remedy="Give the key with api_key=, an environment variable or a header, and the address without '?'.",
        )
    if temperature is not None and not 0 <= temperature <= _HOTTEST:
        raise InputError(f"A temperature of {temperature:g}.", remedy=f"Give one from 0 to {_HOTTEST:g}.")
    if concurrency is not None and concurrency < 1:
        raise InputError(f"{concurrency} calls at once.", remedy="Give a concurrency of 1 or more.")


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


def _local(shared: _Shared, rest: str, settings: ServerSettings | None, progress: Progress | None) -> Target:
    model = resolve(rest)
    server = LlamaServer(model, settings, progress)
    return shared.target(
        f"openai/{model.served_name}", "local", _LOCAL_SECONDS, default_concurrency=server.settings.slots, server=server
    )


def _vllm(shared: _Shared, rest: str, api_key: str | None) -> Target:
    served = locate(rest, api_key)
    # The client library wants a key even where the server doesn't.
    return shared.target(
        f"hosted_vllm/{served.model}",
        "vllm",
        _LOCAL_SECONDS,
        default_concurrency=_VLLM_CONCURRENCY,
        api_base=served.base,
        api_key=served.api_key or "none",
    )


def _adapter(shared: _Shared, rest: str, api_key: str | None) -> Target:
    if (Path(rest).expanduser() / "card.json").is_file():
        # What serves an adapter here builds on this package: it is only loaded where it is asked for.
        from ..serve.multi_lora import serve_at_home

        served = serve_at_home(Path(rest).expanduser())
    else:
        served = locate_adapter(rest, api_key)
    # The server works on one request at a time, and the client library wants a key even where the server doesn't.
    return shared.target(
        f"openai/{served.model}",
        "adapter",
        _LOCAL_SECONDS,
        default_concurrency=1,
        api_base=served.base,
        api_key=served.api_key or "none",
    )
