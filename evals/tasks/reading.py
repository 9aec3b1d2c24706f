"""Reads benchmark files line by line, and says where one is not what it should be. Shared by the tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hyperalign.errors import InputError

__all__ = ["checked", "json_lines", "read_text"]

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
