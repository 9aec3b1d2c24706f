"""Does an adapter change anything? Log-probabilities of a fixed text, with it and without it.

An adapter whose keys fit no layer loads without a word in most engines and gives the base model's answers: this is how
that is found out.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hyperalign.errors import TrainingError

from .student import Student, load_student, torn
from .writing import token_scores

__all__ = ["PROBE", "Probed", "probe", "probe_scores", "tell_apart", "with_adapter"]

PROBE = (
    ("How was your day?", "It was long, and I would rather talk about something else."),
    ("What should I read next?", "Something short, with a good first page."),
)
"""What is asked and answered; fixed, so that engines can be compared."""

_LEAST = 1e-4  # nats a token: less is rounding


@dataclass(frozen=True)
class Probed:
    """What the probe saw.

    Attributes:
        base: mean log-probability of the probe's answers without the adapter, in nats per token.
        adapter: the same with it.
        difference: the mean absolute difference by token, in nats.
    """

    base: float
    adapter: float
    difference: float

    @property
    def changed(self) -> bool:
        """Whether the adapter does anything."""
        return self.difference > _LEAST


def probe(student: Student, weights: Path) -> Probed:
    """Score the probe's answers with an adapter and without it.

    Args:
        student: the base that the adapter belongs to.
        weights: the adapter's folder.

    Raises:
        TrainingError: the adapter does not load, or has keys that fit no layer of the base.
        MissingExtraError: the 'train' extra is not installed.
        ModelError: the base does not load.
    """
    model, tokenizer = load_student(student)
    base = probe_scores(model, tokenizer)
    return tell_apart(base, probe_scores(with_adapter(model, weights), tokenizer))


def tell_apart(base: Sequence[float], tuned: Sequence[float]) -> Probed:
    """What two scorings of the probe say: without the adapter, and with it."""
    apart = [abs(a - b) for a, b in zip(base, tuned, strict=True)]
    return Probed(sum(base) / len(base), sum(tuned) / len(tuned), sum(apart) / len(apart))


def with_adapter(model: Any, weights: Path, name: str = "default") -> Any:
    """The model with an adapter on it, or with one more.

    Args:
        model: of transformers, or one that has adapters already.
        weights: the adapter's folder.
        name: by which adapters on one model are told apart.

    Raises:
        TrainingError: it does not load, or its keys fit no layer of the model.
    """
    peft = import_module("peft")
    # Else PEFT sends it by way of a card, where there is one.
    device = str(model.device)
    try:
        with warnings.catch_warnings():
            # PEFT only warns of keys that fit nothing, and goes on with the base model.
            warnings.filterwarnings("error", message=".*(missing|unexpected).*adapter keys.*")
            if isinstance(model, peft.PeftModel):
                model.load_adapter(str(weights), adapter_name=name, torch_device=device)
                return model.eval()
            return peft.PeftModel.from_pretrained(model, str(weights), adapter_name=name, torch_device=device).eval()
    except (OSError, ValueError, RuntimeError, KeyError, UserWarning, torn()) as error:
        raise TrainingError(
            f"The adapter in {weights} does not fit its base: {str(error).splitlines()[0]}.",
            remedy="Train it again, or give the base that it was trained on.",
        ) from error


def probe_scores(model: Any, tokenizer: Any) -> list[float]:
    """Log-probability of each token of the probe's answers, in nats."""
    return [score for prompt, answer in PROBE for score in token_scores(model, tokenizer, prompt, answer)]
