"""``hyperalign records``: what a fit would read from files; and how every command reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption, SkipBad, UserOption
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.ingest import Check, FileReport, Reading

__all__ = ["AsOption", "ColumnsOption", "MeOption", "app", "parse_columns", "read_files"]

MeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--me",
        metavar="NAME",
        help="The user's name, address or id in the files: only this author's words are read. Repeatable. Without "
        "--user, the name is the id.",
    ),
]
AsOption = Annotated[
    str | None,
    typer.Option("--as", metavar="FORMAT", help="Read files as this format. Default: told by each file's content."),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="FIELD=COLUMN,…",
        help="Columns of rows that go by other names: user=annotator,prompt=question,chosen=a,rejected=b. A path such "
        "as data.answer.text reaches into nested ones.",
    ),
]

_SHOWN = 8

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="See what files hold before anything is fitted.")


@app.callback()
def _records() -> None:
    """See what files hold before anything is fitted."""


@app.command()
def check(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILES", help="Files of any known format, folders, archives, or - for standard input."),
    ],
    user: UserOption = None,
    me: MeOption = None,
    as_format: AsOption = None,
    columns: ColumnsOption = None,
    skip_bad: SkipBad = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a fit would read: of each file the format, who is in it, whose words are taken and what is passed over.

    Nothing is saved, and no model is asked. It ends with code 3 where a fit would.

    Example: hyperalign records check chat.txt sent.mbox --me mira@example.org
    """
    from hyperalign.ingest import check_files

    from .terminal import print_json

    found = check_files(
        files,
        user=user,
        me=me or [],
        format=as_format,
        columns=parse_columns(columns),
        skip_bad=skip_bad,
    )
    if as_json:
        print_json(_told(found))
    else:
        for file in found.files:
            _print_file(file)
        _print_result(found)
    if found.problem is not None:
        raise found.problem


def read_files(
    files: Sequence[Path],
    *,
    user: str | None,
    me: Sequence[str] | None,
    as_format: str | None,
    columns: str | None,
    skip_bad: bool,
) -> Reading:
    """Read one person's records, and report on standard error what was passed over.

    Args:
        files: the files.
        user: the id to keep the records under.
        me: names, addresses or ids of the person.
        as_format: the name of the format.
        columns: as ``--columns`` has them.
        skip_bad: skip bad lines and files.
    """
    from hyperalign.ingest import read_records
    from hyperalign.text import plain

    reading = read_records(
        files, user=user, me=me or [], format=as_format, columns=parse_columns(columns), skip_bad=skip_bad
    )
    for problem in reading.skipped:
        echo(f"Passed over: {plain(str(problem))}", err=True)
    for message in reading.unmatched:
        echo(plain(message), err=True)
    _say_unread(reading)
    if reading.repeated:
        echo(f"Passed over {reading.repeated} repeated record(s).", err=True)
    if reading.ratings:
        echo(f"{reading.ratings} rating(s) made {reading.rated_pairs} pair(s). Equal ratings make none.", err=True)
    return reading


def _say_unread(reading: Reading) -> None:
    """What of the files is nobody's text, or was found in a folder and is of no known format."""
    from hyperalign.text import plain

    unread = [file for file in reading.files if not file.format and not file.problem]
    for file in unread[:_SHOWN]:
        echo(f"Passed over {plain(file.name)}: {plain(', '.join(file.passed_over))}.", err=True)
    if len(unread) > _SHOWN:
        echo(f"Passed over {len(unread) - _SHOWN} more file(s): see hyperalign records check.", err=True)
    reasons: dict[str, int] = {}
    for file in reading.files:
        for reason, count in file.passed_over.items() if file.format else ():
            reasons[reason] = reasons.get(reason, 0) + count
    if reasons:
        counted = ", ".join(f"{count:,} {plain(reason)}" for reason, count in reasons.items())
        echo(f"Passed over in the files: {counted}.", err=True)


def parse_columns(text: str | None) -> dict[str, str]:
    """The columns by field of ``--columns``, such as ``user=annotator,prompt=question``.

    Raises:
        InputError: it is of another form, or a field is none.
    """
    from hyperalign.errors import InputError

    fields = ("user", "text", "prompt", "chosen", "rejected", "draft", "edited", "rating", "time", "id")
    found: dict[str, str] = {}
    for part in (text or "").split(","):
        if not part.strip():
            continue
        field, sign, column = (each.strip() for each in part.partition("="))
        if not sign or field not in fields:
            raise InputError(
                f"--columns has {part.strip()!r}.",
                remedy=f"Write FIELD=COLUMN, as in user=annotator,text=answer. Fields: {', '.join(fields)}.",
            )
        found[field] = column
    return found


def _print_file(file: FileReport) -> None:
    from hyperalign.ingest.whose import count_kinds
    from hyperalign.text import plain

    echo(f"{plain(file.name)}: {file.format or 'not read'}")
    people = sorted(file.authors.items(), key=lambda each: (-sum(each[1].values()), each[0]))
    shown = [f"{plain(name) or 'does not say who'} ({count_kinds(kinds)})" for name, kinds in people[:_SHOWN]]
    if len(people) > _SHOWN:
        shown.append(f"{len(people) - _SHOWN} more")
    lines = {
        "in it": ", ".join(shown),
        "taken": _taken(file),
        "passed over": ", ".join(f"{count:,} {plain(reason)}" for reason, count in file.passed_over.items())
        if file.format
        else plain(", ".join(file.passed_over)),
        "problem": plain(file.problem),
    }
    for title, line in lines.items():
        if line:
            echo(f"  {title:<11}  {line}")


def _taken(file: FileReport) -> str:
    from hyperalign.ingest.whose import count_kinds
    from hyperalign.text import plain

    if not file.authors:
        return ""
    whose = f" of {plain(', '.join(file.chosen))}" if file.chosen else ""
    return f"{count_kinds(file.taken)}{whose}" if any(file.taken.values()) else "nothing"


def _print_result(found: Check) -> None:
    from hyperalign.dependence import pass_over
    from hyperalign.text import plain

    from .terminal import report_passed_over

    if found.reading is None:
        return
    reading = found.reading
    for message in (*reading.skipped, *reading.unmatched):
        echo(plain(message), err=True)
    repeated = f", {reading.repeated} repeated" if reading.repeated else ""
    rated = f", {reading.rated_pairs} made of {reading.ratings} ratings" if reading.ratings else ""
    echo(f"A fit reads {len(reading.records):,} record(s) of {plain(reading.records[0].user)}{rated}{repeated}.")
    report_passed_over(pass_over(reading.records))


def _told(found: Check) -> dict[str, Any]:
    reading = found.reading
    return {
        "user": reading.records[0].user if reading else None,
        "records": len(reading.records) if reading else 0,
        "repeated": reading.repeated if reading else 0,
        "ratings": reading.ratings if reading else 0,
        "rated_pairs": reading.rated_pairs if reading else 0,
        "files": [
            {
                "name": file.name,
                "format": file.format,
                "authors": {name: dict(kinds) for name, kinds in file.authors.items()},
                "chosen": list(file.chosen),
                "taken": dict(file.taken),
                "passed_over": dict(file.passed_over),
                "problem": file.problem,
            }
            for file in found.files
        ],
        "problem": str(found.problem) if found.problem is not None else None,
    }
