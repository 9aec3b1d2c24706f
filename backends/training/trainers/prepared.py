"""What every builder is handed. It builds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..recipe import Recipe
from ..rows import Row, dataset

__all__ = ["Prepared"]


@dataclass(frozen=True)
class Prepared:
    """A student with its rows and how to train it.

    Attributes:
        model: the student's model.
        tokenizer: its tokenizer.
        rows: to train on.
        validation: to watch; may be empty.
        recipe: how.
        arguments: of ``transformers.TrainingArguments``, the same for all methods.
        lora: PEFT's configuration of the adapter.
        callbacks: of transformers.
        teacher: a model of the student's vocabulary, for ``on-policy``.
    """

    model: Any
    tokenizer: Any
    rows: Sequence[Row]
    validation: Sequence[Row]
    recipe: Recipe
    arguments: Mapping[str, Any]
    lora: Any
    callbacks: Sequence[Any]
    teacher: Any = None

    @property
    def parts(self) -> dict[str, Any]:
        """What TRL's trainers take by one name each."""
        return {
            "model": self.model,
            "processing_class": self.tokenizer,
            "train_dataset": dataset(self.rows),
            "eval_dataset": dataset(self.validation) if self.validation else None,
            "peft_config": self.lora,
            "callbacks": list(self.callbacks),
        }
