"""The folder of an adapter: weights, tokenizer and chat template together, a card, and a manifest that vouches for all.

An adapter whose files are not what the manifest says is not loaded by anything here. This file trains nothing, and
decides nothing about quality: ``gate`` does.

Takes an adapter elsewhere: merged into its base as a checkpoint of its own, or as a Hugging Face adapter layout.

This file trains nothing and judges nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, NotFoundError, TrainingError
from hyperalign.files import storage_error, write_whole

from .probe import with_adapter
from .student import Student, load_student, open_student, torn, unwritten

__all__ = [
    "Adapter",
    "Card",
    "Verdict",
    "check_base",
    "check_tokenizer",
    "copy_out",
    "find_adapters",
    "merge",
    "open_adapter",
    "open_base",
    "recard",
    "seal",
    "sealed",
]

_CARD, _MANIFEST, _README = "card.json", "manifest.json", "README.md"
_TEMPLATE = "chat_template.jinja"
_WEIGHTS, _TOKENIZER = "adapter_model.safetensors", "tokenizer.json"


class Verdict(BaseModel):
    """What the gate said.

    Attributes:
        passed: whether the adapter may be served unforced.
        reasons: why not, one a criterion that failed.
        figures: what was measured, by name.
    """

    model_config = ConfigDict(frozen=True)

    passed: bool
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, float] = {}


class Card(BaseModel):
    """What an adapter is, for people and programs.

    Attributes:
        name: what it is served as.
        base: the student, as the user wrote it.
        base_sha256: of the weights that the student was made from.
        base_licence: of those weights; it binds the adapter too.
        method: how it was trained.
        scope: whose it is: ``person``, ``tag``, ``prefix`` or ``program``.
        users: whose answers it learned.
        profiles: hash of each user's profile.
        teacher: who gave the answers, or judged the student's own.
        strategy: how the profile was put before the teacher.
        traces: how many taught it.
        dropped: how many traces went, by reason.
        recipe: how it was trained.
        training: steps, losses and seconds.
        metric: what scores an answer.
        terms: what the gate asks for, as it was declared before training.
        gate: what the gate said; None before it was asked.
        made: when, in UTC.
        version: of hyperalign.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    base: str
    base_sha256: str
    base_licence: str
    method: str
    scope: Literal["person", "tag", "prefix", "program"]
    users: tuple[str, ...]
    profiles: Mapping[str, str]
    prefixes: Mapping[str, str] = {}
    teacher: str
    strategy: str
    traces: int
    dropped: Mapping[str, int] = {}
    recipe: Mapping[str, Any] = {}
    training: Mapping[str, Any] = {}
    metric: str = "style"
    terms: Mapping[str, float] = {}
    gate: Verdict | None = None
    made: str
    version: str

    @property
    def base_name(self) -> str:
        """What the base is called on the wire: it carries the weights, so that no cache confuses two."""
        return f"{Path(self.base.partition(':')[2] or self.base).stem}-{self.base_sha256[:8]}"


@dataclass(frozen=True)
class Adapter:
    """A whole adapter.

    Attributes:
        path: its folder.
        card: what it is.
        sha256: of its weights.
    """

    path: Path
    card: Card
    sha256: str

    @property
    def served_name(self) -> str:
        """The name on the wire: it carries the weights, so that no cache confuses two adapters."""
        return f"{self.card.name}-{self.sha256[:8]}"


