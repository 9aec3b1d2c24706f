"""A profile in the user's own editor: out to a private file, back in, nothing lost.

This file does not know the store; it turns one profile into another.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from ..errors import InputError, ProfileError
from ..files import storage_error
from ..profile import Hypothesis, Profile

__all__ = ["edited", "marked", "read_profile", "written_out"]


def written_out(profile: Profile) -> Path:
    """Write a profile to a new temporary file that only its owner may read.

    Raises:
        StorageError: there is no room or no permission for temporary files.
    """
    folder = Path(tempfile.gettempdir())
    try:
        handle, name = tempfile.mkstemp(prefix="hyperalign-profile-", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(profile.to_json())
    except OSError as error:
        raise storage_error(error, folder) from error
    return Path(name)


def edited(path: Path) -> None:
    """Open a file in the user's editor (``VISUAL``, ``EDITOR``, else ``vi``) and wait for it.

    Raises:
        InputError: the editor could not be started, or failed; the file is kept.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    kept = f"The profile is kept in {path}. Name an editor with the variable EDITOR."
    try:
        # The command is the user's own setting, split as a shell would, and no shell runs it.
        code = subprocess.run([*shlex.split(command), str(path)], check=False).returncode  # noqa: S603
    except (OSError, ValueError) as error:
        raise InputError(f"The editor {command!r} could not be started.", remedy=kept) from error
    if code:
        raise InputError(f"The editor {command!r} ended with code {code}; nothing was saved.", remedy=kept)


def read_profile(path: Path, *, user: str | None = None) -> Profile:
    """Read a profile from a file.

    Args:
        path: the file; it stays where it is, whatever is wrong with it.
        user: whose it must be, or None for anybody's.

    Raises:
        ProfileError: the file is missing, does not load, or is somebody else's profile.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ProfileError(f"{path} could not be read: {why}.", remedy="Check the name of the file.") from error
    profile = Profile.from_json(data, where=str(path))
    if user is not None and profile.user != user:
        raise ProfileError(
            f"{path}: this is a profile of {profile.user!r}, not of {user!r}.", remedy="Put the 'user' field back."
        )
    return profile


def marked(before: Profile, after: Profile) -> Profile:
    """``after`` with what a human changed marked as edited.

    A test result belongs to the statement that was tested: a changed statement loses it, as its quotes
    lose their check, and keeps its weight, which is now the human's.
    """
    known = {hypothesis.id: hypothesis for hypothesis in (*before.hypotheses, *before.dropped)}
    return after.model_copy(update={"hypotheses": [_marked(known.get(h.id), h) for h in after.hypotheses]})


def _marked(old: Hypothesis | None, new: Hypothesis) -> Hypothesis:
    if old is not None and (old.statement, old.scope) == (new.statement, new.scope):
        return new
    changed = new.model_copy(update={"source": "edited", "test": None})
    if old is not None and old.statement == new.statement:
        return changed
    return changed.model_copy(update={"evidence": [q.model_copy(update={"checked": None}) for q in new.evidence]})
