"""Model servers: how those of this machine are started, awaited and ended, and what a running one serves."""

from __future__ import annotations

import os
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import httpx
from pydantic import BaseModel, ConfigDict
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from hyperalign.errors import ModelServerError, UnknownModelError, full_address, hide_userinfo
from hyperalign.programs.dspy_internals import Provider

__all__ = [
    "Address",
    "ModelServer",
    "Served",
    "ServerProvider",
    "adapters_address",
    "error_message",
    "locate",
    "locate_adapter",
    "matching_names",
    "served_models",
    "server_error",
    "start_process",
    "vllm_address",
    "wait_until_ready",
]

_LOG_LINES = 8
_VLLM_ADDRESS = "http://127.0.0.1:8000"
_ADAPTERS_ADDRESS = "http://127.0.0.1:8010"
_LIST_SECONDS = 5.0


class Address(BaseModel):
    """Where a server process listens.

    Attributes:
        base: OpenAI's base address, with ``/v1``.
        key: the key that requests must carry.
        pid: the server's process.
    """

    model_config = ConfigDict(frozen=True)

    base: str
    key: str
    pid: int

    @property
    def is_healthy(self) -> bool:
        """Whether it answers now."""
        try:
            return httpx.get(f"{self.base.removesuffix('/v1')}/health", timeout=2.0).is_success
        except httpx.HTTPError:
            return False


class ModelServer(ABC):
    """A model's server on this machine, started when it is first needed."""

    @abstractmethod
    def address(self, *, renew: bool = False) -> Address:
        """Where the server listens; found or started if need be.

        Args:
            renew: the last address did not answer: look again, and replace a dead server.

        Raises:
            ModelServerError: the server does not start; the end of its log is in the message.
            MissingExtraError: what runs it is not installed.
            DownloadError: the model file could not be fetched.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop using the server: it ends when nobody else uses it, and is started anew when needed again."""

    @property
    @abstractmethod
    def control_tokens(self) -> tuple[str, ...]:
        """Texts that the server would take for control tokens, wherever they stand in a conversation."""

    @abstractmethod
    def check(self) -> None:
        """Check that it could be started; nothing is fetched or started.

        Raises:
            MissingExtraError: what runs it is not installed.
            DownloadError: the model file is not here, and must not be fetched.
            StorageError: there is no space for the file.
        """


