"""Students: checkpoint folders that transformers can train; GGUF files of the catalogue are dequantized once."""

from __future__ import annotations

import errno
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock
from jinja2 import TemplateError

from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, MissingExtraError, ModelError, StorageError, TrainingError, UnknownModelError
from hyperalign.files import cache_folder, make_private_folder, narrow, storage_error
from hyperalign.scores import Message

from ..models.catalogue import file_sha256, resolve
from ..models.download import ensure_local

__all__ = [
    "ModelShape",
    "Student",
    "check_answers",
    "check_system_role",
    "count_parameters",
    "end_answers",
    "import_libraries",
    "load_student",
    "open_student",
    "read_shape",
    "read_vocabulary",
    "replace_folder",
    "require_empty",
    "safetensors_error",
    "to_storage_error",
]

_UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True)
class Student:
    """A model to train.

    Attributes:
        name: as the user wrote it.
        path: its checkpoint folder.
        sha256: of the weights file that the checkpoint comes from.
        license: of the weights.
    """

    name: str
    path: Path
    sha256: str
    license: str


def open_student(name: str, progress: Progress | None = None) -> Student:
    """Return the checkpoint of a student; download and dequantize it if it is not in the cache.

    Args:
        name: ``local:NAME`` (a catalogue name or the path of a .gguf file), or the path of a checkpoint folder.
        progress: called during a download.

    Raises:
        UnknownModelError: there is no such model or folder.
        MissingExtraError: torch or transformers is not installed.
        ModelError: the file can't be converted to a checkpoint.
        StorageError: the disk is full or not writable.
    """
    scheme, _, rest = name.partition(":")
    if scheme != "local":
        return _open_folder(name)
    model = resolve(rest)
    file = ensure_local(model, progress)
    folder = cache_folder() / "checkpoints" / model.served_name
    make_private_folder(folder.parent)
    with FileLock(f"{folder}.lock", mode=0o600):
        if not (folder / "config.json").is_file():
            _dequantize(file, folder)
    return Student(name, folder, model.sha256, model.entry.licence if model.entry else _UNKNOWN_LICENSE)


def load_student(student: Student) -> tuple[Any, Any]:
    """Load a student's model, in float32, and its tokenizer.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: the checkpoint does not load, or has no chat template.
    """
    torch, transformers = import_libraries("torch", "transformers")
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(student.path, dtype=torch.float32)
    except (OSError, ValueError, RuntimeError, KeyError, safetensors_error()) as error:
        raise _load_error(student, error) from error
    return model, _load_tokenizer(student)


def _load_tokenizer(student: Student) -> Any:
    (transformers,) = import_libraries("transformers")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(student.path)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise _load_error(student, error) from error
    if not tokenizer.chat_template:
        raise ModelError(
            f"The checkpoint in {student.path} has no chat template.",
            remedy="Choose the instruction-tuned checkpoint of the model.",
        )
    return tokenizer


def check_system_role(student: Student) -> None:
    """Check that a student's chat template renders a system turn, before any teacher is called.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: the tokenizer does not load, or its chat template rejects or ignores system turns.
    """
    tokenizer = _load_tokenizer(student)
    system = "Write for the person."
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "How are you?"}]
    try:
        rendered = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        problem = "" if system in rendered else "it ignores them"
    except TemplateError as error:
        problem = str(error) or "it rejects them"
    if problem:
        raise ModelError(
            f"The chat template of {student.name} does not support system turns: {problem}.",
            remedy="Choose another student: profiles, tags and prefixes go into the system turn.",
        )


_PROBE_TURNS: list[Message] = [{"role": "user", "content": "How was it?"}]
_PROBE_ANSWER = "It was a long way, and worth it."
_SHOWN = 40


def check_answers(student: Student) -> None:
    """Check that a student can be trained on answers, before any teacher is called; see ``end_answers``.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ModelError: the tokenizer does not load, or its chat template renders answers unlike what is asked later.
    """
    row = {"prompt": _PROBE_TURNS, "completion": [{"role": "assistant", "content": _PROBE_ANSWER}]}
    end_answers([row], _load_tokenizer(student), student.name)


def end_answers(rows: Sequence[Mapping[str, Any]], tokenizer: Any, name: str) -> list[dict[str, Any]]:
    """Check that each answer follows the very prompt that is sent later, and that its end is learned.

    A trainer learns all that a chat template renders after the prompt. A template that puts something before an answer
    (such as ``<think></think>``) would teach to write it; one that puts no end of turn after it, never to stop.

    Args:
        rows: conversational rows, with ``prompt`` and answers in ``completion``, ``chosen`` or ``rejected``.
        tokenizer: of the student, with a chat template.
        name: of the student, for messages.

    Returns:
        The rows; their answers end in the tokenizer's end of text where the template ends no turn.

    Raises:
        ModelError: the template renders something else than the prompt before an answer, changes the answer, or ends no
            turn while the tokenizer has no end of text.
    """
    ended = []
    for row in rows:
        prompt = _render(tokenizer, row["prompt"], generate=True)
        answers = {key: row[key] for key in ("completion", "chosen", "rejected") if row.get(key)}
        for key, answer in answers.items():
            if not _ends(tokenizer, prompt, row["prompt"], answer, name):
                *before, last = answer
                answers[key] = [*before, {**last, "content": f"{last['content']}{tokenizer.eos_token}"}]
        ended.append({**row, **answers})
    return ended


