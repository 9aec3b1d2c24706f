"""What training is watched for: its losses, on disk as they come, and what must stop it.

A loss that is not a number stops the run with its likely cause. This file knows transformers' callbacks and no
method.
"""

from __future__ import annotations

import json
import math
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from hyperalign.errors import TrainingError
from hyperalign.files import append_line, read_journal
from hyperalign.programs.score import Progress

__all__ = ["LOSSES", "losses", "watcher"]

LOSSES = "losses.jsonl"


def watcher(folder: Path, progress: Progress | None = None) -> Any:
    """A callback for transformers' trainers that writes losses and stops at what is none.

    Args:
        folder: where ``losses.jsonl`` is kept; a run that goes on adds to it.
        progress: told after each step.

    Raises:
        TrainingError: from within training, where a loss is not a number.
    """
    base: type = import_module("transformers").TrainerCallback

    class Watcher(base):  # type: ignore[misc]  # transformers has no types
        def __init__(self) -> None:
            self._begun = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            del args, control
            logs = logs or {}
            found: dict[str, float] = {name: float(logs[name]) for name in ("loss", "eval_loss") if name in logs}
            if not found:
                return
            seconds = round(time.perf_counter() - self._begun, 2)
            append_line(folder / LOSSES, json.dumps({"step": state.global_step, **found, "seconds": seconds}))
            _check(found, float(logs.get("grad_norm", 0.0)), state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if progress is not None:
                progress("training", state.global_step, state.max_steps)
            # The last steps count too, also where they are fewer than lie between two looks.
            if state.global_step >= state.max_steps and args.eval_strategy != "no":
                control.should_evaluate = True
            return control

    return Watcher()


def losses(folder: Path) -> list[dict[str, Any]]:
    """What was written of losses, by step; where a step was made twice after a kill, the later."""
    by_step: dict[tuple[int, bool], dict[str, Any]] = {}
    for entry in read_journal(folder / LOSSES):
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            by_step[entry["step"], "eval_loss" in entry] = entry
    return [by_step[key] for key in sorted(by_step)]


def _check(found: dict[str, float], norm: float, step: int) -> None:
    broken = [name for name, value in found.items() if not math.isfinite(value)]
    if not broken and math.isfinite(norm):
        return
    what = "gradient" if not broken else "loss on validation rows" if broken == ["eval_loss"] else "loss"
    raise TrainingError(
        f"At step {step} the {what} is not a number.",
        remedy="Mostly the learning rate is too high: try a third of it. Training then begins anew; no answer is asked "
        "for again.",
    )
