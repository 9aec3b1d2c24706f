"""What a folder of training was begun with, and what came of it: so that a run goes on with its own checkpoints alone.

Checkpoints say nothing of their rows, and hold the learning rate that they were made with. So another recipe, other
rows or another student begin anew. This file trains nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hyperalign.files import write_whole

from .dataset import TrainingRow
from .recipe import Recipe
from .student import Student

__all__ = ["LOSSES", "Lengths", "RunState", "Trained"]

LOSSES = "losses.jsonl"
_BEGUN, _TRAINED, _CHECKPOINTS = "begun.json", "trained.json", "checkpoints"


@dataclass(frozen=True)
class Lengths:
    """How rows fit.

    Attributes:
        tokens: of all rows, in the order of the rows.
        cut: rows that are longer than fits: their end is not learned.
        lost: rows whose prompt alone fills what fits: nothing of them is learned.
    """

    tokens: tuple[int, ...]
    cut: int
    lost: int


@dataclass(frozen=True)
class Trained:
    """What came of a run.

    Attributes:
        weights: the folder of the adapter's weights, tokenizer and chat template.
        lengths: how the rows fitted.
        steps: of training.
        first_loss: of the first step.
        last_loss: of the last.
        validation_loss: the best on validation rows; None where there were none.
        seconds: of this run, since it was last started.
        peak_memory: bytes that the device held at most; of the processor, what the process did; 0 where nothing tells.
    """

    weights: Path
    lengths: Lengths
    steps: int
    first_loss: float
    last_loss: float
    validation_loss: float | None
    seconds: float
    peak_memory: int


@dataclass(frozen=True)
class RunState:
    """A training that was begun in a folder.

    Attributes:
        folder: of the run.
        mark: the same for the same student, teacher, recipe and rows.
    """

    folder: Path
    mark: str

    @classmethod
    def of(
        cls,
        folder: Path,
        student: Student,
        teacher: Student | None,
        recipe: Recipe,
        *rows: Sequence[TrainingRow],
    ) -> RunState:
        """Begin, or go on: what the folder holds of another training goes, and losses of which no checkpoint is left.

        Raises:
            StorageError: the disk is full or not writable.
        """
        weights = [student.sha256, teacher.sha256 if teacher else ""]
        asked = json.dumps([weights, recipe.as_data(), *map(list, rows)], sort_keys=True)
        begun = cls(folder, hashlib.sha256(asked.encode()).hexdigest())
        if begun._known(_BEGUN) != begun.mark:
            shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
            (folder / _TRAINED).unlink(missing_ok=True)
        if begun.through() is None and not any((folder / _CHECKPOINTS).glob("checkpoint-*")):
            (folder / LOSSES).unlink(missing_ok=True)
        write_whole(folder / _BEGUN, json.dumps({"mark": begun.mark}))
        return begun

    def through(self) -> Trained | None:
        """What came of it; None where it is not through."""
        if self._known(_TRAINED) != self.mark:
            return None
        found = json.loads((self.folder / _TRAINED).read_text(encoding="utf-8"))["found"]
        weights = self.folder / found.pop("weights")
        lengths = found.pop("lengths")
        if not weights.is_dir():
            return None
        return Trained(weights, Lengths(tuple(lengths["tokens"]), lengths["cut"], lengths["lost"]), **found)

    def end(self, found: Trained) -> None:
        """Keep what came of it.

        Raises:
            StorageError: the disk is full or not writable.
        """
        said = {**asdict(found), "weights": str(found.weights.relative_to(self.folder))}
        write_whole(self.folder / _TRAINED, json.dumps({"mark": self.mark, "found": said}))

    def _known(self, name: str) -> str:
        try:
            return str(json.loads((self.folder / name).read_text(encoding="utf-8"))["mark"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""
