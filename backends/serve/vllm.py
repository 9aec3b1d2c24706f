"""A vLLM server for a base and its adapters: started in an environment of its own, waited for, and ended.

vLLM can't share an environment with what trains adapters, so it is run as a program and spoken to over HTTP. Adapters
are put on it one by one while it runs (``loading``). This file knows no adapter's weights.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from hyperalign.errors import InputError, MissingExtraError, ModelServerError, StorageError, TrainingError
from hyperalign.files import cache_folder

from ..distill.adapters import Adapter
from .openai_server import check_host

__all__ = ["VLLMServer", "adapter_rank", "find_vllm", "rank_room"]

_START_SECONDS = 900.0
_STOP_SECONDS = 20.0
_LONGEST = 4096
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank of its adapters."""
_AT_ONCE = 8
_FEW_CORES = 4
_INSIDE = Path(__file__).parent / "inside_vllm"


def find_vllm() -> Path:
    """The Python that has vLLM: ``HYPERALIGN_VLLM_PYTHON``, or this one.

    Raises:
        MissingExtraError: vLLM is not there.
    """
    named = os.environ.get("HYPERALIGN_VLLM_PYTHON")
    if named and (found := shutil.which(named)):
        return Path(found)
    if not named and importlib.util.find_spec("vllm") is not None:
        return Path(sys.executable)
    raise MissingExtraError(
        "Serving with vLLM",
        "serve",
        hint="in an environment of its own (from a checkout: pip install '.[serve]'), and set HYPERALIGN_VLLM_PYTHON "
        "to the path of its Python",
    )


def adapter_rank(adapter: Adapter) -> int:
    """The rank of an adapter's matrices, by its own configuration.

    Raises:
        TrainingError: it can't be read.
    """
    try:
        return int(json.loads((adapter.path / "adapter_config.json").read_bytes())["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"adapter_config.json of the adapter in {adapter.path} can't be read.", remedy="Distill it again."
        ) from error


def rank_room(adapters: Sequence[Adapter]) -> int:
    """The smallest room for ranks that vLLM knows and that all adapters fit into, at least 16.

    Raises:
        InputError: a rank is above all that vLLM takes.
    """
    largest = max([16, *map(adapter_rank, adapters)])
    for room in _RANKS:
        if largest <= room:
            return room
    raise InputError(
        f"vLLM takes adapters of rank {_RANKS[-1]} at most; one here has {largest}.",
        remedy="Serve it with --engine transformers, or distill it with a smaller --rank.",
    )


class VLLMServer:
    """vLLM with one base model, ready for adapters; ends with the ``with`` block.

    Args:
        python: with vLLM.
        base: the checkpoint's folder.
        base_name: what the base is called.
        host: where to listen.
        port: where to listen; 0 for any free one.
        key: what requests must carry as a bearer token; empty for none.
        rank: the largest rank of an adapter.

    More of vLLM's own options go into ``HYPERALIGN_VLLM_OPTIONS``, and come last.

    Raises:
        InputError: it would listen beyond this machine without a key.
        StorageError: the port is taken.
    """

    def __init__(
        self,
        python: Path,
        base: Path,
        base_name: str,
        *,
        host: str = "127.0.0.1",
        port: int = 8010,
        key: str = "",
        rank: int = 16,
    ) -> None:
        check_host(host, key)
        port = _free_port(host, port)
        self.address = f"http://{host}:{port}"
        self.key = key
        self.log = cache_folder() / "servers" / f"vllm-{port}.log"
        self._command = [
            *(str(python), "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(base), "--served-model-name", base_name),
            *("--host", host, "--port", str(port), "--generation-config", "vllm"),
            # vLLM's own key leaves some paths open, and pages of any origin may ask.
            *("--middleware", "hyperalign_guard.Guard", "--allowed-origins", "[]"),
            *("--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(_AT_ONCE)),
            *_suits_this_machine(),
            *("--max-model-len", str(_room(base)), *shlex.split(os.environ.get("HYPERALIGN_VLLM_OPTIONS", ""))),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> VLLMServer:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(os.environ, self.key),
                # It has processes of its own, which must end with it.
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def run(self) -> None:
        """Wait until it ends by itself.

        Raises:
            ModelServerError: it did.
        """
        if self._process is not None:
            code = self._process.wait()
            raise self._fault(f"ended with exit code {code}")

    def end(self) -> None:
        """End it with all its processes."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
            try:
                os.killpg(process.pid, number)
                process.wait(seconds)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait()

    def _wait(self) -> None:
        waiting = Retrying(
            retry=retry_if_result(lambda ready: not ready),
            stop=stop_after_delay(_START_SECONDS),
            wait=wait_fixed(0.5),
            retry_error_callback=lambda _: False,
        )
        if not waiting(self._ready):
            raise self._fault(f"was not ready after {_START_SECONDS:.0f} seconds")

    def _ready(self) -> bool:
        if self._process is not None and (code := self._process.poll()) is not None:
            raise self._fault(f"ended with exit code {code}")
        try:
            return httpx.get(f"{self.address}/health", timeout=2.0).is_success
        except httpx.HTTPError:
            return False

    def _fault(self, what: str) -> ModelServerError:
        lines = self.log.read_text("utf-8", errors="replace").strip().splitlines()
        # What went wrong is said by one of vLLM's own processes, long before the last line.
        told = [line for line in lines if "Error" in line][-3:] or lines[-8:]
        tail = "\n  ".join(line[:300] for line in told) or "(empty)"
        return ModelServerError(
            f"vLLM {what}. From its log:\n  {tail}\n",
            remedy=f"The whole log is {self.log}. If memory is short: HYPERALIGN_VLLM_OPTIONS='--max-model-len 1024'.",
        )


def _suits_this_machine() -> list[str]:
    """Where there is no GPU, numbers that the processor computes with: most have no bfloat16, and emulate it."""
    if any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd")):
        return []
    try:
        able = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return [] if "avx512_bf16" in able or "amx_bf16" in able else ["--dtype", "float32"]


def _free_port(host: str, port: int) -> int:
    # Whoever listens there already would be taken for the server that is being started.
    try:
        with socket.create_server((host, port)) as listening:
            return int(listening.getsockname()[1])
    except OSError as error:
        raise StorageError(
            f"Port {port} of {host} can't be listened on: {error.strerror or error}.", remedy="Choose another --port."
        ) from error


def _room(base: Path) -> int:
    try:
        trained = int(json.loads((base / "config.json").read_bytes())["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return _LONGEST
    return min(trained, _LONGEST)


def _environment(own: Mapping[str, str], key: str) -> dict[str, str]:
    told = {
        # By the environment, as anybody on the machine can read a command.
        **({"VLLM_API_KEY": key} if key else {}),
        "PYTHONPATH": str(_INSIDE),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    }
    kept = {name: value for name, value in own.items() if name not in ("VLLM_API_KEY", "PYTHONPATH")}
    # Nothing here goes out to a hub, and nobody is told of what runs here.
    quiet = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    # In GiB, and on a processor alone: vLLM's own default is four, whatever there is.
    small = {"VLLM_CPU_KVCACHE_SPACE": "1"}
    if (os.cpu_count() or 1) <= _FEW_CORES:
        # vLLM keeps one core for itself, which here is half of them.
        small |= {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}
    return {**quiet, **small, **kept, **told}
