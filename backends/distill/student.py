"""The small model that learns: a checkpoint folder that transformers can train.

Models of the catalogue come as quantized GGUF files; they are dequantized to a checkpoint once, and kept in the cache.
This file trains nothing.
"""

from __future__ import annotations

import errno
import json
import math
import shutil
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock
from jinja2 import TemplateError

from hyperalign.concurrency import Progress
from hyperalign.errors import MissingExtraError, ModelError, StorageError, UnknownModelError
from hyperalign.files import cache_folder, storage_error

from ..models.catalogue import LocalModel, file_sha256, resolve
from ..models.download import ensure_local

__all__ = [
    "Size",
    "Student",
    "check_turns",
    "count_parameters",
    "load_student",
    "load_tokenizer",
    "open_student",
    "read_size",
    "unwritten",
]

_UNKNOWN_LICENCE = "unknown"


@dataclass(frozen=True)
class Student:
    """A model to train.

    Attributes:
        name: as the user wrote it.
        path: its checkpoint folder.
        sha256: of the weights that it was made from.
        licence: of those weights.
    """

    name: str
    path: Path
    sha256: str
    licence: str


def open_student(name: str, progress: Progress | None = None) -> Student:
    """The checkpoint of a student; made where it is not in the cache yet.

    Args:
        name: ``local:<name of the catalogue or path of a .gguf file>``, or the path of a checkpoint folder.
        progress: told of a download.

    Raises:
        UnknownModelError: there is no such model or folder.
        MissingExtraError: torch or transformers is not installed.
        ModelError: the file can't be made into a checkpoint.
        StorageError: the disk is full or not writable.
    """
    scheme, _, rest = name.partition(":")
    if scheme != "local":
        return _own(name)
    model = resolve(rest)
    file = ensure_local(model, progress)
    folder = cache_folder() / "checkpoints" / model.served_name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "config.json").is_file():
            _dequantize(file, folder)
    return Student(name, folder, model.sha256, _licence(model))


def load_student(student: Student, dtype: str = "float32") -> tuple[Any, Any]:
    """Its model and its tokenizer, the latter with a chat template.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: the checkpoint does not load, or has no chat template.
    """
    torch, transformers = libraries()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(student.path, dtype=getattr(torch, dtype))
    except (OSError, ValueError, RuntimeError, KeyError, torn()) as error:
        raise _does_not_load(student, error) from error
    return model, load_tokenizer(student)


def load_tokenizer(student: Student) -> Any:
    """Its tokenizer alone, with a chat template.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: it does not load, or has no chat template.
    """
    _, transformers = libraries()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(student.path)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise _does_not_load(student, error) from error
    if not tokenizer.chat_template:
        raise ModelError(
            f"The checkpoint in {student.path} has no chat template.",
            remedy="Choose the instruction-tuned checkpoint of the model.",
        )
    return tokenizer


def check_turns(student: Student) -> None:
    """Refuse a student that can't be told whose manner is asked for, before anybody is asked to teach it.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: its tokenizer does not load, or its chat template takes no system turn.
    """
    tokenizer = load_tokenizer(student)
    told = "Write for the person."
    turns = [{"role": "system", "content": told}, {"role": "user", "content": "How are you?"}]
    try:
        rendered = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        said = "" if told in rendered else "it leaves it out"
    except TemplateError as error:
        said = str(error) or "it refuses one"
    if said:
        raise ModelError(
            f"The chat template of {student.name} takes no system turn: {said}.",
            remedy="Choose another student: profiles, tags and prefixes are told in the system turn.",
        )


def count_parameters(student: Student) -> int:
    """How many weights a student has, by its files alone; tied ones count once."""
    total = 0
    for file in student.path.glob("*.safetensors"):
        with file.open("rb") as opened:
            head = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        total += sum(math.prod(part["shape"]) for name, part in head.items() if name != "__metadata__")
    return total


@dataclass(frozen=True)
class Size:
    """What a model is made of: layers, channels of each, inner channels of its feed-forward part, and tokens."""

    layers: int
    channels: int
    inner: int
    vocabulary: int


def read_size(student: Student) -> Size:
    """The size of a student, by its configuration alone.

    Raises:
        ModelError: its checkpoint has none.
    """
    try:
        found = json.loads((student.path / "config.json").read_text(encoding="utf-8"))
        return Size(
            found["num_hidden_layers"], found["hidden_size"], found["intermediate_size"], int(found["vocab_size"])
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{student.path} has no config.json that says how large the model is.",
            remedy="Give a checkpoint folder as transformers writes it.",
        ) from error


def libraries() -> tuple[Any, Any]:
    """torch and transformers.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        return import_module("torch"), import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("Training an adapter", "train") from error


def torn() -> type[Exception]:
    """What safetensors raises for a file that is none, or is cut."""
    error: type[Exception] = import_module("safetensors").SafetensorError
    return error


def unwritten(error: Exception, path: Path) -> StorageError | None:
    """What was wrong with the disk, where torch or safetensors could not write; None where it was something else.

    Neither raises an ``OSError`` for it: what they say is all there is to go by.
    """
    if isinstance(error, StorageError):
        return error
    if isinstance(error, OSError):
        return storage_error(error, path)
    said = str(error)
    if "No space left" in said or "StorageFull" in said:
        return storage_error(OSError(errno.ENOSPC, "No space left on device"), path)
    if "PytorchStreamWriter" in said or "while serializing" in said:
        return storage_error(OSError(errno.EIO, said.splitlines()[0][:200]), path)
    return None


def _does_not_load(student: Student, error: Exception) -> ModelError:
    return ModelError(
        f"The checkpoint in {student.path} does not load: {str(error).splitlines()[0]}.",
        remedy="Remove the folder, if it is in the cache; else check that it is a whole checkpoint.",
    )


def _own(name: str) -> Student:
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise UnknownModelError(
            f"There is no checkpoint in {name}.",
            remedy="A student is local:NAME of 'hyperalign models list', or a folder with config.json and weights.",
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{folder} has no safetensors weights.", remedy="Save the model with save_pretrained().")
    # Whole, so that the card of an adapter leads there from anywhere.
    return Student(str(folder.resolve()), folder, file_sha256(weights[0]), _UNKNOWN_LICENCE)


def _licence(model: LocalModel) -> str:
    return model.entry.licence if model.entry else _UNKNOWN_LICENCE


def _dequantize(file: Path, folder: Path) -> None:
    """Make a checkpoint of a GGUF file, whole or not at all."""
    torch, transformers = libraries()
    file = file.resolve()
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            quantization_config=transformers.GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        # Half the disk, and nothing lost: the weights had four bits.
        model.to(torch.bfloat16).save_pretrained(made)
        tokenizer.save_pretrained(made)
        (made / "source.json").write_text(
            json.dumps({"file": file.name, "sha256": file_sha256(file)}), encoding="utf-8"
        )
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, torn()) as error:
        if full := unwritten(error, folder):
            raise full from error
        raise ModelError(
            f"{file.name} can't be made into a checkpoint to train: {str(error).splitlines()[0]}.",
            remedy="Give the folder of the model's original checkpoint as the student.",
        ) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
