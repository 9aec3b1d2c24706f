"""Model servers that run on this machine in processes of their own: how they are started, awaited and ended."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import httpx
from pydantic import BaseModel, ConfigDict
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from hyperalign.errors import MissingExtraError, ModelServerError, UnknownModelError
from hyperalign.programs.dspy_internals import Provider

__all__ = [
    "AdapterServer",
    "Address",
    "ModelServer",
    "ServerProvider",
    "adapter_server",
    "is_adapter",
    "server_error",
    "start_process",
    "wait_until_ready",
]

# The base of an adapter may have to be fetched and made into a checkpoint first.
_ADAPTER_START_SECONDS = 900.0
_STOP_SECONDS = 5.0
_LOG_LINES = 8
# The parent holds the other end of the child's standard input: when the parent dies, even by kill -9, the child ends.
_END_WITH_PARENT = """
import os, signal, threading
def end_with_parent():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end_with_parent, daemon=True).start()
"""
_SERVE = "from hyperalign.cli import main; main()"


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


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / "card.json").is_file()


class AdapterServer(ModelServer):
    """The server of one adapter's folder: ``hyperalign serve`` for this process alone, which ends with it.

    Adapters that failed their gate are served, too: whoever names a folder has chosen it.

    Args:
        folder: of a whole adapter.

    Raises:
        UnknownModelError: the folder holds no whole adapter.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = _served_name(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._address: Address | None = None
        self._owner = 0
        self._guard = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return adapter_server, (self.folder,)

    def address(self, *, renew: bool = False) -> Address:
        """See ``ModelServer``."""
        with self._guard:
            if self._address is None or (renew and not self._address.is_healthy):
                self._end()
                self._address = self._start()
            return self._address

    def close(self) -> None:
        """See ``ModelServer``."""
        with self._guard:
            self._end()

    def check(self) -> None:
        """See ``ModelServer``."""
        if importlib.util.find_spec("peft") is None:
            raise MissingExtraError("Serving an adapter", "train")

    def _start(self) -> Address:
        self.check()
        key = secrets.token_urlsafe(24)
        command = [sys.executable, "-c", _END_WITH_PARENT + _SERVE, "serve", "--adapters", str(self.folder)]
        with tempfile.TemporaryFile() as log:

            def read_log() -> str:
                # The child writes at the file's one position, which must stay where it is.
                return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode("utf-8", errors="replace")

            def find_address() -> Address | None:
                found = re.search(r"http://127\.0\.0\.1:\d+/v1", read_log())
                return Address(base=found[0], key=key, pid=process.pid) if found else None

            process = start_process(
                [*command, "--port", "0", "--force"], log, {"HYPERALIGN_SERVE_KEY": key}, stdin=subprocess.PIPE
            )
            self._process, self._owner = process, os.getpid()
            return wait_until_ready(
                process,
                find_address,
                read_log,
                title=f"The server of adapter {self.model}",
                remedy="See that the adapter is whole, and that its base can be had: 'hyperalign adapters list'.",
                seconds=_ADAPTER_START_SECONDS,
            )

    def _end(self) -> None:
        process, self._process, self._address = self._process, None, None
        # A copy of this process uses the server, but only the process that started it may end it.
        if process is None or self._owner != os.getpid():
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.stdin is not None:
            process.stdin.close()


_adapter_servers: dict[tuple[Path, str], AdapterServer] = {}
_adapter_servers_lock = threading.Lock()


def adapter_server(folder: Path) -> AdapterServer:
    """The server of an adapter's folder, one for each folder and weights in this process.

    Raises:
        UnknownModelError: the folder holds no whole adapter.
    """
    made = AdapterServer(folder)
    with _adapter_servers_lock:
        server = _adapter_servers.setdefault((folder, made.model), made)
    if server is made:
        atexit.register(made.close)
    return server


def _served_name(folder: Path) -> str:
    """The name under which an adapter is served: it carries the weights, so that no cache confuses two adapters."""
    try:
        name = json.loads((folder / "card.json").read_bytes())["name"]
        sums = json.loads((folder / "manifest.json").read_bytes())["sha256"]
        return f"{name}-{sums['adapter_model.safetensors'][:8]}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnknownModelError(f"{folder} holds no whole adapter.", remedy="Distill it again.") from error


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