def start_process(
    command: Sequence[str], log: IO[bytes], environment: Mapping[str, str], *, stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a server's process, with its output in a log.

    Args:
        command: the program and its arguments.
        log: takes standard output and error.
        environment: variables beside those of this process.
        stdin: as ``subprocess.Popen`` takes it.
    """
    process = subprocess.Popen(  # noqa: S603
        list(command),
        stdin=stdin,
        stdout=log,
        stderr=log,
        env={**os.environ, **environment},
        # Ctrl-C in the user's terminal is not meant for a server.
        start_new_session=True,
    )
    # A server may outlive whoever started it, but while we live its exit must be heard: no zombie is left.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def wait_until_ready(
    process: subprocess.Popen[bytes],
    find_address: Callable[[], Address | None],
    read_log: Callable[[], str],
    *,
    title: str,
    remedy: str,
    seconds: float,
) -> Address:
    """Wait until a server that was started answers.

    Args:
        process: the server's; it is killed if it does not become ready.
        find_address: the address that the server reports; None until it does.
        read_log: what the server wrote so far.
        title: names the server in messages.
        remedy: what to do if it does not start.
        seconds: to wait at most.

    Raises:
        ModelServerError: it ended, or was not ready in time; the end of its log is in the message.
    """

    def ready() -> Address | None:
        if (code := process.poll()) is not None:
            raise server_error(title, f"ended with exit code {code}", read_log(), remedy)
        address = find_address()
        return address if address is not None and address.is_healthy else None

    waiting = Retrying(
        retry=retry_if_result(lambda address: address is None),
        stop=stop_after_delay(seconds),
        wait=wait_exponential(multiplier=0.05, max=0.5),
        retry_error_callback=lambda _: None,
    )
    try:
        address: Address | None = waiting(ready)
        if address is None:
            raise server_error(title, f"was not ready after {seconds:.0f} seconds", read_log(), remedy)
    except BaseException:
        process.kill()
        raise
    return address


def server_error(title: str, event: str, log: str, remedy: str) -> ModelServerError:
    """The error for a server that failed, with the end of its log in the message."""
    tail = "\n  ".join(log.strip().splitlines()[-_LOG_LINES:]) or "(empty)"
    return ModelServerError(f"{title} {event}. The end of its log:\n  {tail}\n", remedy=remedy)


@dataclass(frozen=True, slots=True)
class Served:
    """A model on a running server.

    Attributes:
        base: the address, with ``/v1``.
        model: its name there.
        api_key: what the server wants as a bearer token; None if it is not known to want one.
    """

    base: str
    model: str
    api_key: str | None


def vllm_address() -> str:
    """The address of the vLLM server for ``vllm:<model>``: ``HYPERALIGN_VLLM``, or port 8000 of this machine."""
    return os.environ.get("HYPERALIGN_VLLM") or _VLLM_ADDRESS


def adapters_address() -> str:
    """The address of the adapters' server: ``HYPERALIGN_ADAPTERS``, or port 8010 of this machine."""
    return os.environ.get("HYPERALIGN_ADAPTERS") or _ADAPTERS_ADDRESS


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
        response = httpx.get(f"{_base(full_address(address))}/models", headers=headers, timeout=_LIST_SECONDS)
        response.raise_for_status()
        return [str(model["id"]) for model in response.json()["data"]]
    # Not the error's own text: the address may hold a password.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        if _refuses_key(error):
            raise ModelServerError(
                f"The server at {hide_userinfo(address)} refuses the key.", remedy="Set VLLM_API_KEY to its key."
            ) from error
        raise ModelServerError(
            f"No vLLM server answers at {hide_userinfo(address)} ({type(error).__name__}).",
            remedy="Start one with 'vllm serve MODEL', or check the address.",
        ) from error


def _refuses_key(error: BaseException | None) -> bool:
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (401, 403)


def matching_names(name: str, served: Sequence[str]) -> list[str]:
    """The names among those a server lists that a name stands for, with or without the hash of the weights."""
    return [each for each in served if each == name or each.rpartition("-")[0] == name]


def locate(name: str, api_key: str | None = None) -> Served:
    """Find the model of ``vllm:<name>``.

    Args:
        name: an address, an address with ``#<model>``, or a model's name on the server at ``vllm_address``.
        api_key: instead of the environment's ``VLLM_API_KEY``.

    Raises:
        ModelServerError: the server had to be asked for its model, and does not answer or has none.
    """
    key = api_key or os.environ.get("VLLM_API_KEY")
    name = hide_userinfo(name)
    address, _, model = name.partition("#") if "://" in name else (hide_userinfo(vllm_address()), "", name)
    if not model:
        names = served_models(address, key)
        if not names:
            raise ModelServerError(
                f"The vLLM server at {hide_userinfo(address)} serves no model.",
                remedy="Start it with 'vllm serve MODEL'.",
            )
        model = names[0]
    return Served(_base(full_address(address)), model, key)


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
    address = hide_userinfo(adapters_address())
    try:
        names = served_models(address, key)
    except ModelServerError as error:
        if _refuses_key(error.__cause__):
            raise ModelServerError(
                "The server of adapters refuses the key.",
                remedy="Set HYPERALIGN_SERVE_KEY to its key: 'hyperalign serve' prints the one that it makes.",
            ) from error
        raise ModelServerError(
            "No server of adapters answers.",
            remedy="Start one with 'hyperalign serve --adapters FOLDER', or set HYPERALIGN_ADAPTERS to its address.",
        ) from error
    found = matching_names(name, names)
    if not found:
        raise UnknownModelError(f"No adapter {name!r} is served.", remedy=f"There are: {', '.join(names)}.")
    return Served(_base(full_address(address)), found[0], key)


def error_message(response: httpx.Response) -> str:
    """The message of a refusal, at most 300 characters; its status where it has none."""
    try:
        body = response.json()
    except ValueError:
        return f"status {response.status_code}"
    error = body.get("error", body) if isinstance(body, dict) else body
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]


def _base(address: str) -> str:
    address = address.rstrip("/")
    return address if address.endswith("/v1") else f"{address}/v1"


class ServerProvider(Provider):
    """Starts and ends the server of a model that this machine serves, for DSPy's ``lm.launch()`` and ``lm.kill()``.

    A model's first call starts its server as well.
    """

    @staticmethod
    def launch(lm: Any, launch_kwargs: dict[str, Any] | None = None) -> None:
        """Start the model's server if it does not run yet; nothing for models served elsewhere."""
        del launch_kwargs
        if (server := lm.target.server) is not None:
            server.address()

    @staticmethod
    def kill(lm: Any, launch_kwargs: dict[str, Any] | None = None) -> None:
        """Stop using the model's server; nothing for models served elsewhere."""
        del launch_kwargs
        if (server := lm.target.server) is not None:
            server.close()
