"""DSPy's finetuning provider: ``BootstrapFinetune`` and ``BetterTogether`` train LoRA adapters on this machine.

Their rows hold the program's whole prompt; for prompt distillation see ``distill``. The trained model is named
``adapter:FOLDER``, which ``connect`` serves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hyperalign.concurrency import Progress
from hyperalign.errors import InputError
from hyperalign.files import data_folder
from hyperalign.programs.dspy_internals import TrainingJob

from ..models.servers import ServerProvider
from .adapters import Card, write_adapter
from .dataset import TrainingRow, write_rows
from .recipe import Hardware, find_hardware, suggest_recipe
from .student import count_parameters, open_student
from .train import train

__all__ = ["LocalProvider"]


class LocalProvider(ServerProvider):
    """Trains LoRA adapters on this machine for DSPy's optimizers.

    Args:
        student: the model to train, ``local:NAME`` or ``local:FILE.gguf``. Use the model that the program runs on.
        out: the folder of adapters; ``adapters`` in the data folder if None.
        hardware: the device that trains; detected if None.
        progress: called after each step.
        overrides: fields of ``Recipe``, such as ``epochs`` or ``learning_rate``; DSPy's ``train_kwargs`` override them.

    Raises:
        InputError: the student is a checkpoint folder: the optimizers run the program on the trained adapter, by
            llama.cpp, which reads GGUF files alone.
    """

    def __init__(
        self,
        student: str = "local:smollm2-135m-instruct",
        *,
        out: Path | None = None,
        hardware: Hardware | None = None,
        progress: Progress | None = None,
        **overrides: Any,
    ) -> None:
        if not student.startswith("local:"):
            raise InputError(
                f"The student {student} is not a local: model. DSPy runs the program on what it has trained, and "
                "llama.cpp, which serves it here, does not read checkpoint folders.",
                remedy="Give local:NAME or local:FILE.gguf, or train with: hyperalign distill --student FOLDER",
            )
        super().__init__()
        self.finetunable = True
        self._student = student
        self._out = out
        self._hardware = hardware
        self._progress = progress
        self._overrides = overrides

    def finetune(  # DSPy calls it on the instance, and declares it static
        self,
        job: TrainingJob,
        model: str,
        train_data: Sequence[dict[str, Any]],
        train_data_format: Any,
        train_kwargs: dict[str, Any] | None = None,
    ) -> str:
        """Train on conversations that end with the answer to learn.

        Returns:
            ``adapter:FOLDER``; the same rows and hyperparameters give the same folder, and are trained on once.

        Raises:
            InputError: there are no rows, or one is no such conversation.
            TrainingError: training failed.
        """
        del job, model, train_data_format
        rows = [_to_row(entry, number) for number, entry in enumerate(train_data, 1)]
        student = open_student(self._student)
        hardware = self._hardware or find_hardware()
        overrides = {**self._overrides, **(train_kwargs or {})}
        recipe = suggest_recipe("sft", count_parameters(student), hardware, **overrides)
        inputs = json.dumps([rows, recipe.as_data(), student.sha256], sort_keys=True)
        name = f"finetuned-{hashlib.sha256(inputs.encode()).hexdigest()[:10]}"
        folder = (self._out or data_folder() / "adapters") / name
        if (folder / "manifest.json").is_file():
            return f"adapter:{folder}"
        run = folder / "training"
        write_rows(rows, run / "rows.jsonl")
        result = train(student, rows, recipe, run, hardware=hardware, progress=self._progress)
        card = Card(
            name=name,
            base=student.name,
            base_sha256=student.sha256,
            base_license=student.license,
            method="sft",
            scope="program",
            users=(),
            profiles={},
            teacher="DSPy's bootstrapped program",
            strategy="none",
            traces=len(rows),
            recipe=recipe.as_data(),
            training=result.as_data(),
        )
        write_adapter(result.weights, folder, card)
        return f"adapter:{folder}"


def _to_row(entry: dict[str, Any], number: int) -> TrainingRow:
    turns = entry.get("messages")
    if not isinstance(turns, list) or len(turns) < 2 or turns[-1].get("role") != "assistant":
        raise InputError(
            f"Row {number} is not a conversation that ends with an answer.",
            remedy="Train programs whose adapter writes chats, such as DSPy's ChatAdapter.",
        )
    return {"prompt": turns[:-1], "completion": turns[-1:]}
