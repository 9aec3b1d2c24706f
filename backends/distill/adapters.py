"""Adapter folders: weights, tokenizer, chat template, a card, and a manifest that every load checks.

The manifest lists the SHA-256 of every file, the card's too, and a digest of that list. It shows damage, cuts and
changes by hand. Changed files with a new manifest are told from the original only by a digest that was noted elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hyperalign import __version__
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, NotFoundError, TrainingError
from hyperalign.files import make_private_folder, storage_error, write_whole
from hyperalign.text import printable

from .student import Student, open_student, read_vocabulary, require_empty

__all__ = [
    "Adapter",
    "Card",
    "Verdict",
    "check_base",
    "check_tokenizer",
    "export_adapter",
    "find_adapters",
    "open_adapter",
    "open_base",
    "update_card",
    "write_adapter",
]

_CARD, _MANIFEST, _README = "card.json", "manifest.json", "README.md"
_SCHEMA = 2
_TRAINING = "training"
_TEMPLATE = "chat_template.jinja"
_AGAIN = "Distill it again, or get an intact copy."
_WEIGHTS, _TOKENIZER = "adapter_model.safetensors", "tokenizer.json"


class Verdict(BaseModel):
    """The gate's verdict on an adapter.

    Attributes:
        passed: whether the adapter may be served.
        reasons: one for each criterion that it failed.
        figures: the measurements, by name.
    """

    model_config = ConfigDict(frozen=True)

    passed: bool
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, float] = {}


class Card(BaseModel):
    """Metadata of an adapter.

    Attributes:
        name: the name that it is served under.
        base: the student, as the user wrote it.
        base_sha256: of the base's weights.
        base_license: of the base's weights; it binds the adapter too.
        method: the training method.
        scope: what the adapter is told about a person: see ``dataset.Scope``.
        users: the people whose answers it learned.
        profiles: hash of each person's profile.
        prefixes: the system turn of each person, in scope ``prefix``.
        teacher: the model that answered, or that scored the student's generations.
        strategy: how the teacher was given the profile.
        effort: what the teacher spent on an answer: ``low`` was only told, the others were steered.
        traces: number of training rows.
        dropped: number of traces that the trace filter dropped, by reason.
        recipe: hyperparameters.
        training: steps, losses and seconds.
        metric: the metric that scores answers.
        criteria: the gate's criteria, declared before training.
        gate: the gate's verdict; None if it has not run.
        created: time in UTC.
        version: of hyperalign.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    base: str
    base_sha256: str
    base_license: str
    method: str
    scope: Literal["person", "tag", "prefix", "program"]
    users: tuple[str, ...]
    profiles: Mapping[str, str]
    prefixes: Mapping[str, str] = {}
    teacher: str
    strategy: str
    effort: Literal["low", "medium", "high"] = "low"
    traces: int
    dropped: Mapping[str, int] = {}
    recipe: Mapping[str, Any] = {}
    training: Mapping[str, Any] = {}
    metric: str = "reward"
    criteria: Mapping[str, float] = {}
    gate: Verdict | None = None
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    version: str = __version__

    @property
    def base_name(self) -> str:
        """The base's name in requests, with a hash of its weights so that caches never confuse two models."""
        return f"{Path(self.base.partition(':')[2] or self.base).stem}-{self.base_sha256[:8]}"


@dataclass(frozen=True)
class Adapter:
    """An adapter whose files match its manifest.

    Attributes:
        path: its folder.
        card: its metadata.
        sha256: of its weights.
        digest: of its manifest's list; whoever notes it can tell this adapter from any other.
    """

    path: Path
    card: Card
    sha256: str
    digest: str = ""

    @property
    def served_name(self) -> str:
        """The name in requests, with a hash of the weights so that caches never confuse two adapters."""
        return f"{self.card.name}-{self.sha256[:8]}"


def write_adapter(weights: Path, folder: Path, card: Card) -> Adapter:
    """Write an adapter's folder from the output of training.

    If the folder has these weights and this card already, it is left as it is, with its verdict.

    Args:
        weights: a folder with the adapter's weights, tokenizer and chat template.
        folder: the destination; files of another adapter in it are replaced.
        card: the metadata.

    Raises:
        StorageError: the disk is full or not writable.
    """
    try:
        adapter = open_adapter(folder)
        expected = card.model_copy(update={"gate": adapter.card.gate, "created": adapter.card.created})
        if adapter.card == expected and adapter.sha256 == _sha256(weights / _WEIGHTS):
            return adapter
    except (NotFoundError, TrainingError):
        pass
    try:
        stale = set(_read_manifest(folder))
    except (NotFoundError, TrainingError):
        stale = set()
    # Without a manifest the folder is no adapter, so a copy that was interrupted is never loaded.
    _copy_files(weights, folder, without=_MANIFEST)
    names = {path.name for path in weights.iterdir() if path.is_file() and path.name != _MANIFEST}
    for name in stale - names - {_CARD, _README}:
        (folder / name).unlink(missing_ok=True)
    return _write_card(folder, card, names)


