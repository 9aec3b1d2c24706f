"""``hyperalign update``: new records added to what is known of somebody, without reading the old ones again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    DEFAULT_OPTIONS,
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ModelOptions,
    PopulationOption,
    RedactOption,
    ScorerOption,
    SeedOption,
    SkipBad,
    SpaceOption,
    StoreOption,
    WhoseOption,
    model_options,
)

if TYPE_CHECKING:
    from hyperalign.budget import Budget
    from hyperalign.profile import Profile
    from hyperalign.programs.personalizer import Personalizer
    from hyperalign.programs.update import Updated
    from hyperalign.records import Record
    from hyperalign.store import Store

__all__ = ["update"]

_STREAM = "standard input"


@model_options()
def update(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILES]...", help="New records; - takes JSONL from standard input, line by line."),
    ] = None,
    user: WhoseOption = None,
    half_life: Annotated[
        float | None,
        typer.Option(
            "--half-life", min=0.1, help="Older evidence counts half every so many newer records; 10 if left out."
        ),
    ] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Read all records of the store again first.")] = False,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    population: PopulationOption = None,
    space: SpaceOption = None,
    store: StoreOption = None,
    skip_bad: SkipBad = False,
    redact: RedactOption = None,
    seed: SeedOption = 0,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    as_json: JsonOption = False,
) -> None:
    """Add new records to what is known of a person; only they are read.

    Records that were added to the store before and not read yet are read first, so that an update that was stopped goes
    on. Without files those alone are read. A version is saved where statements came or went, and at the end.
    """
    from hyperalign.budget import Budget
    from hyperalign.errors import InputError
    from hyperalign.programs.update import HALF_LIFE
    from hyperalign.store import Store

    from .fit import without_private

    budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
    life = HALF_LIFE if half_life is None else half_life
    asked = _Asked(models, scorer, population, space, redact, seed, life, as_json)
    going: _Updating | None = None
    with Store(store) as opened:
        for read in _batches(files or [], user, skip_bad):
            batch = without_private(read, redact)
            whose = batch[0].user if batch else _named(user)
            if not _added(opened, batch, skip_bad):
                continue
            if going is None:
                going = _Updating(opened, whose, budget, asked, refit=refit)
            try:
                going.go_on()
            except BaseException:
                going.keep()
                raise
        if going is None:
            raise InputError("Standard input has no record.", remedy="Give one JSON object a line.")
        going.finish()


@dataclass(frozen=True)
class _Asked:
    """What was asked on the command line; the options under their names."""

    models: ModelOptions
    scorer: str | None
    population: Path | None
    space: Path | None
    redact: bool | None
    seed: int
    half_life: float
    as_json: bool


class _Updating:
    """One call of the verb: the person, what is remembered of them, and the folder of the run."""

    def __init__(self, opened: Store, user: str, budget: Budget, asked: _Asked, *, refit: bool) -> None:
        from hyperalign.errors import NotFoundError
        from hyperalign.programs.fit_result import Memory

        if not opened.records(user):
            raise NotFoundError(
                f"The store has no records of {user!r}.",
                remedy="Name files, or check the name: hyperalign profile list",
            )
        self._store = opened
        self._user = user
        self._budget = budget
        self._asked = asked
        self._read: list[str] = []
        self._quotable: dict[str, None] = {}
        self._version = 0
        self._person: Personalizer | None = None
        kept = None if refit else opened.memory(user)
        self._memory = Memory.from_json(kept, where=f"what is remembered of {user}") if kept is not None else None
        # As it stands in the store: what somebody else writes meanwhile must not be overwritten.
        self._kept = opened.memory(user)
        self._unsaved: Profile | None = None

    def _started(self, todo: Sequence[Record]) -> Personalizer:
        """Connect to the model, when there is something to read."""
        from hyperalign.programs.personalizer import Personalizer
        from hyperalign.runs import RunFolder
        from hyperalign.space import load_space

        from .session import choose_population, open_models
        from .terminal import reporter

        asked = self._asked
        dimensions = load_space(asked.space) if asked.space is not None else None
        self._run = RunFolder("update", self._user, self._inputs([record.id for record in todo]))
        with reporter(quiet=asked.as_json) as report:
            lm, judge = open_models(asked.models, asked.scorer, self._budget, report, self._run.journal)
            return Personalizer(
                lm,
                scorer=judge,
                # Of any kind: a stream's next record may be of another than its first.
                population=choose_population(asked.population, self._user, self._store, redact=asked.redact),
                space=dimensions,
                half_life=asked.half_life,
                budget=self._budget,
                seed=asked.seed,
            )

    def _inputs(self, records: Sequence[str]) -> dict[str, Any]:
        asked = self._asked
        decides = {name: value for name, value in vars(asked).items() if name not in ("as_json", "models")}
        return {**asked.models.identity(), **decides, "records": list(records)}

    def go_on(self) -> None:
        """Read what is new in the store."""
        from hyperalign.programs.update import update as updated

        todo = self._todo()
        if not todo:
            return
        self._person = self._person or self._started(todo)
        self._read += [record.id for record in todo]
        remembered = self._memory.texts if self._memory is not None else []
        self._quotable |= dict.fromkeys([*(record.id for record in todo), *remembered])
        # Before anything is asked: to forget a record is to find the runs that may quote it.
        inputs = self._inputs(list(self._quotable))
        self._run.write("run.json", _json({"verb": "update", "user": self._user, **inputs}))
        with self._budget.tally() as spent:
            found = updated(self._person, self._memory, todo)
        self._keep(found)
        self._show(found, spent().tokens_in + spent().tokens_out)

    def _todo(self) -> list[Record]:
        known = self._memory.known if self._memory is not None else set()
        return [record for record in self._store.records(self._user) if record.id not in known]

    def _keep(self, found: Updated) -> None:
        """A version where statements came or went; else it waits for the end: a stream must not make one a line."""
        new = self._memory is None
        self._memory, self._unsaved = found.memory, found.profile if found.memory.parts else None
        if self._unsaved is not None and (new or found.came or found.gone):
            self._save()
        else:
            text = found.memory.to_json()
            self._store.keep_memory(self._user, text, instead_of=self._kept)
            self._kept = text

    def _save(self) -> None:
        from .fit import with_stated

        if self._unsaved is None or self._memory is None:
            return
        text, profile = self._memory.to_json(), with_stated(self._store, self._unsaved)
        note = f"{len(self._read)} new record(s)"
        self._version = self._store.remember(profile, text, note, instead_of=self._kept)
        self._kept, self._unsaved = text, None

    def _show(self, found: Updated, tokens: int) -> None:
        from hyperalign.files import append_line

        from .show import plain
        from .terminal import say_undecided

        told = {
            "taught": list(found.taught),
            "skipped": dict(found.skipped),
            "came": list(found.came),
            "gone": list(found.gone),
            "contradictions": [{"record": each.record, "statement": each.statement} for each in found.contradictions],
            "waiting": len(found.memory.waiting),
            "tokens": tokens,
            "questions": {"asked": found.asked, "undecided": found.undecided},
        }
        append_line(self._run.path / "updates.jsonl", _json(told, indent=None))
        if self._asked.as_json:
            typer.echo(_json(told, indent=None))
            return
        typer.echo(f"{len(found.taught)} record(s) read, {tokens:,} tokens.")
        say_undecided(found.asked, found.undecided)
        for name, reason in found.skipped.items():
            typer.echo(f"  skipped {plain(name)}: {reason}")
        for each in found.contradictions:
            typer.echo(f"  {plain(each.record)} speaks against: {plain(each.statement)}")
        for sign, statements in (("+", found.came), ("-", found.gone)):
            for statement in statements:
                typer.echo(f"  {sign} {plain(statement)}")
        if found.memory.waiting:
            typer.echo(
                f"  {len(found.memory.waiting)} record(s) wait for more: it takes four of a kind to fit anybody."
            )

    def keep(self) -> None:
        """Save what is not saved yet, and what it took."""

        self._save()
        if self._person is not None:
            self._run.write("cost.json", _json({step: usage.as_json() for step, usage in self._budget.by_step.items()}))

    def finish(self) -> None:
        """Save, and say where all of it is."""
        self.keep()
        if self._person is None:
            if self._asked.as_json:
                typer.echo(_json({"taught": []}, indent=None))
            else:
                typer.echo(f"Nothing new of {self._user}.")
            return
        self._run.finish({"records": len(self._read)})
        if not self._asked.as_json:
            saved = f"Saved as version {self._version} of {self._user}" if self._version else "What is believed stays"
            typer.echo(f"{saved}; the run is in {self._run.path}")


def _batches(files: Sequence[Path], user: str | None, skip_bad: bool) -> Iterator[list[Record]]:
    """All of the files at once, or the lines of standard input one by one; nothing new where neither is given."""
    from hyperalign.reading import read_records

    named = [file for file in files if str(file) != "-"]
    if named or not files:
        records = read_records(named, user=user, skip_bad=skip_bad).records if named else []
        user = records[0].user if records else user
        yield records
    if len(named) < len(files):
        yield from _lines(user, skip_bad)


def _added(opened: Store, batch: Sequence[Record], skip_bad: bool) -> bool:
    """Whether new records could be kept; a bad one is passed over where that was asked for."""
    from hyperalign.errors import RecordError

    try:
        opened.add_records(batch)
    except RecordError as error:
        if not skip_bad:
            raise
        typer.echo(f"Passed over: {error}", err=True)
        return False
    return True


def _lines(user: str | None, skip_bad: bool) -> Iterator[list[Record]]:
    import sys

    from hyperalign.errors import RecordError
    from hyperalign.reading import parse_line
    from hyperalign.records import Rating

    whose = user
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            record = parse_line(line, _STREAM, number, whose)
            if isinstance(record, Rating):
                raise RecordError(
                    "a rating alone is no choice.",
                    path=_STREAM,
                    line=number,
                    remedy="Give ratings as a file, where two of one prompt make a pair.",
                )
            if whose is not None and record.user != whose:
                raise RecordError(
                    f"this record is of {record.user!r}, not of {whose!r}.",
                    path=_STREAM,
                    line=number,
                    remedy="Stream one person's records.",
                )
        except RecordError as error:
            if not skip_bad:
                raise
            typer.echo(f"Passed over: {error}", err=True)
            continue
        whose = record.user
        yield [record]


def _named(user: str | None) -> str:
    from hyperalign.errors import InputError
    from hyperalign.records import check_user

    if user is None:
        raise InputError("There is nothing to read.", remedy="Name files, - or --user NAME for what the store has.")
    return check_user(user)


def _json(content: object, indent: int | None = 2) -> str:
    import json

    return json.dumps(content, ensure_ascii=False, indent=indent, default=str)
