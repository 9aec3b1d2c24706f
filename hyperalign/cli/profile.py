"""``hyperalign profile``: look at, edit, compare, move and remove what the store keeps.

This file only wires commands: ``hyperalign.store`` keeps, ``show`` draws, ``editing`` edits.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption, StoreOption
from .profile_edits import TRACES_LEFT, UserArgument, flip, forget, set_

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hyperalign.profile import Profile
    from hyperalign.store import Store

__all__ = ["app"]

app = typer.Typer(help="Look at, edit, compare, decide on and remove stored profiles.", no_args_is_help=True)
app.command("set")(set_)
app.command()(flip)
app.command()(forget)


@app.command("list")
def list_people(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List everybody in the store."""
    with _opened(store) as opened:
        people = opened.users()
    if as_json:
        _print_json([asdict(person) for person in people])
    elif not people:
        typer.echo("The store is empty. Fill it with: hyperalign infer FILES --user NAME")
    else:
        rows = [(person.user, person.records, person.versions) for person in people]
        _print_table(("User", "Records", "Versions"), rows)


@app.command()
def show(
    user: UserArgument,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Which version; the newest if left out.")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show everything, also all that was dropped.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a profile: hypotheses with gain, evidence and weight, and what was dropped."""
    from .show import render_profile

    with _opened(store) as opened:
        profile = opened.load(user, version)
    if as_json:
        typer.echo(profile.to_json(), nl=False)
    else:
        _print(render_profile(profile, show_all=show_all))


@app.command()
def edit(
    user: UserArgument,
    file: Annotated[Path | None, typer.Option("--file", help="Take this file instead of opening an editor.")] = None,
    note: Annotated[str, typer.Option("--note", help="Why, for the history.")] = "edited by hand",
    store: StoreOption = None,
) -> None:
    """Edit a profile in $EDITOR and save it as a new version.

    What does not load is refused and kept in its file; continue with --file.
    """
    from .editing import edited, marked, written_out

    with _opened(store) as opened:
        before = opened.load(user)
        path = file
        if path is None:
            path = written_out(before)
            edited(path)
        after = _read_or_keep(path, user)
        if after == before:
            typer.echo("Nothing changed.")
        else:
            base = opened.history(user)[-1].number
            number = opened.save(marked(before, after), note)
            typer.echo(f"Saved as version {number} of {user}; version {base} is kept.")
    if file is None:
        path.unlink(missing_ok=True)


@app.command()
def diff(
    user: UserArgument,
    old: Annotated[str | None, typer.Argument(metavar="A", help="A version or a file; the last but one.")] = None,
    new: Annotated[str | None, typer.Argument(metavar="B", help="A version or a file; the newest.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changed between two versions, or between a version and a file."""
    from .show import render_diff

    with _opened(store) as opened:
        newest = opened.history(user)[-1].number
        first, second = _side(opened, user, old or str(newest - 1)), _side(opened, user, new or str(newest))
    changes = first.diff(second)
    if as_json:
        _print_json({"user": user, "changes": changes})
    else:
        _print(render_diff(changes))


@app.command()
def history(user: UserArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the versions of a profile, oldest first."""
    with _opened(store) as opened:
        versions = opened.history(user)
    if as_json:
        _print_json([{**asdict(version), "time": version.time.isoformat()} for version in versions])
    else:
        rows = [(v.number, f"{v.time.astimezone():%Y-%m-%d %H:%M}", v.kept, v.dropped, v.note) for v in versions]
        _print_table(("Version", "Saved", "Kept", "Dropped", "Note"), rows)


@app.command()
def export(
    user: UserArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file, not to the terminal.")] = None,
    store: StoreOption = None,
) -> None:
    """Write all that is kept of a person, records and versions, as one JSON file."""
    from hyperalign.files import write_whole

    with _opened(store) as opened:
        bundle = opened.export(user)
    if out is None:
        typer.echo(bundle.to_json(), nl=False)
        return
    write_whole(out, bundle.to_json())
    typer.echo(f"{_contents(len(bundle.records), len(bundle.versions))} of {user} are in {out}.")


@app.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What export wrote, or a profile; - for standard input.")
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in what export wrote (or one profile); what is already there is passed over."""
    from hyperalign.profile import Profile
    from hyperalign.store import Bundle

    data = _read(file)
    with _opened(store) as opened:
        if _is_profile(data):
            profile = Profile.from_json(data, where=str(file))
            user, records, versions = profile.user, 0, 1
            opened.save(profile, f"imported from {file.name}")
        else:
            bundle = Bundle.from_json(data, where=str(file))
            user = bundle.user
            records, versions = opened.add_bundle(bundle)
    if as_json:
        _print_json({"user": user, "records": records, "versions": versions})
    else:
        typer.echo(f"New: {_contents(records, versions)} of {user}.")


@app.command()
def rm(
    user: UserArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a person for good: records, all versions, their runs, and their text in the database's files."""
    from hyperalign.errors import InputError
    from hyperalign.programs.fit_result import Memory
    from hyperalign.runs import evals_with, remove_runs

    from .show import counted

    def without(memory: str) -> str | None:
        try:
            return Memory.from_json(memory, where="what is remembered of somebody else").without(user).to_json()
        except InputError:
            return None  # of another version: nothing may stand in the way of removing somebody

    with _opened(store) as opened:
        if not yes:
            known = {person.user: person for person in opened.users()}.get(user)
            if known is not None:
                what = _contents(known.records, known.versions)
                typer.confirm(f"Remove {what} of {user} for good?", abort=True, err=True)
        # Runs first: if they can't be removed, the same command can be given again.
        runs = remove_runs(user)
        removed = opened.remove(user, without=without)
    if as_json:
        _print_json({"user": user, **asdict(removed), "runs": runs})
    else:
        what = _contents(removed.records, removed.versions)
        typer.echo(f"Removed {what} of {user}, and {counted(runs, 'run', 'runs')}.")
    for folder in evals_with(user):
        typer.echo(f"An eval of several people also holds their texts; delete it by hand: {folder}", err=True)
    if removed.traces_left:
        typer.echo(TRACES_LEFT, err=True)


def _opened(place: str | None) -> Store:
    from hyperalign.store import Store

    return Store(place)


def _contents(records: int, versions: int) -> str:
    from .show import counted

    return f"{counted(records, 'record', 'records')} and {counted(versions, 'version', 'versions')}"


def _read_or_keep(path: Path, user: str) -> Profile:
    from hyperalign.errors import ProfileError

    from .editing import read_profile

    try:
        return read_profile(path, user=user)
    except ProfileError as error:
        if path.is_file():
            error.remedy = f"Your text is kept: mend {path} and run: hyperalign profile edit {user!r} --file {path}"
        raise


def _side(opened: Store, user: str, named: str) -> Profile:
    from hyperalign.errors import NotFoundError

    from .editing import read_profile

    if not named.isdecimal():
        return read_profile(Path(named), user=user)
    if named == "0":
        raise NotFoundError(
            f"{user!r} has one version only, so there is nothing to compare it with.",
            remedy="Name a file to compare it with.",
        )
    return opened.load(user, int(named))


def _read(file: Path) -> bytes:
    from hyperalign.errors import InputError

    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{file} could not be read: {why}.", remedy="Check the name of the file.") from error


def _is_profile(data: bytes) -> bool:
    from pydantic_core import from_json

    try:
        content = from_json(data)
    except ValueError:
        return False
    return isinstance(content, dict) and "schema_version" in content


def _print(what: RenderableType) -> None:
    from rich.console import Console

    Console().print(what)


def _print_table(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from .show import plain

    table = Table(*titles, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(plain(str(cell)), justify="right" if isinstance(cell, int) else "left") for cell in row))
    _print(table)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))