def update_card(folder: Path, card: Card) -> Adapter:
    """Write an adapter's card, README and manifest; a file that the manifest did not list is not taken into it.

    Raises:
        NotFoundError: there is no adapter.
        TrainingError: the manifest is missing or damaged.
        StorageError: the disk is full or not writable.
    """
    return _write_card(folder, card, set(_read_manifest(folder)))


def _write_card(folder: Path, card: Card, names: set[str]) -> Adapter:
    write_whole(folder / _CARD, json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
    write_whole(folder / _README, printable(_render_readme(card)))
    hashes = {name: _sha256(folder / name) for name in sorted({*names, _CARD, _README})}
    manifest = {"schema": _SCHEMA, "digest": _digest(hashes), "sha256": hashes}
    write_whole(folder / _MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return open_adapter(folder)


def _digest(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, str]:
    """The SHA-256 of each listed file, by name.

    Raises:
        NotFoundError: there is no adapter.
        TrainingError: there is no manifest, it can't be read, was cut or changed, or names a file elsewhere.
    """
    if not (folder / _CARD).is_file():
        raise NotFoundError(f"There is no adapter in {folder}.", remedy="See: hyperalign adapters list")
    try:
        data = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        hashes = {str(name): str(expected) for name, expected in data["sha256"].items()}
        is_whole = data["schema"] == _SCHEMA and data["digest"] == _digest(hashes)
    except FileNotFoundError as error:
        raise TrainingError(
            f"The adapter in {folder} is incomplete: it has no manifest.", remedy="Run the same command again."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"The manifest of the adapter in {folder} can't be read: {str(error).splitlines()[0]}.", remedy=_AGAIN
        ) from error
    if not is_whole or not {_CARD, _README, _WEIGHTS} <= hashes.keys():
        raise TrainingError(f"The manifest of the adapter in {folder} was cut or changed.", remedy=_AGAIN)
    if elsewhere := [name for name in hashes if Path(name).name != name]:
        raise TrainingError(
            f"The manifest of the adapter in {folder} names a file elsewhere: {elsewhere[0]}.", remedy=_AGAIN
        )
    return hashes


def _check_listed(folder: Path, names: Collection[str]) -> None:
    """Check that a folder holds nothing that its manifest does not list: libraries load files by their names."""
    unfinished = tuple(f".{name}." for name in (*names, _MANIFEST))
    for path in sorted(folder.iterdir()):
        is_training = path.name == _TRAINING and path.is_dir() and not path.is_symlink()
        # What a killed process left half written has such a name, which no library reads.
        if path.name in names or path.name == _MANIFEST or is_training or path.name.startswith(unfinished):
            continue
        raise TrainingError(
            f"{path.name} of the adapter in {folder} is not in its manifest.",
            remedy=f"Move it away if you put it there. {_AGAIN}",
        )


def open_adapter(folder: Path) -> Adapter:
    """Open an adapter and check every file against its manifest.

    Raises:
        NotFoundError: there is no adapter.
        TrainingError: a file is missing, changed, unreadable or not listed, or the manifest was cut or changed.
    """
    hashes = _read_manifest(folder)
    _check_listed(folder, hashes)
    for name, expected in hashes.items():
        file = folder / name
        if not file.is_file() or _sha256(file) != expected:
            problem = "is missing" if not file.is_file() else "does not match its manifest"
            raise TrainingError(f"{name} of the adapter in {folder} {problem}.", remedy=_AGAIN)
    try:
        card = Card.model_validate_json((folder / _CARD).read_bytes())
    except (OSError, ValueError, ValidationError) as error:
        raise TrainingError(
            f"The adapter in {folder} can't be read: {str(error).splitlines()[0]}.", remedy=_AGAIN
        ) from error
    return Adapter(folder, card, hashes[_WEIGHTS], _digest(hashes))


def open_base(card: Card, progress: Progress | None = None) -> Student:
    """Open the model that an adapter was trained on.

    Args:
        card: of the adapter.
        progress: called during a download.

    Raises:
        InputError: the model of that name has other weights now.
        UnknownModelError: the model or folder does not exist anymore.
        MissingExtraError: the 'train' extra is not installed.
        ModelError: it can't be converted to a checkpoint.
    """
    student = open_student(card.base, progress)
    check_base(card, student)
    return student


def check_base(card: Card, student: Student) -> None:
    """Check that a model has the weights that an adapter was trained on.

    Raises:
        InputError: it has other weights.
    """
    if student.sha256 != card.base_sha256:
        raise InputError(
            f"The adapter {card.name} was trained on other weights than {student.name} has.",
            remedy=f"Its base is {card.base}, as it was then: restore those weights, or distill the adapter again.",
        )


def check_tokenizer(adapter: Adapter, checkpoint: Path) -> None:
    """Check that a base has the vocabulary and chat template that an adapter was trained with.

    Args:
        adapter: the adapter.
        checkpoint: the base's folder.

    Raises:
        TrainingError: they differ.
    """
    base = adapter.card.base
    if (adapter.path / _TEMPLATE).is_file() and (checkpoint / _TEMPLATE).is_file():
        templates = [(folder / _TEMPLATE).read_text(encoding="utf-8").strip() for folder in (adapter.path, checkpoint)]
        if templates[0] != templates[1]:
            raise TrainingError(
                f"The adapter {adapter.card.name} was trained with another chat template than {base} has.",
                remedy="Restore the base's original template, or distill the adapter again.",
            )
    own, other = read_vocabulary(adapter.path / _TOKENIZER), read_vocabulary(checkpoint / _TOKENIZER)
    if own is None or other is None or own == other:
        return
    differing = sum(own.get(token) != other.get(token) for token in own.keys() | other.keys())
    raise TrainingError(
        f"The adapter {adapter.card.name} was trained with another vocabulary than {base} has: "
        f"{differing} tokens differ.",
        remedy="Restore the base's original tokenizer, or distill the adapter again.",
    )


def find_adapters(root: Path) -> list[Path]:
    """Return the folders at or directly under a root that hold an adapter, intact or not, by name."""
    return sorted({path.parent for path in [*root.glob(_CARD), *root.glob(f"*/{_CARD}")]})


def export_adapter(adapter: Adapter, folder: Path) -> None:
    """Copy an adapter as PEFT and transformers load it, without training data and local paths.

    Args:
        adapter: the adapter.
        folder: the destination; must not exist or be empty.

    Raises:
        InputError: the folder is not empty.
        StorageError: the disk is full or not writable.
    """
    require_empty(folder)
    _copy_files(adapter.path, folder)
    config = folder / "adapter_config.json"
    if config.is_file():
        # PEFT records the local path of the base.
        data = json.loads(config.read_bytes())
        write_whole(config, json.dumps({**data, "base_model_name_or_path": adapter.card.base_name}, indent=2) + "\n")
        base = adapter.card.base
        update_card(folder, adapter.card.model_copy(update={"base": base if ":" in base else Path(base).name}))


def _render_readme(card: Card) -> str:
    verdict = "not run" if card.gate is None else "passed" if card.gate.passed else "failed"
    lines = [
        f"# {card.name}",
        "",
        f"A LoRA adapter for `{card.base}` ({card.base_license}), made with hyperalign {card.version} on "
        f"{card.created}.",
        "",
        f"- **People**: {', '.join(card.users)} (scope {card.scope})",
        f"- **Trained on**: {_describe_rows(card)}, by `{card.method}`",
        f"- **Gate**: {verdict}",
        *(f"  - {reason}" for reason in (card.gate.reasons if card.gate else ())),
        "",
        "The base model's license binds the adapter too. `card.json` has all metadata, `manifest.json` the hashes.",
        "",
    ]
    return "\n".join(lines)


def _describe_rows(card: Card) -> str:
    if card.method == "ditto":
        return f"{card.traces} of {card.teacher}"
    steered = "" if card.effort == "low" else f", guided at effort {card.effort}"
    return f"{card.traces} answers of `{card.teacher}` with strategy `{card.strategy}`{steered}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy_files(source: Path, folder: Path, without: str = "") -> None:
    """Copy a folder's files, so that only their owner can read them."""
    try:
        make_private_folder(folder)
        if without:
            (folder / without).unlink(missing_ok=True)
        for file in sorted(path for path in source.iterdir() if path.is_file() and path.name != without):
            write_whole(folder / file.name, file.read_bytes())
    except OSError as error:
        raise storage_error(error, folder) from error
