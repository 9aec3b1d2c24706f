"""Finds a benchmark's data: a path on this machine, or a data set on the hub, fetched once into the hub's own cache.

Nothing is sent to the hub but the data set's name, and no code of it is run.

Reads benchmark files line by line, and says where one is not what it should be. Shared by the tasks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hyperalign.errors import InputError

__all__ = ["checked", "json_lines", "located", "read_text"]

_ON_THE_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.json", "*.jsonl", "*.csv", "*.txt"]


def located(data: str) -> Path:
    """Where data lie on this machine.

    Args:
        data: a path, or ``owner/name`` of a data set on the hub where there is no such path.

    Returns:
        A path; that of the one file of a data set that has only one.

    Raises:
        InputError: there is nothing, here or on the hub.
    """
    path = Path(data).expanduser()
    if path.exists() or not _ON_THE_HUB.fullmatch(data):
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(data, repo_type="dataset", allow_patterns=_WANTED))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"{data}: there is no such path, and the hub did not give such a data set ({type(error).__name__}).",
            remedy="Check the path given with --data, or fetch the data set yourself.",
        ) from error
    files = [file for file in folder.rglob("*") if file.is_file()]
    return files[0] if len(files) == 1 else folder


Model = TypeVar("Model", bound=BaseModel)


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        InputError: it is missing, a folder, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path}: {why}.", remedy="Check the path given with --data.") from error


def json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line of a JSONL file, or of all such files of a folder, with where it stands.

    Raises:
        InputError: a file can't be read, a line is not JSON, or a folder holds no such file.
    """
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: there is no .jsonl file in this folder.", remedy="Check the path given with --data.")
    for file in files:
        # Not splitlines: JSON strings may hold U+2028 and the like as they are.
        for number, line in enumerate(read_text(file).split("\n"), start=1):
            if line.strip():
                try:
                    yield f"{file}:{number}", json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(
                        f"{file}:{number}: this line is not JSON ({error.msg}).", remedy="Mend or remove the line."
                    ) from error


def checked(model: type[Model], data: Any, where: str) -> Model:
    """Data as what a benchmark's format says.

    Raises:
        InputError: it is something else; the first wrong field is named.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "entry"
        raise InputError(
            f"{where}: {field}: {first['msg']}.", remedy="See the benchmark's published format, or choose another task."
        ) from error
