"""Hyperparameters of a training run, with defaults by the student's size and the hardware found."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import Any, Literal

from hyperalign.errors import InputError, check_seed

__all__ = [
    "ANSWER_METHODS",
    "METHODS",
    "Ditto",
    "Hardware",
    "Method",
    "Recipe",
    "find_hardware",
    "peak_memory",
    "suggest_recipe",
]

Method = Literal["sft", "dpo", "ditto", "context", "on-policy"]
METHODS: tuple[Method, ...] = ("sft", "dpo", "ditto", "context", "on-policy")
ANSWER_METHODS: tuple[Method, ...] = ("sft", "dpo")
"""Methods that train on a teacher's answers; in the others the student generates."""

_SMALL_STUDENT = 300_000_000  # parameters
_LARGE_MEMORY = 40 * 2**30  # bytes; with less, large students need gradient checkpointing


@dataclass(frozen=True)
class Hardware:
    """The device that trains.

    Attributes:
        device: ``cpu`` or ``cuda``.
        bf16: whether it computes in bfloat16 at full speed.
        memory: bytes of the device; of the machine for ``cpu``; 0 if unknown.
    """

    device: Literal["cpu", "cuda"]
    bf16: bool
    memory: int


def find_hardware() -> Hardware:
    """Return the first CUDA device, or the CPU if torch is not installed or sees no GPU."""
    try:
        torch = import_module("torch")
    except ImportError:
        return Hardware("cpu", False, _machine_memory())
    if torch.cuda.is_available():
        memory = int(torch.cuda.get_device_properties(0).total_memory)
        return Hardware("cuda", bool(torch.cuda.is_bf16_supported()), memory)
    # Without hardware support bfloat16 is emulated, several times slower than float32.
    has_bf16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return Hardware("cpu", bool(has_bf16()), _machine_memory())


def peak_memory(hardware: Hardware) -> int:
    """Return the peak memory in bytes: of the GPU, or of this process on a CPU; 0 if unknown."""
    if hardware.device == "cuda":
        return int(import_module("torch").cuda.max_memory_allocated())
    try:
        resource = import_module("resource")
    except ImportError:  # Windows
        return 0
    peak: int = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, KiB elsewhere


def _machine_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0