def _ends(tokenizer: Any, prompt: str, turns: Sequence[Message], answer: Sequence[Message], name: str) -> bool:
    """Whether a chat template ends the turn of an answer."""
    whole, text = _render(tokenizer, [*turns, *answer], generate=False), answer[-1]["content"].strip()
    problem = ""
    if not whole.startswith(prompt):
        same = next((at for at, both in enumerate(zip(whole, prompt, strict=False)) if both[0] != both[1]), len(whole))
        problem = f"it renders {whole[same : same + _SHOWN]!r} where the prompt for an answer has {prompt[same:]!r}"
    elif not (learned := whole[len(prompt) :].lstrip()).startswith(text):
        at = learned.find(text)
        problem = f"it puts {learned[:at]!r} before an answer" if at > 0 else "it changes the answer"
    elif not (end := learned[len(text) :].strip()) and not tokenizer.eos_token:
        problem = "it ends no turn, and the tokenizer has no end of text"
    if problem:
        raise ModelError(
            f"The chat template of {name} renders answers unlike what is asked for later: {problem[:200]}.",
            remedy="Choose another student, or correct the template in its checkpoint.",
        )
    return bool(end)


def _render(tokenizer: Any, turns: Sequence[Message], *, generate: bool) -> str:
    return str(tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=generate))


def count_parameters(student: Student) -> int:
    """Count a student's parameters from the headers of its weight files; tied ones count once."""
    total = 0
    for file in student.path.glob("*.safetensors"):
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        total += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    return total


@dataclass(frozen=True)
class ModelShape:
    """The dimensions of a transformer: layers, hidden size, intermediate size and vocabulary size."""

    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


def read_shape(student: Student) -> ModelShape:
    """Read a student's dimensions from its config.json.

    Raises:
        ModelError: it is missing or incomplete.
    """
    try:
        config = json.loads((student.path / "config.json").read_text(encoding="utf-8"))
        names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
        return ModelShape(*(int(config[name]) for name in names))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{student.path} has no config.json with the model's dimensions.",
            remedy="Give a checkpoint folder that transformers wrote.",
        ) from error


def safetensors_error() -> type[Exception]:
    """Return the exception class of safetensors, which is not installed everywhere."""
    error: type[Exception] = import_module("safetensors").SafetensorError
    return error


def to_storage_error(error: Exception, path: Path) -> StorageError | None:
    """Return a StorageError if torch or safetensors failed to write; None for any other failure.

    Neither raises an ``OSError`` for a full disk, so the message is inspected.
    """
    if isinstance(error, StorageError):
        return error
    if isinstance(error, OSError):
        return storage_error(error, path)
    message = str(error)
    if "No space left" in message or "StorageFull" in message:
        return storage_error(OSError(errno.ENOSPC, "No space left on device"), path)
    if "PytorchStreamWriter" in message or "while serializing" in message:
        return storage_error(OSError(errno.EIO, message.splitlines()[0][:200]), path)
    return None


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder that replaces another if the block succeeds.

    Raises:
        StorageError: the disk is full or not writable.
    """
    make_private_folder(folder.parent)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield temporary
        narrow(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except (OSError, RuntimeError, safetensors_error()) as error:
        if storage := to_storage_error(error, folder):
            raise storage from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_vocabulary(file: Path) -> dict[str, int] | None:
    """Return each token's id; None if there is no tokenizer.json, as with older tokenizers.

    Raises:
        TrainingError: the file can't be read.
    """
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        vocabulary = data["model"]["vocab"]
        if not isinstance(vocabulary, dict):
            vocabulary = {token: i for i, (token, _) in enumerate(vocabulary)}
        return {**vocabulary, **{token["content"]: token["id"] for token in data["added_tokens"]}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{file} can't be read.", remedy="Get an intact copy of its folder.") from error


def require_empty(folder: Path) -> None:
    """Check that a folder does not exist or is empty.

    Raises:
        InputError: it is not empty, or no folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty.", remedy="Name a folder that does not exist yet.")


def import_libraries(*names: str) -> list[Any]:
    """Import libraries of the 'train' extra.

    Raises:
        MissingExtraError: one is not installed.
    """
    try:
        return [import_module(name) for name in names]
    except ImportError as error:
        raise MissingExtraError("Training an adapter", "train") from error


def _load_error(student: Student, error: Exception) -> ModelError:
    return ModelError(
        f"The checkpoint in {student.path} does not load: {str(error).splitlines()[0]}.",
        remedy="Delete the folder if it is in the cache; otherwise check that the checkpoint is complete.",
    )


def _open_folder(name: str) -> Student:
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise UnknownModelError(
            f"There is no checkpoint in {name}.",
            remedy="A student is local:NAME of 'hyperalign models list', or a folder with config.json and weights.",
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(f"{folder} has no safetensors weights.", remedy="Save the model with save_pretrained().")
    # An absolute path, so that the adapter's card finds its base from any working directory.
    return Student(str(folder.resolve()), folder, file_sha256(weights[0]), _UNKNOWN_LICENSE)


def _dequantize(file: Path, folder: Path) -> None:
    torch, transformers = import_libraries("torch", "transformers")
    file = file.resolve()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            quantization_config=transformers.GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(
            f"{file.name} can't be converted to a checkpoint: {str(error).splitlines()[0]}.",
            remedy="Give the folder of the model's original checkpoint as the student.",
        ) from error
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    with replace_folder(folder) as temporary:
        # bfloat16 halves the file and loses nothing: the weights had four bits.
        model.to(torch.bfloat16).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
