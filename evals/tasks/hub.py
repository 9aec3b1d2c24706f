"""Finds a benchmark's data: a path on this machine, or a data set on the hub, fetched once into the hub's own cache.

Nothing is sent to the hub but the data set's name, and no code of it is run.
"""

from __future__ import annotations

import re
from pathlib import Path

from hyperalign.errors import InputError

__all__ = ["located"]

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
