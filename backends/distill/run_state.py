"""The state of a training run: a fingerprint of its inputs, and its result once it has finished.

A run resumes only if student, teacher, recipe, rows and starting weights are the same: checkpoints record none of
these.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hyperalign.files import write_whole

from .dataset import TrainingRow
from .recipe import Recipe
from .student import Student

__all__ = ["LOSSES", "RunState", "TrainingResult", "weights_hash"]

LOSSES = "losses.jsonl"
_STATE, _CHECKPOINTS = "run_state.json", "checkpoints"


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training run.

    Attributes:
        weights: the folder of the adapter's weights, tokenizer and chat template.
        truncated: number of rows whose end was not trained on.
        skipped: number of rows that were not trained on at all.
        steps: optimizer steps.
        first_loss: of the first step.
        last_loss: of the last step.
        validation_loss: the lowest on validation rows; None without such rows.
        seconds: since the run was last started.
        peak_memory: bytes; of the GPU, or of the process on a CPU; 0 if unknown.
    """

    weights: Path
    truncated: int
    skipped: int
    steps: int
    first_loss: float
    last_loss: float
    validation_loss: float | None
    seconds: float
    peak_memory: int

    def as_data(self) -> dict[str, Any]:
        """Return the numbers as JSON-compatible data."""
        return {name: value for name, value in asdict(self).items() if name != "weights"}


@dataclass(frozen=True)
class RunState:
    """A training run in a folder.

    Attributes:
        folder: of the run.
        fingerprint: hash of student, teacher, recipe, rows and starting weights.
    """

    folder: Path
    fingerprint: str

    @classmethod
    def open(
        cls,
        folder: Path,
        student: Student,
        teacher: Student | None,
        recipe: Recipe,
        *rows: Sequence[TrainingRow],
        start: Sequence[Path] = (),
    ) -> RunState:
        """Start or resume a run; delete what another run left in the folder, and losses without a checkpoint.

        Args:
            folder: of the run.
            student: the model to train.
            teacher: scores the student's generations; None for none.
            recipe: hyperparameters.
            rows: training and validation rows.
            start: adapters that the run begins with or compares with.

        Raises:
            StorageError: the disk is full or not writable.
        """
        weights = [student.sha256, teacher.sha256 if teacher else "", *map(weights_hash, start)]
        inputs = json.dumps([weights, recipe.as_data(), *map(list, rows)], sort_keys=True)
        state = cls(folder, hashlib.sha256(inputs.encode()).hexdigest())
        if state._read() is None:
            shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
            state._write(None)
        if state.result() is None and not any((folder / _CHECKPOINTS).glob("checkpoint-*")):
            (folder / LOSSES).unlink(missing_ok=True)
        return state

    def result(self) -> TrainingResult | None:
        """Return the result; None if the run has not finished."""
        result = (self._read() or {}).get("result")
        if result is None or not (self.folder / result["weights"]).is_dir():
            return None
        return TrainingResult(**{**result, "weights": self.folder / result["weights"]})

    def finish(self, result: TrainingResult) -> None:
        """Save the result.

        Raises:
            StorageError: the disk is full or not writable.
        """
        self._write({**result.as_data(), "weights": str(result.weights.relative_to(self.folder))})

    def _read(self) -> dict[str, Any] | None:
        """Return the saved state; None if there is none, or that of another run."""
        try:
            data: dict[str, Any] = json.loads((self.folder / _STATE).read_text(encoding="utf-8"))
            return data if data["fingerprint"] == self.fingerprint else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, result: dict[str, Any] | None) -> None:
        write_whole(self.folder / _STATE, json.dumps({"fingerprint": self.fingerprint, "result": result}))


def weights_hash(folder: Path) -> str:
    """The SHA-256 of an adapter's weights."""
    with (folder / "adapter_model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
