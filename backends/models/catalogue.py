"""The model files that hyperalign knows by name, listed in ``catalogue.json``, and files of the user's own."""

from __future__ import annotations

import difflib
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hyperalign.errors import InputError, UnknownModelError
from hyperalign.files import cache_folder, write_whole

__all__ = [
    "Entry",
    "Hub",
    "LocalModel",
    "Wheels",
    "entries",
    "file_sha256",
    "find",
    "models_folder",
    "remember_sha256",
    "resolve",
]

_HASH_CHARACTERS = 8


class Hub(BaseModel):
    """Where a file lies on the model hub."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str
    file: str


class Wheels(BaseModel):
    """Packages that carry a model file, whole or in parts, as plain data.

    Attributes:
        version: one version for all of them.
        distributions: the packages, in the order of the file's parts.
        member: a shell pattern that one member of each wheel matches.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    distributions: tuple[str, ...]
    member: str


class Entry(BaseModel):
    """One model of the catalogue.

    Attributes:
        bytes: the file's size.
        sha256: of the whole file, in lower-case hex.
        context: the longest text the model was trained for, in tokens.
        file: the name the file gets in the models folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    licence: str
    bytes: int
    sha256: str
    quantization: str
    context: int
    file: str
    hub: Hub
    wheels: Wheels

    @property
    def path(self) -> Path:
        """Where the file is kept, whether it is there or not."""
        return models_folder() / self.file


class LocalModel(BaseModel):
    """A model file to run here: of the catalogue, or a user's own.

    Attributes:
        name: what it is called: the catalogue's name or the file's stem.
        sha256: of its weights.
        context: the longest text, in tokens, that is safe to serve; None where not known.
        entry: the catalogue's entry; None for a user's own file.
        own_path: the user's own file; None for one of the catalogue.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    context: int | None = None
    entry: Entry | None = None
    own_path: Path | None = None

    @property
    def served_name(self) -> str:
        """The name at the server: it carries the weights, so that no cache confuses two models."""
        return f"{self.name}-{self.sha256[:_HASH_CHARACTERS]}"


def models_folder() -> Path:
    """The folder of downloaded model files."""
    return cache_folder() / "models"


@cache
def entries() -> tuple[Entry, ...]:
    """All models of the catalogue, smallest first."""
    text = files(__package__).joinpath("catalogue.json").read_text(encoding="utf-8")
    models = [Entry.model_validate(model) for model in json.loads(text)["models"]]
    return tuple(sorted(models, key=lambda entry: entry.bytes))


def find(name: str) -> Entry:
    """The catalogue's entry of a name; upper and lower case are the same.

    Raises:
        UnknownModelError: no such model; the nearest name is offered.
    """
    by_name = {entry.name: entry for entry in entries()}
    if entry := by_name.get(name.lower()):
        return entry
    near = difflib.get_close_matches(name.lower(), by_name, n=1, cutoff=0.4)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    raise UnknownModelError(
        f"The catalogue has no model '{name}'.",
        remedy=f"{hint}See 'hyperalign models list', or give the path of a .gguf file.",
    )


def resolve(name: str) -> LocalModel:
    """What follows ``local:``: a name of the catalogue or the path of a GGUF file.

    Raises:
        UnknownModelError: neither such a name nor such a file.
        InputError: the file is there but is not a GGUF file.
    """
    if name.lower().endswith(".gguf"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise UnknownModelError(f"There is no model file {path}.", remedy="Check the path.")
        return _own_model(path)
    entry = find(name)
    return LocalModel(name=entry.name, sha256=entry.sha256, context=entry.context, entry=entry)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, remembered for as long as its size and time stay the same."""
    known, state = _memory_of(path)
    try:
        remembered = _HashedFile.model_validate_json(known.read_bytes())
        if remembered.sha256 and remembered.model_copy(update={"sha256": ""}) == state:
            return remembered.sha256
    except (OSError, ValidationError):
        pass  # not hashed yet, or the note is torn: hash it again
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    remember_sha256(path, digest)
    return digest


def remember_sha256(path: Path, digest: str) -> None:
    """Note the SHA-256 of a file that was hashed under another name."""
    known, state = _memory_of(path)
    write_whole(known, state.model_copy(update={"sha256": digest}).model_dump_json())


def _memory_of(path: Path) -> tuple[Path, _HashedFile]:
    path = path.resolve()
    status = path.stat()
    name = hashlib.sha256(str(path).encode()).hexdigest()[:32]
    return cache_folder() / "hashes" / f"{name}.json", _HashedFile(size=status.st_size, mtime_ns=status.st_mtime_ns)


class _HashedFile(BaseModel):
    size: int
    mtime_ns: int
    sha256: str = ""


def _own_model(path: Path) -> LocalModel:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise InputError(f"{path} is not a GGUF file.", remedy="Give a model file in llama.cpp's GGUF format.")
    # The name goes into an HTTP body and a file name: keep what is safe in both.
    stem = "".join(c if c.isalnum() or c in "._-" else "-" for c in path.stem.lower())
    return LocalModel(name=stem, sha256=file_sha256(path), own_path=path.resolve())
