"""Benchmarks, one published format a file; ``load_task`` finds them by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hyperalign.errors import InputError, NotFoundError

from ..cases import Task
from .alignx import AlignX
from .c50 import C50
from .own import OwnRecords
from .squality import Squality
from .traits import Traits

__all__ = ["TASKS", "load_task"]

TASKS: Mapping[str, Callable[[Path], Task]] = {task.name: task for task in (AlignX, C50, Squality, Traits)}


def load_task(name: str, *, data: Path | str | None = None) -> Task:
    """A benchmark by its name, or one's own file of records.

    Args:
        name: one of ``TASKS``, or the path of a JSONL file of samples, pairs or edits.
        data: where the benchmark lies.

    Raises:
        NotFoundError: there is no such benchmark or file.
        InputError: the benchmark needs to be told where its data are.
    """
    task = TASKS.get(name)
    if task is not None:
        if data is None:
            raise InputError(f"The task '{name}' reads its data from a path.", remedy="Say where with --data PATH.")
        return task(Path(data))
    if Path(name).is_file():
        return OwnRecords(Path(name))
    raise NotFoundError(
        f"There is no task and no file '{name}'.", remedy=f"Choose one of: {', '.join(sorted(TASKS))}, or give a file."
    )
