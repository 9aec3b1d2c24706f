"""Starts a vLLM server for a base model and its adapters.

vLLM can't share an environment with the libraries that train, so it runs in an environment of its own and is reached
over HTTP. ``vllm_adapters`` loads adapters onto a running server.
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
from collections.abc import Sequence
from pathlib import Path

from hyperalign.errors import InputError, MissingExtraError, TrainingError
from hyperalign.files import cache_folder, make_private_file

from ..distill.adapters import Adapter
from ..gateway.litellm_proxy import is_loopback
from ..models.servers import Address, server_error, start_process, wait_until_ready

__all__ = ["VLLMServer", "check_host", "find_vllm_python", "fit_rank"]

_START_SECONDS = 900.0
_STOP_SECONDS = 20.0
_MAX_CONTEXT = 4096
_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""The values of vLLM's --max-lora-rank, from its default on."""
_MAX_LORAS = 8
_FEW_CORES = 4
_INSIDE = Path(__file__).parent / "inside_vllm"


def check_host(host: str, key: str) -> None:
    """Refuse to listen beyond this machine without a key.

    Raises:
        InputError: the host is not loopback, and there is no key.
    """
    if not is_loopback(host) and not key:
        raise InputError(
            f"Listening on {host} lets others in, and there is no key.",
            remedy="Set HYPERALIGN_SERVE_KEY, or leave --host out to listen on this machine alone.",
        )


def find_vllm_python() -> Path:
    """Return the Python that has vLLM: ``HYPERALIGN_VLLM_PYTHON``, or this one.

    Raises:
        MissingExtraError: there is none.
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


def _read_rank(adapter: Adapter) -> int:
    try:
        return int(json.loads((adapter.path / "adapter_config.json").read_bytes())["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"adapter_config.json of the adapter in {adapter.path} can't be read.", remedy="Distill it again."
        ) from error


def fit_rank(adapters: Sequence[Adapter]) -> int:
    """Return the smallest --max-lora-rank of vLLM that fits all adapters.

    Raises:
        InputError: a rank exceeds vLLM's limit.
        TrainingError: an adapter's configuration can't be read.
    """
    largest = max(map(_read_rank, adapters), default=0)
    for rank in _RANKS:
        if largest <= rank:
            return rank
    raise InputError(
        f"vLLM takes adapters of rank {_RANKS[-1]} at most; one here has {largest}.",
        remedy="Serve it with --engine llama.cpp, or distill it with a smaller --rank.",
    )


class VLLMServer:
    """A vLLM server with one base model, ready to load adapters; a context manager that starts and stops it.

    Options of vLLM in ``HYPERALIGN_VLLM_OPTIONS`` are added at the end of its command.

    Args:
        python: a Python that has vLLM.
        base: the checkpoint's folder.
        base_name: the name that the base is served under.
        host: the address to listen on.
        port: the port to listen on; 0 for a free one.
        key: the bearer token that requests must carry; empty for none.
        rank: the largest rank of an adapter.

    Raises:
        InputError: the host is not loopback, and there is no key; or the port is taken.
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
        port = _reserve_port(host, port)
        self.address = f"http://{host}:{port}"
        self.key = key
        self.log = cache_folder() / "servers" / f"vllm-{port}.log"
        self._command = [
            *(str(python), "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(base), "--served-model-name", base_name),
            *("--host", host, "--port", str(port), "--generation-config", "vllm"),
            # vLLM's own --api-key leaves some paths open, and its default lets pages of any origin send requests.
            *("--middleware", "hyperalign_guard.Guard", "--allowed-origins", "[]"),
            *("--enable-lora", "--max-lora-rank", str(rank), "--max-loras", str(_MAX_LORAS)),
            *_dtype_options(),
            *(
                "--max-model-len",
                str(_context_length(base)),
                *shlex.split(os.environ.get("HYPERALIGN_VLLM_OPTIONS", "")),
            ),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> VLLMServer:
        make_private_file(self.log)
        with self.log.open("wb") as log:
            self._process = start_process(self._command, log, _environment(self.key))
        address = Address(base=self.address, key=self.key, pid=self._process.pid)
        try:
            wait_until_ready(
                self._process,
                lambda: address,
                self._read_log,
                title="vLLM",
                remedy=self._remedy,
                seconds=_START_SECONDS,
            )
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self) -> None:
        """Wait until the server ends by itself.

        Raises:
            ModelServerError: it ended.
        """
        if self._process is not None:
            code = self._process.wait()
            raise server_error("vLLM", f"ended with exit code {code}", self._read_log(), self._remedy)

    def stop(self) -> None:
        """Stop the server and the processes that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(_STOP_SECONDS)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        process.wait()

    @property
    def _remedy(self) -> str:
        return f"The whole log is {self.log}. If memory is short: HYPERALIGN_VLLM_OPTIONS='--max-model-len 1024'."

    def _read_log(self) -> str:
        """Return the log's last lines with an error, which come long before its end; the whole log without any."""
        log = self.log.read_text("utf-8", errors="replace")
        errors = [line[:300] for line in log.splitlines() if "Error" in line]
        return "\n".join(errors[-3:]) or log


def _dtype_options() -> list[str]:
    """Return float32 for CPUs that would emulate bfloat16; nothing where there is a GPU."""
    if any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd")):
        return []
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return [] if "avx512_bf16" in cpu or "amx_bf16" in cpu else ["--dtype", "float32"]


def _reserve_port(host: str, port: int) -> int:
    """Return a port that nobody listens on: another server there would be taken for the one that is started."""
    try:
        with socket.create_server((host, port)) as listening:
            return int(listening.getsockname()[1])
    except OSError as error:
        raise InputError(
            f"Port {port} of {host} can't be listened on: {error.strerror or error}.", remedy="Choose another --port."
        ) from error


def _context_length(base: Path) -> int:
    try:
        trained = int(json.loads((base / "config.json").read_bytes())["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return _MAX_CONTEXT
    return min(trained, _MAX_CONTEXT)


def _environment(key: str) -> dict[str, str]:
    """Return the variables to set; the user's own take precedence over the defaults."""
    defaults = {
        # No hub and no usage statistics are contacted.
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # GiB, on a CPU only; vLLM's default is 4.
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    if (os.cpu_count() or 1) <= _FEW_CORES:
        # vLLM's default reserves a core for itself.
        defaults["VLLM_CPU_NUM_OF_RESERVED_CPU"] = "0"
    return {
        **{name: value for name, value in defaults.items() if name not in os.environ},
        # Not in the command, which every user of the machine can read.
        "VLLM_API_KEY": key,
        "PYTHONPATH": str(_INSIDE),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    }
