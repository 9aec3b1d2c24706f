"""Where a vLLM server is, what it serves, and the key it wants; used to ask it and to score with it.

This file starts no server: people do, with ``vllm serve``.

Where ``hyperalign serve`` listens, and under which name an adapter is served there.

This file starts no server: people do.

Where a model's requests go: its name on the wire, its address and its key.

Keys live here and nowhere else: never in an LM's settings, so they can't be saved,
copied into a history, or shown. This file makes no model calls.
"""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from hyperalign.concurrency import DEFAULT_CONCURRENCY
from hyperalign.errors import MissingExtraError, MissingKeyError, ModelServerError, UnknownModelError
from hyperalign.privacy import remember_secret

from .llama_server import LlamaServer
from .meter import Pace
from .parameters import Parameters, speaks_responses
from .transport import Clients

__all__ = [
    "ModelKind",
    "Served",
    "Target",
    "adapters_address",
    "called",
    "error_message",
    "key_variable",
    "locate",
    "locate_adapter",
    "served_models",
    "vllm_address",
]

_VLLM_ADDRESS = "http://127.0.0.1:8000"
_ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """A model on a vLLM server.

    Attributes:
        base: the address, with ``/v1``.
        model: its name there.
        api_key: what the server wants as a bearer token; None if nothing is known of one.
    """

    base: str
    model: str
    api_key: str | None


def locate(name: str, api_key: str | None = None) -> Served:
    """Find the model of ``vllm:<name>``.

    Args:
        name: an address, an address with ``#<model>``, or a model's name on the server of ``vllm_address``.
        api_key: instead of the environment's ``VLLM_API_KEY``.

    Raises:
        ModelServerError: the server had to be asked for its model, and does not answer or has none.
    """
    key = api_key or os.environ.get("VLLM_API_KEY")
    address, _, model = name.partition("#") if "://" in name else (vllm_address(), "", name)
    if not model:
        names = served_models(address, key)
        if not names:
            raise ModelServerError(
                f"The vLLM server at {_shown(address)} serves no model.", remedy="Start it with 'vllm serve MODEL'."
            )
        model = names[0]
    return Served(_base(address), model, key)


def vllm_address() -> str:
    """The address of the vLLM server for ``vllm:<model>``: ``HYPERALIGN_VLLM`` or port 8000 here."""
    return os.environ.get("HYPERALIGN_VLLM") or _VLLM_ADDRESS


def served_models(address: str, api_key: str | None = None) -> list[str]:
    """The names that an OpenAI-compatible server serves.

    Args:
        address: with or without ``/v1``.
        api_key: sent as a bearer token.

    Raises:
        ModelServerError: it does not answer, or not as such a server would.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        response = httpx.get(f"{_base(address)}/models", headers=headers, timeout=_ASK_SECONDS)
        response.raise_for_status()
        return [str(model["id"]) for model in response.json()["data"]]
    # Not the error's own text: the address may hold a password.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise ModelServerError(
            f"No vLLM server answers at {_shown(address)} ({type(error).__name__}).",
            remedy="Start one with 'vllm serve MODEL', or check the address.",
        ) from error


def error_message(response: httpx.Response) -> str:
    """What a server says of a request that it refused, cut; its status where it says nothing."""
    try:
        body = response.json()
    except ValueError:
        return f"status {response.status_code}"
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]


def _base(address: str) -> str:
    address = address.rstrip("/")
    return address if address.endswith("/v1") else f"{address}/v1"


def _shown(address: str) -> str:
    # Not parsed: what is no address at all must be shown too.
    return re.sub(r"//[^/\s]*@", "//", address)


_ADAPTERS_ADDRESS = "http://127.0.0.1:8010"


def adapters_address() -> str:
    """The address of the adapters' server: ``HYPERALIGN_ADAPTERS`` or port 8010 here."""
    return os.environ.get("HYPERALIGN_ADAPTERS") or _ADAPTERS_ADDRESS


def called(name: str, served: Sequence[str]) -> list[str]:
    """Which of the names that a server lists are meant by one, with or without the hash of the weights."""
    return [each for each in served if each == name or each.rpartition("-")[0] == name]


def locate_adapter(name: str, api_key: str | None = None) -> Served:
    """Find the adapter of ``adapter:<name>``.

    Args:
        name: the adapter's name, with or without the hash of its weights.
        api_key: instead of the environment's ``HYPERALIGN_SERVE_KEY``.

    Returns:
        Where it is, under its name with the hash, so that no cache confuses two adapters of one name.

    Raises:
        ModelServerError: the server does not answer.
        UnknownModelError: it serves no such adapter.
    """
    key = api_key or os.environ.get("HYPERALIGN_SERVE_KEY")
    address = adapters_address()
    try:
        names = served_models(address, key)
    except ModelServerError as error:
        raise ModelServerError(
            "No server of adapters answers.",
            remedy="Start one with 'hyperalign serve --adapters FOLDER', or set HYPERALIGN_ADAPTERS to its address.",
        ) from error
    found = called(name, names)
    if not found:
        raise UnknownModelError(f"No adapter {name!r} is served.", remedy=f"There are: {', '.join(names)}.")
    base = address.rstrip("/")
    return Served(base if base.endswith("/v1") else f"{base}/v1", found[0], key)


_PATIENCE_WITH_RATE_LIMITS = 3

ModelKind = Literal["hosted", "vllm", "local", "adapter"]


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
        server: the embedded model's server; None for the others.
    """

    name: str
    model: str
    kind: ModelKind
    timeout: float
    api_base: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    server: LlamaServer | None = field(default=None, repr=False)
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
        self.parameters = Parameters(self.model, self.name, self.fixed)
        # A rate limit passes: it is waited for more often than a fault.
        self.pace = Pace(self.concurrency, _PATIENCE_WITH_RATE_LIMITS * self.patience)
        self.clients = Clients(self.model.partition("/")[0], self.timeout)

    def options(self) -> dict[str, Any]:
        """LiteLLM's client options for a call; starts the embedded server if need be.

        Raises:
            MissingKeyError: the provider needs a key and there is none.
            MissingExtraError: the model takes a part to reach that is not installed.
            UnknownModelError: LiteLLM knows no such provider.
            ModelServerError: the embedded server does not start.
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
            "api_base": self.api_base,
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
        made = ("_guard", "server", "parameters", "pace", "clients")
        state = {key: value for key, value in self.__dict__.items() if key not in made}
        settings = self.server.settings.model_dump() if self.server is not None else None
        model = self.server.model if self.server is not None else None
        # Whoever needs a password in an address gives it again.
        state["api_base"] = re.sub(r"//[^/\s@]+@", "//", self.api_base) if self.api_base else None
        return {**state, "api_key": None, "headers": {}, "_checked": False, "_served": (model, settings)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from .llama_server import ServerSettings

        model, settings = state.pop("_served")
        self.__dict__.update(state)
        self._guard = threading.Lock()
        self.server = LlamaServer(model, ServerSettings.model_validate(settings)) if model is not None else None
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


def key_variable(model: str) -> str:
    """The environment variable that usually holds the key of a model's provider."""
    provider = model.split("/", 1)[0] if "/" in model else "openai"
    return f"{provider.upper().replace('-', '_')}_API_KEY"


def has_key(variable: str) -> bool:
    """Whether a key is set; its value is never looked at."""
    return bool(os.environ.get(variable))
