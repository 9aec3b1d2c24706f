"""Model servers that run on this machine in processes of their own: how they are started, awaited and ended."""

from __future__ import annotations

import os
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

import httpx
from pydantic import BaseModel, ConfigDict
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from hyperalign.errors import ModelServerError
from hyperalign.programs.dspy_internals import Provider

__all__ = [
    "Address",
    "ModelServer",
    "ServerProvider",
    "server_error",
    "start_process",
    "wait_until_ready",
]

_LOG_LINES = 8


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
