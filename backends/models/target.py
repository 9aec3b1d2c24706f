"""From a model's name to where its requests go: its name at the server, its address and its key.

Keys live here and nowhere else: never in an LM's settings, so they can't be saved, copied into a history, or shown.
"""

from __future__ import annotations

import importlib.util
import math
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hyperalign.concurrency import DEFAULT_CONCURRENCY, Progress
from hyperalign.errors import (
    InputError,
    MissingExtraError,
    MissingKeyError,
    UnknownModelError,
    full_address,
    hide_userinfo,
    remember_secret,
)

from .catalogue import resolve
from .llama_server import LlamaServer, ServerSettings
from .lora import is_adapter, read_lora
from .meter import Pace
from .parameters import Parameters, speaks_responses
from .servers import ModelServer, locate, locate_adapter
from .transport import Clients

__all__ = ["TARGET_OPTIONS", "ModelKind", "Target", "open_target"]

TARGET_OPTIONS = frozenset(
    {"api_base", "api_key", "api_version", "concurrency", "fixed", "headers", "progress", "server", "timeout"}
)
"""What ``open_target`` takes beside a name; other settings of a model are DSPy's."""

ModelKind = Literal["hosted", "vllm", "local", "adapter"]

_HOSTED_SECONDS = 120.0
_LOCAL_SECONDS = 600.0
_VLLM_CONCURRENCY = 16
_HIGHEST_TEMPERATURE = 2.0
_PATIENCE_WITH_RATE_LIMITS = 3


