"""Files of benchmarks: found on this machine or on the hub, read line by line, and checked.

A data set of the hub is downloaded once, into the hub's own cache; no code of it runs.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError

from hyperalign.errors import InputError
from hyperalign.records import check_user
from hyperalign.text import describe_invalid_field

__all__ = ["UserId", "locate_data", "read_csv_rows", "read_json_lines", "read_json_list", "read_text", "validate"]

UserId = Annotated[str, AfterValidator(check_user)]
"""A field that becomes a record's user."""

_ON_THE_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WANTED = ["*.json", "*.jsonl", "*.csv", "*.txt"]


def locate_data(data: str) -> Path:
    """The local path of a benchmark's data.

    Args:
        data: a path; if there is none, ``owner/name`` of a data set on the hub.

    Returns:
        A folder, or a file if the data set has only one.

    Raises:
        InputError: the data set cannot be downloaded.
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
            f"{data}: there is no such path, and no such data set could be downloaded ({type(error).__name__}).",
            remedy="Check --data, or download the data set yourself.",
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
        raise InputError(f"{path}: {why}.", remedy="Check --data.") from error


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line of a JSONL file, or of all such files in a folder, after its place.

    Raises:
        InputError: a file cannot be read, a line is not JSON, or a folder has no JSONL file.
    """
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: there is no .jsonl file in this folder.", remedy="Check --data.")
    for file in files:
        # Not splitlines: JSON strings may contain U+2028 and the like.
        for number, line in enumerate(read_text(file).split("\n"), start=1):
            if line.strip():
                try:
                    yield f"{file}:{number}", json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(
                        f"{file}:{number}: this line is not JSON ({error.msg}).", remedy="Correct or remove the line."
                    ) from error


def read_json_list(path: Path) -> Iterator[tuple[str, Any]]:
    """Each item of a file with a JSON list, after its place; a file with one object is a list of one.

    Raises:
        InputError: the file cannot be read, or is not JSON.
    """
    try:
        whole = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: this is not JSON ({error.msg}).", remedy="Name a file of JSON lines *.jsonl."
        ) from error
    for number, item in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        yield f"{path}: row {number}", item


def read_csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of a CSV file with a header, after its place.

    Raises:
        InputError: the file cannot be read, or lacks one of ``columns``.
    """
    rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
    missing = [name for name in columns if name not in (rows.fieldnames or ())]
    if missing:
        raise InputError(
            f"{path}: it has no column {', '.join(missing)}.",
            remedy="Give the benchmark's own file, with its header, with --data.",
        )
    for row in rows:
        yield f"{path}:{rows.line_num}", row


def validate(model: type[Model], data: Any, where: str) -> Model:
    """Data as a model of a benchmark's format.

    Raises:
        InputError: the data do not match; the message names the first wrong field.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InputError(
            f"{where}: {describe_invalid_field(error, 'entry')}.",
            remedy="See the benchmark's published format, or choose another task.",
        ) from error
