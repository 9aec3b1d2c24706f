"""``hyperalign profile``: show, compare, export, import and delete stored profiles."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption, StoreOption, UserArgument, YesOption
from .profile_edits import TRACES_LEFT, edit, flip, forget, print_cleaned, set_
from .terminal import confirm, echo, print_json_text

if TYPE_CHECKING:
    from hyperalign.profile import Profile
    from hyperalign.store import Store

__all__ = ["app"]

_PAGE = 100

app = typer.Typer(help="Show, edit, compare, export and delete stored profiles.", no_args_is_help=True)


@app.command("list")
def list_users(
    search: Annotated[
        str | None, typer.Option("--search", metavar="TEXT", help="Only users whose name begins so, in any case.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help=f"Most users to list. Default: {_PAGE}; with --json all.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="USER", help="Go on after this user, the last of a page.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the users in the store, in the order of their names.

    Example: hyperalign profile list --search ada
    """
    from .terminal import print_json

    most = limit or (None if as_json else _PAGE)
    with _open(store) as opened:
        # One more than are listed, to see whether there are others.
        people = opened.users(search=search, after=after, limit=None if most is None else most + 1)
    has_more = most is not None and len(people) > most
    people = people[:most]
    if as_json:
        print_json([asdict(person) for person in people])
    elif not people:
        is_all = search is None and after is None
        echo(
            "The store is empty. Fill it with: hyperalign fit FILES --user NAME" if is_all else "There is nobody else."
        )
    else:
        rows = [(person.user, person.records, person.versions) for person in people]
        _print_rows(("User", "Records", "Versions"), rows)
    if has_more:
        echo(
            f"There are more: go on with --after {shlex.quote(people[-1].user)}, or look for one with --search.",
            err=True,
        )


@app.command()
def show(
    user: UserArgument,
    version: Annotated[int | None, typer.Option("--version", min=1, help="Version. Default: the newest.")] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show everything, also what was dropped.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a profile: its hypotheses with gain, evidence and weight, and what was dropped."""
    from .show import render_profile
    from .terminal import print_rich

    with _open(store) as opened:
        profile = opened.load(user, version)
    if as_json:
        print_json_text(profile.to_json())
    else:
        print_rich(render_profile(profile, show_all=show_all))


app.command()(edit)
app.command("set")(set_)
app.command()(flip)
app.command()(forget)


@app.command()
def diff(
    user: UserArgument,
    old: Annotated[str | None, typer.Argument(metavar="A", help="Version or file. Default: the second newest.")] = None,
    new: Annotated[str | None, typer.Argument(metavar="B", help="Version or file. Default: the newest.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changed between two versions, or between a version and a file.

    Example: hyperalign profile diff ada 1 3
    """
    from .show import render_diff
    from .terminal import print_json, print_rich

    with _open(store) as opened:
        newest = opened.history(user)[-1].number
        first, second = _load_side(opened, user, old or str(newest - 1)), _load_side(opened, user, new or str(newest))
    changes = first.diff(second)
    if as_json:
        print_json({"user": user, "changes": changes})
    else:
        print_rich(render_diff(changes))


@app.command()
def history(user: UserArgument, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List the versions of a profile, the oldest first."""
    from .terminal import print_json

    with _open(store) as opened:
        versions = opened.history(user)
    if as_json:
        print_json([{**asdict(version), "time": version.time.isoformat()} for version in versions])
    else:
        rows = [(v.number, f"{v.time.astimezone():%Y-%m-%d %H:%M}", v.kept, v.dropped, v.note) for v in versions]
        _print_rows(("Version", "Saved", "Kept", "Dropped", "Note"), rows)


@app.command()
def export(
    user: UserArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write. Default: standard output.")] = None,
    store: StoreOption = None,
) -> None:
    """Write all records and versions of a user as one JSON file."""
    from hyperalign.files import write_whole

    with _open(store) as opened:
        bundle = opened.export(user)
    if out is None:
        print_json_text(bundle.to_json())
        return
    write_whole(out, bundle.to_json())
    echo(f"{_count(len(bundle.records), len(bundle.versions))} of {user} are in {out}.")


@app.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A file from 'export', or a profile; - for standard input.")
    ],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add an exported user or a profile to the store. What the store already has is skipped."""
    from hyperalign.profile import Profile
    from hyperalign.store import Bundle

    from .terminal import print_json

    data = _read(file)
    with _open(store) as opened:
        if _is_profile(data):
            profile = Profile.from_json(data, where=str(file))
            user, records, versions = profile.user, 0, 1
            opened.save(profile, f"imported from {file.name}")
        else:
            bundle = Bundle.from_json(data, where=str(file))
            user = bundle.user
            records, versions = opened.add_bundle(bundle)
    if as_json:
        print_json({"user": user, "records": records, "versions": versions})
    else:
        echo(f"New: {_count(records, versions)} of {user}.")


@app.command()
def rm(user: UserArgument, yes: YesOption = False, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Delete a user for good: records, all versions, their runs, their text in the database's files and in the caches,
    and what they left in the runs and evals of others.
    """
    from hyperalign.backends.gateway.outcomes import forget_in
    from hyperalign.backends.keeping import OTHERS_COMPARED, without_others
    from hyperalign.backends.models.number_cache import forget_texts
    from hyperalign.edits import Traces, clean_runs
    from hyperalign.runs import remove_runs

    from .show import counted
    from .terminal import print_json

    with _open(store) as opened:
        if not yes and (known := opened.person(user)) is not None:
            what = _count(known.records, known.versions)
            confirm(f"Remove {what} of {user} for good?")
        # Runs first: if they cannot be removed, the same command can be given again.
        runs = remove_runs(user)
        records = opened.records(user, skip_damaged=True)
        cleaned = clean_runs(Traces(user, records, opened.other_records(user, OTHERS_COMPARED)))
        numbers = forget_texts(records)
        forget_in(opened.address, user)
        removed = opened.remove(user, without=without_others(user))
    if as_json:
        cut = {"lines": cleaned.lines, "files": cleaned.files, "cached": numbers}
        print_json({"user": user, **asdict(removed), "runs": runs, **cut})
    else:
        what = _count(removed.records, removed.versions)
        cached = counted(numbers, "cached number", "cached numbers")
        echo(f"Removed {what} of {user}, {counted(runs, 'run', 'runs')}, and {cached} of their texts.")
        print_cleaned(cleaned)
    if removed.traces_left:
        echo(TRACES_LEFT, err=True)


def _open(place: str | None) -> Store:
    from hyperalign.store import Store

    return Store(place)


def _count(records: int, versions: int) -> str:
    from .show import counted

    return f"{counted(records, 'record', 'records')} and {counted(versions, 'version', 'versions')}"


def _load_side(store: Store, user: str, name: str) -> Profile:
    """The version or the file of a comparison."""
    from hyperalign.errors import NotFoundError

    from .session import read_profile

    if not name.isdecimal():
        return read_profile(Path(name), user=user)
    if name == "0":
        raise NotFoundError(
            f"{user!r} has one version only, so there is nothing to compare it with.",
            remedy="Name a file to compare it with.",
        )
    return store.load(user, int(name))


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


def _print_rows(titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from hyperalign.text import plain

    from .terminal import print_rich

    table = Table(*titles, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(plain(str(cell)), justify="right" if isinstance(cell, int) else "left") for cell in row))
    print_rich(table)
