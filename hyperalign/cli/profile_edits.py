"""``hyperalign profile edit``, ``set``, ``flip`` and ``forget``: what users decide about their own profile.

Also what ``forget`` and ``rm`` share: they clean the runs of other people.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hyperalign.errors import InputError, ProfileError

from .options import JsonOption, StoreOption, UserArgument, YesOption
from .terminal import confirm, echo

if TYPE_CHECKING:
    from hyperalign.edits import Cleaned
    from hyperalign.profile import Profile

__all__ = [
    "TRACES_LEFT",
    "edit",
    "flip",
    "forget",
    "print_cleaned",
    "set_",
]

TRACES_LEFT = (
    "Another process holds the store open, so traces may be left in its files. "
    "Run the same command again when it is done."
)


def edit(
    user: UserArgument,
    file: Annotated[Path | None, typer.Option("--file", help="Read this file instead of opening an editor.")] = None,
    note: Annotated[str, typer.Option("--note", help="Note for the history.")] = "edited by hand",
    store: StoreOption = None,
) -> None:
    """Edit a profile in $EDITOR and save it as a new version.

    If the result is invalid, the file is kept. Correct it and pass it with --file.
    """
    from hyperalign.programs.reward.edits import apply_edited_weights, mark_edited
    from hyperalign.runs import lock_person
    from hyperalign.store import Store

    from .session import say_waiting

    with Store(store) as opened:
        before = opened.load(user)
        path = file
        if path is None:
            path = _write_temporary(before)
            _open_editor(path)
        after = _read_edited(path, user)
        if after == before:
            echo("Nothing changed.")
        else:
            with lock_person(user, waits=lambda: say_waiting(user)):
                base = opened.history(user)[-1].number
                if opened.load(user) != before:
                    raise ProfileError(
                        f"Another command has saved version {base} of {user} meanwhile.",
                        remedy=f"Compare, and pass the edited file: hyperalign profile edit {user} --file {path}",
                    )
                number = opened.save(apply_edited_weights(before, mark_edited(before, after)), note)
            echo(f"Saved as version {number} of {user}; version {base} is kept.")
    if file is None:
        path.unlink(missing_ok=True)


def set_(
    user: UserArgument,
    leanings: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=VALUE...",
            help="Of a dimension the probability of its high pole, such as warm=0.9; of a feature of the reward its "
            "weight in nats, such as questions=-0.5.",
        ),
    ],
    store: StoreOption = None,
) -> None:
    """Set a user's preferences by hand. 0.5 removes a dimension, and 0 a feature.

    A later fit keeps what was set. 'hyperalign profile show' lists preferences and features.

    Example: hyperalign profile set ada warm=0.9 brief=0.2
    """
    from hyperalign.edits import set_leaning
    from hyperalign.programs.reward.edits import has_feature, set_weight
    from hyperalign.runs import lock_person
    from hyperalign.store import Store

    from .session import say_waiting

    with Store(store) as opened, lock_person(user, waits=lambda: say_waiting(user)):
        profile = opened.load(user)
        for name, value in map(_parse_leaning, leanings):
            profile = (set_weight if has_feature(profile, name) else set_leaning)(profile, name, value)
        number = opened.save(profile, note=f"set {', '.join(leanings)}")
    echo(f"Saved as version {number} of {user}.")


def flip(
    user: UserArgument,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Dimensions, ids of kept hypotheses, or features of the reward."),
    ],
    store: StoreOption = None,
) -> None:
    """Reverse preferences of a user: what they preferred, they now avoid.

    A statement about a measured feature and that feature's weight in the reward are reversed together.
    """
    from hyperalign.programs.reward.edits import flip as flip_name
    from hyperalign.runs import lock_person
    from hyperalign.store import Store

    from .session import say_waiting

    with Store(store) as opened, lock_person(user, waits=lambda: say_waiting(user)):
        profile = opened.load(user)
        for name in names:
            profile = flip_name(profile, name)
        number = opened.save(profile, note=f"flipped {', '.join(names)}")
    echo(f"Saved as version {number} of {user}.")


def forget(
    user: UserArgument,
    name: Annotated[str, typer.Argument(metavar="ID", help="Id of a record or hypothesis, or a dimension.")],
    yes: YesOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a record or hypothesis from every version, with what rests on it alone and the runs that read it.

    A later fit does not find a forgotten hypothesis again.
    """
    from hyperalign.backends.keeping import forget as forget_everywhere
    from hyperalign.store import Store

    from .show import counted
    from .terminal import print_json

    with Store(store) as opened:
        if not yes:
            is_record = any(record.id == name for record in opened.records(user, skip_damaged=True))
            confirm(f"Forget {'the record' if is_record else 'the hypothesis'} {name} for good?")
        gone = forget_everywhere(opened, user, name)
    cleaned = gone.cleaned
    if as_json:
        cut = {"runs": gone.runs, "lines": cleaned.lines, "files": cleaned.files, "cached": gone.cached}
        print_json({"record": gone.is_record, "versions": gone.versions, "hypotheses": sorted(gone.statements), **cut})
    else:
        what = "the record" if gone.is_record else "the hypothesis"
        where = counted(len(gone.versions), "version", "versions")
        echo(f"Forgot {what} in {where}, and {counted(gone.runs, 'run', 'runs')} that read it.")
        for statement in sorted(gone.statements):
            echo(f"  gone: {statement}")
        print_cleaned(cleaned)
    if gone.traces_left:
        echo(TRACES_LEFT, err=True)


def print_cleaned(cleaned: Cleaned) -> None:
    """Print what was removed from the runs of others, and what could not be."""
    from .show import counted

    if cleaned.folders:
        what = f"{counted(cleaned.lines, 'line', 'lines')} and {counted(cleaned.files, 'file', 'files')}"
        runs = counted(len(cleaned.folders), "run or eval", "runs and evals")
        echo(f"Also removed {what} from {runs} of others; the same commands make what is missing again.")
    for folder in cleaned.busy:
        echo(f"Another process is at work in {folder}: run the same command again when it is done.", err=True)


def _write_temporary(profile: Profile) -> Path:
    """Write a profile to a new temporary file that only its owner may read."""
    from hyperalign.files import storage_error

    folder = Path(tempfile.gettempdir())
    try:
        handle, name = tempfile.mkstemp(prefix="hyperalign-profile-", suffix=".json")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(profile.to_json())
    except OSError as error:
        raise storage_error(error, folder) from error
    return Path(name)


def _open_editor(path: Path) -> None:
    """Open a file in the user's editor (``VISUAL``, ``EDITOR``, else ``vi``) and wait for it."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    kept = f"The profile is kept in {path}. Name an editor with the variable EDITOR."
    try:
        # The command is the user's own setting, split as a shell would, and no shell runs it.
        code = subprocess.run([*shlex.split(command), str(path)], check=False).returncode  # noqa: S603
    except (OSError, ValueError) as error:
        raise InputError(f"The editor {command!r} could not be started.", remedy=kept) from error
    if code:
        raise InputError(f"The editor {command!r} ended with code {code}; nothing was saved.", remedy=kept)


def _read_edited(path: Path, user: str) -> Profile:
    from .session import read_profile

    try:
        return read_profile(path, user=user)
    except ProfileError as error:
        if path.is_file():
            error.remedy = f"Your text is kept: mend {path} and run: hyperalign profile edit {user!r} --file {path}"
        raise


def _parse_leaning(text: str) -> tuple[str, float]:
    """The dimension and the probability in ``warm=0.9``."""
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError as error:
        raise InputError(f"{text!r} does not say how a dimension leans.", remedy="Write it as: warm=0.9") from error
