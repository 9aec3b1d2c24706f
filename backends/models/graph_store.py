"""Graphs of large models, made once and kept in the cache folder: the next program maps them instead of making them.

A graph is found by the SHA-256 of its GGUF file, OpenVINO's version and that of the builder. It holds weights only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from hyperalign.files import cache_folder, make_private_folder, narrow, storage_error

from .gguf_graph import BUILDER, openvino

__all__ = ["remove_graphs", "stored_graph"]

# A graph is about as large as its GGUF file, and half as large again.
_KEPT = 3
_SPARE = 3
_NAME = "graph.xml"
_UNFINISHED = ".new-"
_HASH_CHARACTERS = 16


def stored_graph(path: Path, sha256: str, build: Callable[[], Any], kind: str = "") -> Any:
    """A model's graph, from the cache folder, where it is put unless the disk has no room for it.

    Processes that need the same one at once wait for the first to make it. Beside it the two that were used last stay.

    Args:
        path: the model's GGUF file.
        sha256: of that file.
        build: makes the graph.
        kind: tells graphs of one file apart.

    Returns:
        An ``openvino.Model``.

    Raises:
        StorageError: the cache folder can't be written.
    """
    library = openvino()
    version = "-".join(str(library.__version__).split("-")[:2])
    folder = _folder() / "-".join(filter(None, (sha256[:_HASH_CHARACTERS], kind, version, str(BUILDER))))
    try:
        make_private_folder(_folder())
        with FileLock(_folder() / "lock", mode=0o600):
            if (found := _read(library, folder)) is not None:
                return found
            graph = build()
            if shutil.disk_usage(_folder()).free < _SPARE * path.stat().st_size:
                return graph
            _write(library, graph, folder)
            _make_room(folder)
            del graph
            return library.Core().read_model(folder / _NAME)
    except OSError as error:
        raise storage_error(error, folder) from error


def remove_graphs(sha256: str) -> int:
    """Delete the graphs of a GGUF file; returns the bytes freed."""
    freed = 0
    for folder in _folder().glob(f"{sha256[:_HASH_CHARACTERS]}-*"):
        freed += sum(file.stat().st_size for file in folder.iterdir())
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def _folder() -> Path:
    return cache_folder() / "graphs"


def _read(library: Any, folder: Path) -> Any:
    """The graph in a folder; None where there is none, or it does not load."""
    if not (folder / _NAME).is_file():
        return None
    try:
        graph = library.Core().read_model(folder / _NAME)
    except RuntimeError:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    # The one that was used last stays longest.
    os.utime(folder)
    return graph


def _write(library: Any, graph: Any, folder: Path) -> None:
    """Write a graph so that a reader finds it whole or not at all, in a folder of mode 0700."""
    temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
    try:
        library.save_model(graph, temporary / _NAME, compress_to_fp16=False)
        for file in temporary.iterdir():
            with file.open("rb+") as written:
                os.fsync(written.fileno())
        narrow(temporary)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make_room(newest: Path) -> None:
    """Delete all but the graphs that were used last, what killed programs left, and what no program reads any more."""
    others = [folder for folder in newest.parent.iterdir() if folder.is_dir() and folder != newest]
    others.sort(key=lambda folder: (not _is_useless(folder), folder.stat().st_mtime))
    useless = sum(map(_is_useless, others))
    for folder in others[: max(useless, len(others) - _KEPT + 1)]:
        # On Windows one that a program has open stays.
        shutil.rmtree(folder, ignore_errors=True)


def _is_useless(folder: Path) -> bool:
    """Whether it is unfinished, or of a builder before this one."""
    builder = folder.name.rpartition("-")[2]
    return folder.name.startswith(_UNFINISHED) or (builder.isdecimal() and int(builder) < BUILDER)
