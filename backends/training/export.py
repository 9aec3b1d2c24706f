"""Takes an adapter elsewhere: merged into its base as a checkpoint of its own, or as a Hugging Face adapter layout.

This file trains nothing and judges nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from hyperalign.errors import InputError
from hyperalign.files import storage_error, write_whole

from .adapters import Adapter, recard
from .probe import with_adapter
from .student import Student, load_student, torn, unwritten

__all__ = ["copy_out", "merge"]


def copy_out(adapter: Adapter, folder: Path) -> None:
    """Copy an adapter's own files, as Hugging Face's libraries load them; what it was trained on stays.

    Args:
        adapter: a whole one.
        folder: where; must not hold anything yet.

    Raises:
        InputError: the folder holds something.
        StorageError: the disk is full or not writable.
    """
    _refuse_what_is_there(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(path for path in adapter.path.iterdir() if path.is_file()):
            shutil.copyfile(file, folder / file.name)
        _forget_where_it_was_made(adapter, folder)
    except OSError as error:
        raise storage_error(error, folder) from error


def merge(student: Student, weights: Path, folder: Path) -> Student:
    """Write base and adapter as one checkpoint, whole or not at all.

    Args:
        student: the base that the adapter belongs to.
        weights: the adapter's folder.
        folder: where; must not hold anything yet.

    Returns:
        The merged model, as a student of its own.

    Raises:
        InputError: the folder holds something.
        TrainingError: the adapter does not fit its base.
        StorageError: the disk is full or not writable.
    """
    _refuse_what_is_there(folder)
    model, tokenizer = load_student(student)
    merged = with_adapter(model, weights).merge_and_unload()
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        merged.save_pretrained(made)
        tokenizer.save_pretrained(made)
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    except (OSError, RuntimeError, torn()) as error:
        if full := unwritten(error, folder):
            raise full from error
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Student(str(folder), folder, student.sha256, student.licence)


def _forget_where_it_was_made(adapter: Adapter, folder: Path) -> None:
    """PEFT writes where the base lay into its configuration: that tells of who trained, and helps nobody else."""
    config = folder / "adapter_config.json"
    if config.is_file():
        data = json.loads(config.read_bytes())
        write_whole(config, json.dumps({**data, "base_model_name_or_path": adapter.card.base_name}, indent=2) + "\n")
        # The same of the card, where the base was a folder of one's own.
        base = adapter.card.base
        recard(folder, adapter.card.model_copy(update={"base": base if ":" in base else Path(base).name}))


def _refuse_what_is_there(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something already.", remedy="Name a folder that is not there yet.")