def seal(weights: Path, folder: Path, card: Card) -> Adapter:
    """Make the folder of an adapter from what training left.

    Args:
        weights: the adapter's weights with tokenizer and chat template.
        folder: where; files of an earlier adapter in it are replaced.
        card: what it is.

    Raises:
        StorageError: the disk is full or not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The manifest goes first and comes last: a folder that was left half made has none, and is no adapter.
        (folder / _MANIFEST).unlink(missing_ok=True)
        for file in sorted(weights.iterdir()):
            if file.is_file() and file.name != _README:
                shutil.copyfile(file, folder / file.name)
    except OSError as error:
        raise storage_error(error, folder) from error
    return recard(folder, card)


def sealed(folder: Path, weights: Path, card: Card) -> Adapter | None:
    """The adapter that a folder holds already, with its verdict, where it is of these weights and this card; else None.

    Args:
        folder: of the adapter.
        weights: what training left.
        card: what it would be sealed with.
    """
    try:
        there = open_adapter(folder)
    except (NotFoundError, TrainingError):
        return None
    same = there.card.model_copy(update={"gate": card.gate, "made": card.made})
    return there if same == card and there.sha256 == _sha256(weights / _WEIGHTS) else None


def recard(folder: Path, card: Card) -> Adapter:
    """Write an adapter's card anew, and vouch for all files again.

    Raises:
        StorageError: the disk is full or not writable.
    """
    write_whole(folder / _CARD, json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / _README, _described(card))
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != _MANIFEST)
    sums = {path.name: _sha256(path) for path in files if not path.name.startswith(".")}
    write_whole(folder / _MANIFEST, json.dumps({"schema": 1, "sha256": sums}, indent=2) + "\n")
    return open_adapter(folder)


def open_adapter(folder: Path) -> Adapter:
    """An adapter from its folder, every file checked.

    Raises:
        NotFoundError: there is no adapter.
        TrainingError: a file is missing, was changed, or can't be read.
    """
    if not (folder / _CARD).is_file():
        raise NotFoundError(f"There is no adapter in {folder}.", remedy="See: hyperalign adapters list")
    try:
        sums = dict(json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["sha256"])
        card = Card.model_validate_json((folder / _CARD).read_bytes())
    except FileNotFoundError as error:
        raise TrainingError(
            f"The adapter in {folder} was left half made: it has no manifest.", remedy="Give the same command again."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise TrainingError(
            f"The adapter in {folder} can't be read: {str(error).splitlines()[0]}.", remedy="Distill it again."
        ) from error
    for name, expected in sums.items():
        # A name is a file beside the manifest, whatever stands in it.
        file = folder / Path(name).name
        if not file.is_file() or _sha256(file) != expected:
            state = "is missing" if not file.is_file() else "is not what the manifest says"
            raise TrainingError(
                f"{file.name} of the adapter in {folder} {state}.", remedy="Distill it again, or get an intact copy."
            )
    if _WEIGHTS not in sums:
        raise TrainingError(f"The adapter in {folder} has no weights.", remedy="Distill it again.")
    return Adapter(folder, card, sums[_WEIGHTS])


def open_base(card: Card, progress: Progress | None = None) -> Student:
    """The model that an adapter was trained on, and no other.

    Args:
        card: of the adapter.
        progress: told of a download.

    Raises:
        InputError: what goes by that name now has other weights.
        UnknownModelError: there is no such model or folder any more.
        MissingExtraError: the 'train' extra is not installed.
        ModelError: it can't be made into a checkpoint.
    """
    student = open_student(card.base, progress)
    check_base(card, student)
    return student


def check_base(card: Card, student: Student) -> None:
    """Refuse a model with other weights than the adapter was trained on.

    Raises:
        InputError: it has.
    """
    if student.sha256 != card.base_sha256:
        raise InputError(
            f"The adapter {card.name} was trained on other weights than {student.name} has.",
            remedy=f"Its base is {card.base}, as it was then: get those weights back, or distill the adapter again.",
        )


def check_tokenizer(adapter: Adapter, checkpoint: Path) -> None:
    """Refuse a base that reads other tokens, or puts conversations otherwise, than the adapter was trained on.

    Args:
        adapter: whole.
        checkpoint: the folder of the base that it is to be put on.

    Raises:
        TrainingError: it does.
    """
    base = adapter.card.base
    if (adapter.path / _TEMPLATE).is_file() and (checkpoint / _TEMPLATE).is_file():
        templates = [(folder / _TEMPLATE).read_text(encoding="utf-8").strip() for folder in (adapter.path, checkpoint)]
        if templates[0] != templates[1]:
            raise TrainingError(
                f"The adapter {adapter.card.name} was trained with another chat template than {base} has.",
                remedy="Give the base its own template back, or distill the adapter again.",
            )
    own, other = _vocabulary(adapter.path / _TOKENIZER), _vocabulary(checkpoint / _TOKENIZER)
    if own is None or other is None or own == other:
        return
    differ = sum(own.get(word) != other.get(word) for word in own.keys() | other.keys())
    raise TrainingError(
        f"The adapter {adapter.card.name} was trained on other tokens than {base} reads: {differ} differ.",
        remedy="Give the base its own tokenizer back, or distill the adapter again.",
    )


def _vocabulary(file: Path) -> dict[str, int] | None:
    """Each token's number; None where there is no such file, as with tokenizers of an older kind."""
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        words = data["model"]["vocab"]
        pairs = words.items() if isinstance(words, dict) else ((word, i) for i, (word, _) in enumerate(words))
        return {**dict(pairs), **{token["content"]: token["id"] for token in data["added_tokens"]}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{file} can't be read.", remedy="Get an intact copy of its folder.") from error


def find_adapters(root: Path) -> list[Path]:
    """The folders under a root that hold an adapter, whole or not, by name."""
    return sorted({path.parent for path in [*root.glob(_CARD), *root.glob(f"*/{_CARD}")]})


def _described(card: Card) -> str:
    """The card for people, as Markdown."""
    verdict = "not judged yet" if card.gate is None else "passed" if card.gate.passed else "failed"
    lines = [
        f"# {card.name}",
        "",
        f"A LoRA adapter for `{card.base}` ({card.base_licence}), made with hyperalign {card.version} on {card.made}.",
        "",
        f"- **Whose**: {', '.join(card.users)} ({card.scope})",
        f"- **Learned from**: {card.traces} answers of `{card.teacher}` under `{card.strategy}`, by `{card.method}`",
        f"- **Gate**: {verdict}",
        *(f"  - {reason}" for reason in (card.gate.reasons if card.gate else ())),
        "",
        "The base model's licence binds the adapter too. `card.json` has all figures, `manifest.json` the hashes.",
        "",
    ]
    return "\n".join(lines)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
