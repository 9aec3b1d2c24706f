"""What a machine can train on, and what training held. This file trains nothing, and imports torch only to look.

How an adapter is trained: every choice in one place, with defaults by the student's size and the hardware found.

This file trains nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import Any, Literal

from hyperalign.errors import InputError

__all__ = ["ANSWERED", "METHODS", "Hardware", "Method", "Recipe", "find_hardware", "peak_memory", "suggest"]


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


Method = Literal["sft", "dpo", "context", "on-policy"]
METHODS: tuple[Method, ...] = ("sft", "dpo", "context", "on-policy")
ANSWERED: tuple[Method, ...] = ("sft", "dpo")
"""Methods that learn from a teacher's answers; in the others the student writes itself."""

_SMALL = 300_000_000  # parameters
_ROOMY = 40 * 2**30  # bytes of a device on which activations need not be computed twice


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides a training run, beside its rows.

    Attributes:
        method: ``sft`` (the teacher's answers, without the profile), ``dpo`` (the best draft over the worst),
            ``context`` (the student's own base sees the profile, the student does not), or ``on-policy`` (a teacher of
            one vocabulary judges the student's own words).
        rank: of the LoRA matrices.
        alpha: their scale.
        dropout: within them.
        learning_rate: at its peak.
        epochs: passes over the rows.
        max_steps: stop after so many; 0 for all epochs.
        batch_size: rows a step.
        micro_batch_size: rows in memory at a time; a step adds up as many times as it takes.
        max_length: tokens of a row; longer ones are cut, and counted before.
        max_new_tokens: tokens that the student writes itself, in ``context`` and ``on-policy``.
        patience: stop when so many looks at the validation rows in a row found nothing better; 0 never.
        eval_steps: steps between two looks, and between two checkpoints.
        bf16: compute in bfloat16.
        gradient_checkpointing: compute activations twice to save memory.
        group_by_length: within a step, put rows of like length in memory together, so that little is padding; which
            rows a step has is drawn all the same.
        seed: of the first weights, and of the order of rows where they are not grouped: grouping draws by its own.
        accelerate: settings for ``accelerate``, as transformers' ``AcceleratorConfig`` names them; passed on as is.

    Raises:
        InputError: a number is out of its range.
    """

    method: Method = "sft"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    learning_rate: float = 2e-4
    epochs: float = 3.0
    max_steps: int = 0
    batch_size: int = 8
    micro_batch_size: int = 4
    max_length: int = 1024
    max_new_tokens: int = 128
    patience: int = 3
    eval_steps: int = 25
    bf16: bool = False
    gradient_checkpointing: bool = False
    group_by_length: bool = True
    seed: int = 0
    accelerate: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"There is no method {self.method!r}.", remedy=f"Choose one of: {', '.join(METHODS)}.")
        for name in ("rank", "alpha", "batch_size", "micro_batch_size", "max_length", "max_new_tokens", "eval_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}.", remedy="Give a whole number of at least 1.")
        if not 0 < self.learning_rate < 1:
            raise InputError(f"learning_rate is {self.learning_rate}.", remedy="Give a number such as 0.0002.")
        if self.epochs <= 0:
            raise InputError(f"epochs is {self.epochs}.", remedy="Give a number above 0.")

    @property
    def steps_added(self) -> int:
        """How many times ``micro_batch_size`` rows make up a step."""
        return max(1, -(-self.batch_size // self.micro_batch_size))

    def as_data(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def suggest(method: Method, parameters: int, hardware: Hardware, **chosen: Any) -> Recipe:
    """Defaults by size: small students need higher rates and bear larger batches.

    Args:
        method: how to train.
        parameters: of the student.
        hardware: where.
        chosen: fields of ``Recipe`` that the user chose; None leaves the default.

    Raises:
        InputError: a chosen number is out of its range.
    """
    small = parameters <= _SMALL
    on_cpu = hardware.device == "cpu"
    default = Recipe(
        method=method,
        rank=8 if small else 16,
        alpha=16 if small else 32,
        # Many small steps at a high rate: a small model that learns several people otherwise learns what they share,
        # and not whose tag is whose. Two passes: in further ones the loss on other prompts only rose.
        epochs=2.0 if small else 3.0,
        batch_size=4 if small else 8,
        eval_steps=50 if small else 25,
        # DPO moves a model that may already be good, and comes apart at the rates of plain training.
        learning_rate=(2e-5 if method == "dpo" else 2e-3 if small else 2e-4),
        micro_batch_size=4 if on_cpu else 8,
        bf16=hardware.bf16,
        # Twice the time for memory that a small model on a large machine does not need.
        gradient_checkpointing=not on_cpu and not small and hardware.memory < _ROOMY,
    )
    return replace(default, **{name: value for name, value in chosen.items() if value is not None})