@dataclass
class Target:
    """A model to send requests to.

    Attributes:
        name: as the user wrote it, such as ``local:smollm2-135m-instruct``.
        model: LiteLLM's name, such as ``openai/smollm2-135m-instruct-b179c952``.
        kind: who runs it.
        timeout: seconds to wait for an answer.
        api_base: the server's address; None for a provider's own.
        api_key: the key; None to let LiteLLM read the provider's environment variable.
        api_version: of the provider's interface, where it has versions (Azure).
        headers: sent with every request; they may hold secrets, so they are never saved or shown.
        fixed: parameters that the user set for all calls, such as ``temperature``.
        concurrency: requests under way at once, at most.
        patience: attempts beyond the first that a passing fault is worth.
        server: what serves the model on this machine; None for models served elsewhere.
    """

    name: str
    model: str
    kind: ModelKind
    timeout: float
    api_base: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    server: ModelServer | None = field(default=None, repr=False)
    api_version: str | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    fixed: dict[str, Any] = field(default_factory=dict)
    concurrency: int = DEFAULT_CONCURRENCY
    patience: int = 3
    _stale: bool = field(default=False, repr=False)
    _checked: bool = field(default=False, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __post_init__(self) -> None:
        for secret in (self.api_key, *self.headers.values()):
            remember_secret(secret)
        if self.api_base is not None:
            self.api_base = hide_userinfo(self.api_base)
        self.parameters = Parameters(self.model, self.name, self.fixed)
        # A rate limit passes: it is waited for more often than a fault.
        self.pace = Pace(self.concurrency, _PATIENCE_WITH_RATE_LIMITS * self.patience)
        self.clients = Clients(self.model.partition("/")[0], self.timeout, self.pace.sending)

    @property
    def is_free(self) -> bool:
        """Whether a call costs no money; what one's own vLLM server costs is not known."""
        return self.kind in ("local", "adapter")

    @property
    def is_held_back(self) -> bool:
        """Whether ordinary requests wait for ``pace.sending``: by a client of ours, to an address known beforehand."""
        if self.server is not None or not self.clients.hold_back(self.api_base):
            return False
        # LiteLLM asks such a model by a client of its own.
        return not speaks_responses(self.model)

    def options(self) -> dict[str, Any]:
        """LiteLLM's client options for a call; starts the model's own server if need be.

        Raises:
            MissingKeyError: the provider needs a key and there is none.
            MissingExtraError: reaching the model takes an extra that is not installed.
            UnknownModelError: LiteLLM knows no such provider.
            ModelServerError: the model's own server does not start.
        """
        if self.server is not None:
            with self._guard:
                renew, self._stale = self._stale, False
            address = self.server.address(renew=renew)
            return {"api_base": address.base, "api_key": address.key, "timeout": self.timeout}
        if not self._checked:
            self._check_key()
            self._checked = True
        options = {
            "timeout": self.timeout,
            "api_base": self.api_base and full_address(self.api_base),
            "api_key": self.api_key,
            "api_version": self.api_version,
            "extra_headers": self.headers or None,
        }
        return {name: value for name, value in options.items() if value is not None}

    def unreachable(self) -> None:
        """The last address did not answer: look for a living server before the next call."""
        with self._guard:
            self._stale = True

    def __getstate__(self) -> dict[str, Any]:
        rebuilt = ("_guard", "parameters", "pace", "clients")
        state = {key: value for key, value in self.__dict__.items() if key not in rebuilt}
        # Whoever needs a password in an address gives it again.
        return {**state, "api_key": None, "headers": {}, "_checked": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._guard = threading.Lock()
        self.__post_init__()

    def _check_key(self) -> None:
        import litellm
        from litellm.exceptions import BadRequestError

        # It prints advice of its own to standard output, which is the answer's.
        litellm.suppress_debug_info = True
        try:
            litellm.get_llm_provider(self.model, api_base=self.api_base)
        except BadRequestError as error:
            raise UnknownModelError(
                f"'{self.name}' names no known model provider.",
                remedy="Write 'provider/model', such as 'anthropic/…' or 'openai/…', 'vllm:…', or 'local:…'.",
            ) from error
        if speaks_responses(self.model) and importlib.util.find_spec("mcp") is None:
            raise MissingExtraError(f"'{self.name}', a model of the Responses interface,", "responses")
        if self.api_key is not None or self.api_base is not None:
            return
        missing = litellm.validate_environment(self.model)["missing_keys"]
        if missing and (variables := [name for name in missing if name.endswith(("KEY", "TOKEN"))]):
            raise MissingKeyError(
                f"'{self.name}' needs an API key, and {' and '.join(variables)} is not set.",
                remedy=f"Set {variables[0]}, or use an embedded model: 'local:qwen2.5-coder-1.5b-instruct'.",
            )


def open_target(
    name: str,
    *,
    api_key: str | None = None,
    api_base: str | None = None,
    api_version: str | None = None,
    headers: Mapping[str, str] | None = None,
    fixed: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    timeout: float | None = None,
    patience: int = 3,
    server: ServerSettings | None = None,
    progress: Progress | None = None,
) -> Target:
    """Where the requests to a model of some name go; see ``connect`` for names and options.

    Raises:
        InputError: ``HYPERALIGN_TIMEOUT`` is not a number of seconds, or an option makes no sense.
        UnknownModelError: no model goes by this name.
        ModelServerError: the vLLM server, or that of adapters, does not answer.
    """
    name = hide_userinfo(name.strip())
    chosen = {key: value for key, value in (fixed or {}).items() if value is not None}
    _check_options(chosen.get("temperature"), concurrency, api_base)
    timeout = timeout or _timeout_from_environment()
    target = partial(Target, name, headers=dict(headers or {}), fixed=chosen, patience=patience)
    scheme, _, rest = name.partition(":")
    if scheme == "local":
        model = resolve(rest)
        llama = LlamaServer(model, server, progress)
        slots = concurrency or llama.settings.slots
        return target(
            f"openai/{model.served_name}", "local", timeout or _LOCAL_SECONDS, server=llama, concurrency=slots
        )
    folder = Path(os.path.expanduser(rest)) if scheme == "adapter" and rest else None  # noqa: PTH111  # raises nothing
    if folder is not None and is_adapter(folder):
        lora = read_lora(folder)
        llama = LlamaServer(lora.base, server, progress, (lora,))
        slots = concurrency or llama.settings.slots
        return target(
            f"openai/{llama.served_name}", "adapter", timeout or _LOCAL_SECONDS, server=llama, concurrency=slots
        )
    if folder is not None and (os.sep in rest or folder.is_dir()):
        raise UnknownModelError(
            f"There is no adapter in the folder {rest}.", remedy="See: hyperalign adapters list FOLDER"
        )
    if scheme in ("vllm", "adapter"):
        is_vllm = scheme == "vllm"
        served = locate(rest, api_key) if is_vllm else locate_adapter(rest, api_key)
        return target(
            f"{'hosted_vllm' if is_vllm else 'openai'}/{served.model}",
            "vllm" if is_vllm else "adapter",
            timeout or _LOCAL_SECONDS,
            api_base=served.base,
            # The client library wants a key even where the server doesn't.
            api_key=served.api_key or "none",
            concurrency=concurrency or (_VLLM_CONCURRENCY if is_vllm else ServerSettings().slots),
        )
    if not name or name.endswith("/"):
        raise UnknownModelError(f"'{name}' is not the name of a model.", remedy="Write 'provider/model'.")
    return target(
        name,
        "hosted",
        timeout or _HOSTED_SECONDS,
        api_base=api_base,
        api_key=api_key,
        api_version=api_version,
        concurrency=concurrency or DEFAULT_CONCURRENCY,
    )


def _check_options(temperature: float | None, concurrency: int | None, api_base: str | None) -> None:
    if api_base is not None and "?" in api_base:
        raise InputError(
            "The address has a query, which is no place for a key.",
            remedy="Give the key with api_key=, an environment variable or a header, and the address without '?'.",
        )
    if temperature is not None and not 0 <= temperature <= _HIGHEST_TEMPERATURE:
        raise InputError(f"A temperature of {temperature:g}.", remedy=f"Give one from 0 to {_HIGHEST_TEMPERATURE:g}.")
    if concurrency is not None and concurrency < 1:
        raise InputError(f"{concurrency} calls at once.", remedy="Give a concurrency of 1 or more.")


def _timeout_from_environment() -> float | None:
    given = os.environ.get("HYPERALIGN_TIMEOUT")
    if not given:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InputError(f"HYPERALIGN_TIMEOUT is {given!r}.", remedy="Give seconds to wait for an answer, such as 300.")
    return seconds
