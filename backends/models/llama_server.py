"""The embedded model's server: llama.cpp on loopback, in a process that several programs share.

``LlamaServer`` finds or starts the one server of a model file and settings, and holds a lease on it. Run as a module,
this file is that server: it serves until no lease is held any more. The two share files in ``servers/`` of the
cache folder, named ``<weights>-<settings>``: ``.json`` (address and key, readable by the owner alone), ``.lock`` (held
while starting or stopping), ``.alive`` (held by the server while it lives), ``.leases/`` (one locked file a user) and
``.log``. The kernel releases the locks of a process that ends, even by ``kill -9``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_exponential

from hyperalign.concurrency import Progress, processor_threads
from hyperalign.errors import MissingExtraError
from hyperalign.files import cache_folder, make_private_file, make_private_folder, write_whole

from .catalogue import LocalModel
from .control_tokens import control_tokens
from .download import check_local, ensure_local
from .lora import Lora, write_lora
from .servers import Address, ModelServer, start_process, wait_until_ready

__all__ = ["LlamaServer", "ServerSettings"]

_START_SECONDS = 120.0
_STOP_SECONDS = 5.0
_WATCH_SECONDS = 0.2
_LINGER_SECONDS = 5.0
_DEFAULT_CONTEXT = 8192
_PROMPT_CACHE_MIB = 1024
_DEFAULT_ANSWER = 1024  # tokens, where a request names no limit: a small model may go in circles for minutes
# llama.cpp's log levels: errors and warnings; the next one up begins to quote requests.
_LOG_LEVEL = 2


class ServerSettings(BaseModel):
    """How a model is served; processes that want the same share one server.

    Attributes:
        threads: processor threads for the model; ``processor_threads()`` by default.
        slots: requests worked on at once.
        context: the longest request with its answer, in tokens; the smaller of 8192 and
            what the model was trained for by default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int = 0
    slots: int = 2
    context: int = 0

    def filled(self, model: LocalModel) -> ServerSettings:
        """The same with the defaults of this machine and model filled in."""
        context = self.context or min(_DEFAULT_CONTEXT, model.context or _DEFAULT_CONTEXT)
        return ServerSettings(threads=self.threads or processor_threads(), slots=self.slots, context=context)


class LlamaServer(ModelServer):
    """One model's server, started when first needed.

    Args:
        model: the model file; fetched when first needed.
        settings: how to serve it.
        progress: told of a download.
        loras: adapters of it. One alone applies to every request, and the server goes by its name; of several, a
            request names in ``lora`` those that apply to it.
    """

    def __init__(
        self,
        model: LocalModel,
        settings: ServerSettings | None = None,
        progress: Progress | None = None,
        loras: Sequence[Lora] = (),
    ) -> None:
        self.model = model
        self.loras = tuple(loras)
        self.settings = (settings or ServerSettings()).filled(model)
        self.progress = progress
        self._address: Address | None = None
        self._lease: FileLock | None = None
        self._owner = 0
        self._guard = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.model, self.settings, None, self.loras)

    def address(self, *, renew: bool = False) -> Address:
        """See ``ModelServer``."""
        with self._guard:
            forked = self._owner != os.getpid()
            if self._address is None or renew or forked:
                path = ensure_local(self.model, self.progress)
                loras = [write_lora(lora, path) for lora in self.loras]
                places = _Places.of(self.model, self.settings, self.loras)
                make_private_folder(places.leases)
                with FileLock(places.lock, mode=0o600):
                    if self._lease is None or forked:
                        self._lease, self._owner = _take_lease(places), os.getpid()
                    self._address = _living(places) or _start(places, path, self.served_name, self.settings, loras)
            return self._address

    @property
    def served_name(self) -> str:
        """The name in requests: the model's, or that of its one adapter."""
        return self.loras[0].served_name if len(self.loras) == 1 else self.model.served_name

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """See ``ModelServer``."""
        return control_tokens(ensure_local(self.model))

    def close(self) -> None:
        """See ``ModelServer``: gives the lease back."""
        with self._guard:
            if self._lease is not None and self._owner == os.getpid():
                self._lease.release()
            self._lease = self._address = None

    def check(self) -> None:
        """See ``ModelServer``."""
        check_local(self.model, "xllamacpp", "A 'local:' model")


class _Places:
    """The files of one server."""

    def __init__(self, stem: Path) -> None:
        self.stem = stem
        names = ("json", "lock", "alive", "leases", "log")
        self.state, self.lock, self.alive, self.leases, self.log = (Path(f"{stem}.{name}") for name in names)

    @classmethod
    def of(cls, model: LocalModel, settings: ServerSettings, loras: Sequence[Lora] = ()) -> _Places:
        name = f"{model.sha256[:12]}-t{settings.threads}-s{settings.slots}-c{settings.context}"
        if loras:
            names = "\n".join(f"{lora.served_name} {lora.sha256}" for lora in loras)
            name += f"-l{hashlib.sha256(names.encode()).hexdigest()[:12]}"
        return cls(cache_folder() / "servers" / name)


