"""What a machine can train on, and what training held. This file trains nothing, and imports torch only to look."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

__all__ = ["Hardware", "find_hardware", "peak_memory"]


@dataclass(frozen=True)
class Hardware:
    """Where training runs.

    Attributes:
        device: ``cpu`` or ``cuda``.
        bf16: whether it computes in bfloat16 at full speed.
        memory: bytes of the device, or of the machine where it is the processor.
    """

    device: Literal["cpu", "cuda"]
    bf16: bool
    memory: int


def find_hardware() -> Hardware:
    """What this machine trains on; the processor where torch is not installed or sees no card."""
    try:
        torch = import_module("torch")
    except ImportError:
        return Hardware("cpu", False, _machine_memory())
    if torch.cuda.is_available():
        memory = int(torch.cuda.get_device_properties(0).total_memory)
        return Hardware("cuda", bool(torch.cuda.is_bf16_supported()), memory)
    return Hardware("cpu", _fast_bf16_on_cpu(torch), _machine_memory())


def peak_memory(hardware: Hardware) -> int:
    """Bytes that the device held at most; of the processor, what this process did; 0 where nothing tells."""
    if hardware.device == "cuda":
        return int(import_module("torch").cuda.max_memory_allocated())
    try:
        resource = import_module("resource")
    except ImportError:  # on Windows there is none
        return 0
    # In bytes on a Mac, in kilobytes elsewhere.
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _fast_bf16_on_cpu(torch: Any) -> bool:
    # Elsewhere bfloat16 is emulated, and several times slower than float32.
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(ask()) if ask is not None else False


def _machine_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
