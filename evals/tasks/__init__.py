"""Benchmarks, one module for each published format, and ``load_task``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hyperalign.errors import InputError, NotFoundError

from ..cases import Task
from .alignx import AlignX
from .c50 import C50
from .files import locate_data
from .jester import Jester
from .own import OwnRecords
from .popquorn import Popquorn
from .squality import Squality
from .traits import Traits
from .ukpconvarg import UKPConvArg
from .xstest import XSTest

__all__ = ["TASKS", "load_task"]


_Benchmark = AlignX | C50 | Jester | Popquorn | Squality | Traits | UKPConvArg | XSTest
TASKS: Mapping[str, type[_Benchmark]] = {
    task.name: task for task in (AlignX, C50, Jester, Popquorn, Squality, Traits, UKPConvArg, XSTest)
}


def load_task(name: str, *, data: Path | str | None = None, form: str | None = None) -> Task:
    """A benchmark by its name, or a file of your own records as a task.

    Args:
        name: one of ``TASKS``, or the path of a JSONL file of samples, pairs or edits.
        data: of the benchmark: a path, or ``owner/name`` of a data set on the hub.
        form: of AlignX's personas: pair, ugc, demo, or all.

    Raises:
        NotFoundError: there is no such benchmark or file.
        InputError: the benchmark needs ``data``, or they cannot be downloaded.
    """
    task = TASKS.get(name)
    if task is not None:
        if data is None:
            raise InputError(
                f"The task '{name}' reads its data from a path.", remedy=f"Give {task.data} with --data PATH."
            )
        place = locate_data(str(data))
        if form is None:
            return task(place)
        if task is AlignX:
            return AlignX(place, form=form)
        raise InputError(f"The task '{name}' has no forms.", remedy="Leave --form out.")
    if Path(name).is_file():
        if data is not None or form is not None:
            raise InputError(f"{name} is a file, which is the task's data.", remedy="Leave --data and --form out.")
        return OwnRecords(Path(name))
    raise NotFoundError(
        f"There is no task and no file '{name}'.", remedy=f"Choose one of: {', '.join(sorted(TASKS))}, or give a file."
    )
