"""Lets DSPy's own optimizers train here: ``BootstrapFinetune`` and ``BetterTogether`` give rows, and get a model back.

Their rows hold the whole prompt of the program, so this is not prompt distillation: ``distill`` is. What comes back is
``adapter:FOLDER``, which ``connect`` serves to the process that asks it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hyperalign import __version__
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError
from hyperalign.files import data_folder
from hyperalign.programs.dspy_internals import Provider, TrainingJob

from .adapters import Card, seal
from .dataset import TrainingRow, export
from .recipe import Hardware, find_hardware, suggest
from .student import count_parameters, open_student
from .train import train

__all__ = ["LocalProvider"]


class LocalProvider(Provider):
    """Trains LoRA adapters on this machine for DSPy's optimizers.

    Args:
        student: what learns: ``local:NAME``, or a checkpoint folder. It should be the model that the program runs on.
        out: the folder of adapters; ``adapters`` in the data folder if None.
        hardware: where to train; what is found, if None.
        progress: told after each step.
        choices: fields of ``Recipe``, such as ``epochs`` or ``learning_rate``; DSPy's ``train_kwargs`` go before them.
    """

    def __init__(
        self,
        student: str = "local:smollm2-135m-instruct",
        *,
        out: Path | None = None,
        hardware: Hardware | None = None,
        progress: Progress | None = None,
        **choices: Any,
    ) -> None:
        super().__init__()
        self.finetunable = True
        self._student = student
        self._out = out
        self._hardware = hardware
        self._progress = progress
        self._choices = choices

    def finetune(  # DSPy calls it on the instance, and declares it static
        self,
        job: TrainingJob,
        model: str,
        train_data: Sequence[dict[str, Any]],
        train_data_format: Any,
        train_kwargs: dict[str, Any] | None = None,
    ) -> str:
        """Train on conversations, each of which ends in the answer to learn.

        Returns:
            ``adapter:FOLDER``; the same rows and choices give the same folder, and are not trained on twice.

        Raises:
            InputError: there are no rows, or they are no conversations.
            TrainingError: training went wrong.
        """
        del job, model, train_data_format
        made = [_row(entry, number) for number, entry in enumerate(train_data, 1)]
        choices = {**self._choices, **(train_kwargs or {})}
        student = open_student(self._student)
        hardware = self._hardware or find_hardware()
        recipe = suggest("sft", count_parameters(student), hardware, **choices)
        asked = json.dumps([made, recipe.as_data(), student.sha256], sort_keys=True)
        name = f"finetuned-{hashlib.sha256(asked.encode()).hexdigest()[:10]}"
        folder = (self._out or data_folder() / "adapters") / name
        if (folder / "manifest.json").is_file():
            return f"adapter:{folder}"
        export(made, folder / "training" / "rows.jsonl")
        found = train(student, made, recipe, folder / "training", hardware=hardware, progress=self._progress)
        card = Card(
            name=name,
            base=student.name,
            base_sha256=student.sha256,
            base_licence=student.licence,
            method="sft",
            scope="program",
            users=(),
            profiles={},
            teacher="DSPy's bootstrapped program",
            strategy="none",
            traces=len(made),
            recipe=recipe.as_data(),
            training={"steps": found.steps, "first_loss": found.first_loss, "last_loss": found.last_loss},
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
        )
        seal(found.weights, folder, card)
        return f"adapter:{folder}"


def _row(entry: dict[str, Any], number: int) -> TrainingRow:
    turns = entry.get("messages")
    if not isinstance(turns, list) or len(turns) < 2 or turns[-1].get("role") != "assistant":
        raise InputError(
            f"Row {number} is no conversation that ends in an answer.",
            remedy="Train programs whose adapter writes chats, such as DSPy's ChatAdapter.",
        )
    return {"prompt": turns[:-1], "completion": turns[-1:]}