def _take_lease(places: _Places) -> FileLock:
    lease = FileLock(places.leases / f"{os.getpid()}-{secrets.token_hex(4)}", thread_local=False, mode=0o600)
    lease.acquire()
    return lease


def _is_free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0, mode=0o600):
            return True
    except Timeout:
        return False


def _living(places: _Places) -> Address | None:
    """The running server's address; one that lives but does not answer is killed."""
    if _is_free(places.alive):
        return None
    address = _read_state(places)
    if address is not None:
        for pause in (0.0, 0.5, 2.0):
            time.sleep(pause)
            if address.is_healthy:
                return address
            if _is_free(places.alive):
                return None
        # The lock is held, so the pid is still the server's and no stranger's.
        os.kill(address.pid, signal.SIGKILL)
    wait_until_free = Retrying(
        retry=retry_if_result(lambda free: not free),
        stop=stop_after_delay(_STOP_SECONDS),
        wait=wait_exponential(multiplier=0.02, max=0.5),
        retry_error_callback=lambda _: False,
    )
    wait_until_free(_is_free, places.alive)
    return None


def _read_state(places: _Places) -> Address | None:
    try:
        return Address.model_validate_json(places.state.read_bytes())
    except (OSError, ValidationError):
        return None


def _start(places: _Places, model: Path, served_name: str, settings: ServerSettings, loras: Sequence[Path]) -> Address:
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtraError("A 'local:' model", "local")
    places.state.unlink(missing_ok=True)
    arguments = [str(places.stem), str(model), served_name, settings.model_dump_json(), *map(str, loras)]
    make_private_file(places.log)
    with places.log.open("wb") as log:
        process = start_process(
            [sys.executable, "-m", "hyperalign.backends.models.llama_server", *arguments],
            log,
            # Threads that spin while they wait for each other cost a factor of twenty where processors are shared.
            {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")},
        )
    return wait_until_ready(
        process,
        lambda: _read_state(places),
        lambda: places.log.read_text("utf-8", errors="replace"),
        title="The embedded model's server",
        remedy="If memory is short, try a smaller model ('hyperalign models list') or a smaller context.",
        seconds=_START_SECONDS,
    )


def _serve(places: _Places, model: str, served_name: str, settings: ServerSettings, loras: Sequence[str]) -> None:
    """Load the model, publish the address, and serve until no lease is held."""
    import xllamacpp

    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    linger = float(os.environ.get("HYPERALIGN_SERVER_LINGER") or _LINGER_SECONDS)
    key = secrets.token_urlsafe(32)
    with FileLock(places.alive, timeout=_STOP_SECONDS, mode=0o600):
        parameters = _parameters(xllamacpp.CommonParams(), model, served_name, key, settings)
        is_chosen = len(loras) > 1
        parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, float(not is_chosen)) for path in loras]
        if is_chosen:
            # What was read of a prompt is kept by its tokens alone: another adapter would go on from it.
            parameters.cache_ram_mib = 0
        server = xllamacpp.Server(parameters)
        address = Address(base=f"{server.listening_address}/v1", key=key, pid=os.getpid())
        # Written by way of a temporary file that only the owner may read.
        # As bytes, since the key of this server is what the file is for.
        write_whole(places.state, address.model_dump_json().encode())
        last_used = time.monotonic()
        while not stopping.wait(_WATCH_SECONDS):
            if _has_users(places):
                last_used = time.monotonic()
            elif time.monotonic() - last_used >= linger and _retire(places):
                break
        del server


def _parameters(parameters: Any, model: str, served_name: str, key: str, settings: ServerSettings) -> Any:
    parameters.model.path = model
    parameters.model_alias = {served_name}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [key]
    parameters.n_ctx = settings.context * settings.slots
    parameters.n_parallel = settings.slots
    parameters.n_predict = _DEFAULT_ANSWER
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads
    parameters.cache_prompt = True
    parameters.cache_ram_mib = _PROMPT_CACHE_MIB
    parameters.ctx_shift = False
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = _LOG_LEVEL
    return parameters


def _has_users(places: _Places) -> bool:
    """Whether a lease is held, or about to be."""
    try:
        return any(not _is_free(lease) for lease in places.leases.iterdir())
    except FileNotFoundError:
        return False


def _retire(places: _Places) -> bool:
    """Prepare to end, unless a lease is just being taken; True if the server is to end."""
    if not places.leases.is_dir():
        return True
    try:
        # Users take their lease under this lock, so none can slip in between.
        with FileLock(places.lock, timeout=0, mode=0o600):
            if _has_users(places):
                return False
            for lease in places.leases.iterdir():
                lease.unlink(missing_ok=True)
            places.state.unlink(missing_ok=True)
            return True
    except Timeout:
        return False


def _main(arguments: list[str]) -> None:
    stem, model, served_name, settings, *loras = arguments
    _serve(_Places(Path(stem)), model, served_name, ServerSettings.model_validate_json(settings), loras)


if __name__ == "__main__":
    _main(sys.argv[1:])
