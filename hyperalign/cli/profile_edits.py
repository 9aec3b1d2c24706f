"""``hyperalign profile set``, ``flip`` and ``forget``: what people decide about their own profile.

This file only wires commands: ``hyperalign.edits`` decides, ``hyperalign.store`` keeps.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, StoreOption

if TYPE_CHECKING:
    from hyperalign.store import Store

__all__ = ["TRACES_LEFT", "UserArgument", "flip", "forget", "set_"]

TRACES_LEFT = (
    "Another process holds the store open, so traces may be left in its files. "
    "Run the same command again when it is done."
)

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Whose profile.")]


def set_(
    user: UserArgument,
    leanings: Annotated[
        list[str], typer.Argument(metavar="DIMENSION=P...", help="How probable the high pole is, such as warm=0.9.")
    ],
    store: StoreOption = None,
) -> None:
    """Say how a person leans, whatever their records say; 0.5 takes a dimension out.

    Both stay when they are fitted again. 'hyperalign profile show' has what leans.
    """
    from hyperalign.edits import set_leaning
    from hyperalign.store import Store

    with Store(store) as opened:
        profile = opened.load(user)
        for name, probability in map(_leaning, leanings):
            profile = set_leaning(profile, name, probability)
        number = opened.save(profile, note=f"set {', '.join(leanings)}")
    typer.echo(f"Saved as version {number} of {user}.")


def flip(
    user: UserArgument,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Dimensions, or ids of kept hypotheses.")],
    store: StoreOption = None,
) -> None:
    """Turn leanings of a person around: what they preferred they now avoid."""
    from hyperalign.edits import flip as flipped
    from hyperalign.store import Store

    with Store(store) as opened:
        profile = opened.load(user)
        for name in names:
            profile = flipped(profile, name)
        number = opened.save(profile, note=f"flipped {', '.join(names)}")
    typer.echo(f"Saved as version {number} of {user}.")


def forget(
    user: UserArgument,
    name: Annotated[str, typer.Argument(metavar="ID", help="Of a record, a hypothesis, or a dimension.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a record or a hypothesis: in every version, with all that rests on it alone, and the runs that read it.

    A hypothesis that was forgotten is not found again.
    """
    from hyperalign.edits import forget_hypothesis, forget_record
    from hyperalign.errors import NotFoundError
    from hyperalign.runs import evals_with, remove_runs
    from hyperalign.store import Store

    from .show import counted

    with Store(store) as opened:
        records = opened.records(user)
        found = next((record for record in records if record.id == name), None)
        rest = [record for record in records if record.id != name]
        if not yes:
            typer.confirm(
                f"Forget {'the record' if found else 'the hypothesis'} {name} for good?", abort=True, err=True
            )
        before = _said(opened, user)
        runs = remove_runs(user, record=name) if found else 0
        amended = opened.amend(
            user,
            lambda profile: forget_record(profile, found, rest) if found else forget_hypothesis(profile, name),
            record=name if found else None,
        )
        if amended.versions and not found:
            _keep_silent(opened, user, name)
        gone = before - _said(opened, user)
    if not found and not amended.versions:
        raise NotFoundError(
            f"{user} has no record and no hypothesis {name!r}.", remedy=f"See: hyperalign profile show {user} --all"
        )
    if as_json:
        told = {"record": bool(found), "versions": amended.versions, "runs": runs, "hypotheses": sorted(gone)}
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        what = "the record" if found else "the hypothesis"
        where = counted(len(amended.versions), "version", "versions")
        typer.echo(f"Forgot {what} in {where}, and {counted(runs, 'run', 'runs')} that read it.")
        for statement in sorted(gone):
            typer.echo(f"  gone: {statement}")
    if found:
        for folder in evals_with(user):
            typer.echo(f"An eval of several people may hold it too; delete it by hand: {folder}", err=True)
    if amended.traces_left:
        typer.echo(TRACES_LEFT, err=True)


def _keep_silent(opened: Store, user: str, name: str) -> None:
    """Where earlier versions alone said it, the newest one has to know, since that is what fits go on from."""
    from hyperalign.edits import silence
    from hyperalign.profile import SPACE_ID

    newest = opened.load(user)
    ids = {each for number in opened.history(user) for each in opened.load(user, number.number).silenced}
    missing = [each for each in (name, f"{SPACE_ID}{name}") if each in ids and each not in newest.silenced]
    if missing:
        opened.save(silence(newest, missing).touched(), note="took a hypothesis out")


def _leaning(text: str) -> tuple[str, float]:
    """A dimension and a probability, from ``warm=0.9``."""
    from hyperalign.errors import InputError

    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError as error:
        raise InputError(f"{text!r} does not say how a dimension leans.", remedy="Write it as: warm=0.9") from error


def _said(opened: Store, user: str) -> set[str]:
    """The statements of all versions."""
    from hyperalign.errors import NotFoundError

    try:
        numbers = [version.number for version in opened.history(user)]
    except NotFoundError:
        return set()
    profiles = [opened.load(user, number) for number in numbers]
    return {each.statement for profile in profiles for each in [*profile.hypotheses, *profile.dropped]}
