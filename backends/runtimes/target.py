"""Where a model's requests go: its name on the wire, its address and its key.

Keys live here and nowhere else: never in an LM's settings, so they can't be saved,
copied into a history, or shown. This file makes no model calls.
"""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from dataclasses import dataclass, field
from typing import Any, Literal

from hyperalign.concurrency import DEFAULT_CONCURRENCY
from hyperalign.errors import MissingExtraError, MissingKeyError, UnknownModelError
from hyperalign.scrub import remember_secret

from .llama_server import LlamaServer
from .pace import Pace
from .parameters import Parameters, speaks_responses
from .transport import Clients

__all__ = ["Kind", "Target", "key_variable"]

_PATIENCE_WITH_RATE_LIMITS = 3

Kind = Literal["hosted", "vllm", "local", "adapter"]


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
    kind: Kind
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
