"""Benchmarks, one module for each published format; ``load_task`` and ``find_choice_tasks``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from hyperalign.errors import InputError, NotFoundError

from ..cases import Task
from .alignx import AlignX
from .c50 import C50
from .files import locate_data
from .jester import Jester
from .own import OwnRecords
from .popquorn import Popquorn, PopquornWriting
from .squality import Squality
from .traits import Traits
from .ukpconvarg import UKPConvArg
from .xstest import XSTest

__all__ = ["TASKS", "find_choice_tasks", "load_task"]


_Benchmark = AlignX | C50 | Jester | Popquorn | PopquornWriting | Squality | Traits | UKPConvArg | XSTest
TASKS: Mapping[str, type[_Benchmark]] = {
    task.name: task for task in (AlignX, C50, Jester, Popquorn, PopquornWriting, Squality, Traits, UKPConvArg, XSTest)
}


_FOLDERS: Mapping[str, str] = {
    "traits": "anthropic_persona",
    "squality": "squality",
    "popquorn": "popquorn_emails",
    "ukpconvarg": "ukpconvarg1",
    "jester": "jester5k",
}
_ALIGNX_FOLDER = "alignx_psoups"


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


def find_choice_tasks(data: Path, wanted: Collection[str] = ()) -> tuple[dict[str, Task], list[str]]:
    """The choice tasks whose data are in a folder, each in its usual subfolder.

    Args:
        data: the folder.
        wanted: names or labels; all if empty.

    Returns:
        Tasks by label, and a line for each that was left out. AlignX has a task for each file of its benchmark.

    Raises:
        InputError: a wanted task does not exist, or no data are there.
    """
    files = sorted((data / _ALIGNX_FOLDER).glob("*.json"))
    tasks: dict[str, Task] = {}
    missing = [] if files else [f"alignx is left out: {data / _ALIGNX_FOLDER} has no .json file."]
    for file in files:
        # Four histories a test pair: one alone would make a figure of hardly more than a hundred rows.
        task = AlignX(file, histories=4)
        try:
            task.cases()
        except InputError as error:
            missing.append(f"alignx {file.stem} is left out: {error.message}")
        else:
            tasks[f"alignx {file.stem}"] = task
    for name, folder in _FOLDERS.items():
        if (data / folder).is_dir():
            tasks[name] = TASKS[name](data / folder)
        else:
            missing.append(f"{name} is left out: there is no {data / folder}.")
    known = {"alignx", *_FOLDERS, *tasks}
    if unknown := sorted(set(wanted) - known):
        raise InputError(f"There is no choice task {unknown[0]!r}.", remedy=f"Choose from: {', '.join(sorted(known))}.")
    chosen = {label: task for label, task in tasks.items() if not wanted or {label, task.name} & set(wanted)}
    if not chosen:
        raise InputError(
            f"{data}: this folder has no data of a choice task.",
            remedy=f"It should have subfolders such as {_ALIGNX_FOLDER} or {_FOLDERS['squality']}.",
        )
    return chosen, [line for line in missing if not wanted or line.split()[0] in set(wanted)]