@dataclass(frozen=True, slots=True)
class Ditto:
    """Hyperparameters of method ``ditto`` (Shaikh et al. 2024, appendix); the defaults are the paper's.

    Attributes:
        rounds: of sampling from the student and training on comparisons.
        samples: of the student per demonstration and round.
        steps: optimizer steps per round.
        sft_steps: optimizer steps on the demonstrations before the first round, at most.
        sft_learning_rate: peak learning rate of those steps.
        sft_stop_loss: training loss, in nats per token, below which those steps end.
        replay: share of the comparisons of a demonstration with samples of earlier rounds.
        between_rounds: share of the comparisons of later with earlier samples. The rest compares demonstrations with
            samples of the current round.

    Raises:
        InputError: a value is out of range.
    """

    rounds: int = 4
    samples: int = 10
    steps: int = 10
    sft_steps: int = 30
    sft_learning_rate: float = 2e-4
    sft_stop_loss: float = 1.0
    replay: float = 0.2
    between_rounds: float = 0.1

    def __post_init__(self) -> None:
        for name in ("rounds", "samples", "steps", "sft_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}.", remedy="Give a whole number of at least 1.")
        if not 0 < self.sft_learning_rate < 1:
            raise InputError(f"sft_learning_rate is {self.sft_learning_rate}.", remedy="Give a number such as 0.0002.")
        if min(self.replay, self.between_rounds) < 0 or self.replay + self.between_rounds >= 1:
            raise InputError(
                f"Shares of {self.replay} and {self.between_rounds} leave no comparison with the current round.",
                remedy="Give shares of at least 0 whose sum is below 1.",
            )

    def limited(self, rounds: int | None, samples: int | None, max_steps: int | None) -> Ditto:
        """A copy with other rounds and samples, and with at most so many steps per round and before; None for as is."""
        return replace(
            self,
            rounds=rounds or self.rounds,
            samples=samples or self.samples,
            steps=min(self.steps, max_steps or self.steps),
            sft_steps=min(self.sft_steps, max_steps or self.sft_steps),
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyperparameters of a training run.

    Attributes:
        method: ``sft`` (on the teacher's answers, without the profile), ``dpo`` (best draft over worst), ``ditto``
            (the person's own texts over the student's, in rounds), ``context`` (self-distillation from the student's
            base with the profile in context), or ``on-policy`` (a teacher of the same vocabulary scores the student's
            generations).
        rank: of the LoRA matrices.
        alpha: LoRA scale.
        dropout: LoRA dropout.
        learning_rate: peak learning rate; in ``ditto`` of the rounds.
        beta: how strongly ``dpo`` and ``ditto`` hold the student to its reference.
        epochs: passes over the rows.
        max_steps: optimizer steps at most; 0 for all epochs.
        batch_size: rows per optimizer step.
        micro_batch_size: rows per forward pass; gradients accumulate up to ``batch_size``.
        max_length: tokens per row; longer rows are truncated.
        max_new_tokens: tokens that the student generates per row in ``ditto``, ``context`` and ``on-policy``.
        patience: evaluations without improvement before training stops; 0 to never stop early.
        eval_steps: steps between evaluations and between checkpoints.
        bf16: compute in bfloat16.
        gradient_checkpointing: recompute activations to save memory.
        group_by_length: within each step, batch rows of similar length to reduce padding; which rows a step holds
            stays random.
        seed: of the initial weights and of the row order (``group_by_length`` has a seed of its own).
        accelerate: fields of transformers' ``AcceleratorConfig``.
        ditto: of method ``ditto`` alone.

    Raises:
        InputError: a value is out of range.
    """

    method: Method = "sft"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    learning_rate: float = 2e-4
    beta: float = 0.1
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
    ditto: Ditto = Ditto()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"There is no method {self.method!r}.", remedy=f"Choose one of: {', '.join(METHODS)}.")
        for name in ("rank", "alpha", "batch_size", "micro_batch_size", "max_length", "max_new_tokens", "eval_steps"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}.", remedy="Give a whole number of at least 1.")
        if not 0 < self.learning_rate < 1:
            raise InputError(f"learning_rate is {self.learning_rate}.", remedy="Give a number such as 0.0002.")
        if not 0 < self.beta < math.inf:
            raise InputError(f"beta is {self.beta}.", remedy="Give a number such as 0.1.")
        if not 0 < self.epochs < math.inf:
            raise InputError(f"epochs is {self.epochs}.", remedy="Give a number above 0.")
        check_seed(self.seed)

    @property
    def accumulation_steps(self) -> int:
        """Forward passes per optimizer step."""
        return max(1, -(-self.batch_size // self.micro_batch_size))

    def as_data(self) -> dict[str, Any]:
        """Return the fields as JSON-compatible data."""
        return asdict(self)


def suggest_recipe(method: Method, parameters: int, hardware: Hardware, **overrides: Any) -> Recipe:
    """Choose defaults by the student's size and the hardware.

    Args:
        method: the training method.
        parameters: of the student.
        hardware: the device that trains.
        overrides: fields of ``Recipe``; None leaves the default.

    Raises:
        InputError: a value is out of range.
    """
    small = parameters <= _SMALL_STUDENT
    on_cpu = hardware.device == "cpu"
    default = Recipe(
        method=method,
        rank=8 if small else 16,
        alpha=16 if small else 32,
        # Small models need many small steps at a high rate to tell several people's tags apart. Beyond two epochs the
        # validation loss only rose.
        epochs=2.0 if small else 3.0,
        batch_size=4 if small else 8,
        eval_steps=50 if small else 25,
        # DPO diverges at the learning rates of SFT.
        learning_rate=(2e-5 if method == "dpo" else 2e-3 if small else 2e-4),
        micro_batch_size=4 if on_cpu else 8,
        bf16=hardware.bf16,
        gradient_checkpointing=not on_cpu and not small and hardware.memory < _LARGE_MEMORY,
    )
    if method == "ditto":
        default = replace(
            default,
            batch_size=8,
            learning_rate=2e-5,
            beta=0.05,
            max_new_tokens=256,
            ditto=Ditto(sft_learning_rate=1e-3 if small else 2e-4),
        )
    return replace(default, **{name: value for name, value in overrides.items() if value is not None})
