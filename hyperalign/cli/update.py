"""``hyperalign update``: add new records to a user's profile without reading the old ones again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    DEFAULT_OPTIONS,
    EncoderOption,
    JsonOption,
    ModelOptions,
    PopulationOption,
    RedactOption,
    ScorerOption,
    SeedOption,
    SkipBad,
    SpaceOption,
    StatementsOption,
    StoreOption,
    UserOption,
    model_options,
)
from .records import AsOption, ColumnsOption, MeOption, parse_columns, read_files
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.ingest import Reading
    from hyperalign.profile import Profile
    from hyperalign.programs.personalizer import Personalizer
    from hyperalign.programs.update import Update
    from hyperalign.records import Record
    from hyperalign.store import Store

__all__ = ["update"]

_STREAM = "standard input"


@model_options()
def update(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES", help="Files with new records, or - for JSONL on standard input, read line by line."
        ),
    ] = None,
    user: UserOption = None,
    me: MeOption = None,
    as_format: AsOption = None,
    columns: ColumnsOption = None,
    half_life: Annotated[
        float | None,
        typer.Option(
            "--half-life",
            min=0.1,
            help="Halve the weight of evidence every this many newer records. Default: 10 for statements; in the "
            "reward, all records count alike.",
        ),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="First read all records of the store again, as 'fit' does.")
    ] = False,
    encoder: EncoderOption = None,
    statements: StatementsOption = True,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    population: PopulationOption = None,
    space: SpaceOption = None,
    store: StoreOption = None,
    skip_bad: SkipBad = False,
    redact: RedactOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Add new records to a user's profile. Records that were read before are not read again.

    Without FILES, it reads the records that the store has and no fit or update has read, so the same command resumes an
    interrupted update. It saves a version when statements come or go, and at the end.

    Example: tail -f choices.jsonl | hyperalign update - --user ada
    """
    from hyperalign.errors import InputError
    from hyperalign.runs import lock_person
    from hyperalign.store import Store

    from .session import redact_records, say_waiting

    read = partial(read_files, user=user, me=me, as_format=as_format, columns=columns, skip_bad=skip_bad)
    settings = _Settings(models, scorer, population, space, redact, seed, half_life, encoder, statements, as_json)
    going: _Update | None = None
    with Store(store) as opened:
        for records in _batches(files or [], user, read, columns, skip_bad):
            batch = redact_records(records, redact)
            whose = batch[0].user if batch else _required(user)
            if not _add(opened, batch, skip_bad):
                continue
            with lock_person(whose, waits=partial(say_waiting, whose)):
                if going is None:
                    going = _Update(opened, whose, settings, refit=refit)
                going.reread()
                try:
                    going.read_new()
                except BaseException:
                    going.save()
                    raise
        if going is None:
            raise InputError("Standard input has no record.", remedy="Give one JSON object a line.")
        with lock_person(going.user, waits=partial(say_waiting, going.user)):
            going.reread()
            going.finish()


@dataclass(frozen=True)
class _Settings:
    """The options of the command, by name."""

    models: ModelOptions
    scorer: str | None
    population: Path | None
    space: Path | None
    redact: bool | None
    seed: int
    half_life: float | None
    encoder: str | None
    statements: bool
    as_json: bool


class _Update:
    """One run of the command: the user, the memory of earlier fits, and the run's folder."""

    def __init__(self, store: Store, user: str, settings: _Settings, *, refit: bool) -> None:
        from hyperalign.errors import NotFoundError
        from hyperalign.programs.fit_result import Memory

        if not store.records(user):
            raise NotFoundError(
                f"The store has no records of {user!r}.",
                remedy="Name files, or check the name: hyperalign profile list",
            )
        self._store = store
        self._user = user
        self._settings = settings
        self._budget = settings.models.new_budget()
        self._read: list[str] = []
        self._quotable: dict[str, None] = {}
        self._version = 0
        self._person: Personalizer | None = None
        # As it stands in the store: what another command writes meanwhile must not be overwritten.
        self._stored = store.memory(user)
        kept = None if refit else self._stored
        self._memory = Memory.from_json(kept, where=f"what is remembered of {user}") if kept is not None else None
        self._unsaved: Profile | None = None
        self._cost = ExitStack()

    @property
    def user(self) -> str:
        """The person."""
        return self._user

    def reread(self) -> None:
        """Take over what another command has remembered meanwhile; it knows what this one had remembered."""
        from hyperalign.programs.fit_result import Memory

        stored = self._store.memory(self._user)
        if stored == self._stored:
            return
        self._stored, self._unsaved = stored, None
        where = f"what is remembered of {self._user}"
        self._memory = Memory.from_json(stored, where=where) if stored is not None else None

    def read_new(self) -> None:
        """Read the records that are new in the store."""
        known = set[str]()
        if self._memory is not None:
            known = self._memory.known if self._settings.statements else self._memory.learned
        todo = [record for record in self._store.records(self._user) if record.id not in known]
        if not todo:
            return
        self._person = self._person or self._connect(todo)
        self._read += [record.id for record in todo]
        remembered = self._memory.texts if self._memory is not None else []
        self._quotable |= dict.fromkeys([*(record.id for record in todo), *remembered])
        # Written before the model is asked: ``profile forget`` removes the runs that may quote a record.
        self._write_json("run.json", {"verb": "update", "user": self._user, **self._inputs(list(self._quotable))})
        with self._budget.tally() as spent:
            found = self._person.update(todo, self._memory)
        self._keep(found)
        self._print(found, spent().tokens)

    def save(self) -> None:
        """Save what is not saved yet, and the cost."""
        if self._unsaved is not None:
            self._save_version(self._unsaved)
        self._cost.close()

    def finish(self) -> None:
        """Save, and print where."""
        from .terminal import json_text

        self.save()
        if self._person is None:
            echo(json_text({"taught": []}, indent=None) if self._settings.as_json else f"Nothing new of {self._user}.")
            return
        self._run.finish({"records": len(self._read)})
        if not self._settings.as_json:
            saved = f"Saved as version {self._version} of {self._user}" if self._version else "The profile is unchanged"
            echo(f"{saved}; the run is in {self._run.path}")

    def _connect(self, todo: Sequence[Record]) -> Personalizer:
        from hyperalign.backends.models.encoders import open_population, reopen_encoder
        from hyperalign.programs.personalizer import Personalizer
        from hyperalign.programs.reward import find_population
        from hyperalign.programs.update import HALF_LIFE
        from hyperalign.runs import RunFolder, track_cost
        from hyperalign.space import load_space

        from .session import choose_encoder, choose_population, open_models
        from .terminal import reporter

        settings = self._settings
        dimensions = load_space(settings.space) if settings.space is not None else None
        self._run = RunFolder("update", self._user, self._inputs([record.id for record in todo]))
        self._cost.enter_context(track_cost(self._run.path, self._budget))
        with reporter(quiet=settings.as_json) as report:
            lm = judge = None
            if settings.statements:
                lm, judge = open_models(settings.models, settings.scorer, self._budget, report, self._run.journal)
            reward = self._memory.reward if self._memory is not None else None
            if reward is None or settings.encoder == "none":
                embeds = choose_encoder(settings.encoder, self._budget, report)
            else:
                embeds = reopen_encoder(reward, encoder=settings.encoder, budget=self._budget, progress=report.bytes)
            prior = open_population(embeds) if reward is None else find_population(reward.population)
            return Personalizer(
                lm,
                scorer=judge,
                # Of any kind: the next record of a stream may be of another kind than the first.
                population=choose_population(settings.population, self._user, self._store, redact=settings.redact),
                space=dimensions,
                half_life=settings.half_life or HALF_LIFE,
                encoder=embeds,
                reward_population=prior,
                reward_half_life=settings.half_life,
                statements=settings.statements,
                budget=self._budget,
                seed=settings.seed,
            )

    def _inputs(self, records: Sequence[str]) -> dict[str, Any]:
        given = {name: value for name, value in vars(self._settings).items() if name not in ("as_json", "models")}
        return {**self._settings.models.identity(), **given, "records": list(records)}

    def _write_json(self, name: str, content: Any) -> None:
        from .terminal import json_text

        self._run.write(name, json_text(content))

    def _keep(self, found: Update) -> None:
        """Save a version if statements came or went. Else it waits: a stream must not make a version per line."""
        is_new = self._memory is None
        self._memory, self._unsaved = found.memory, found.profile
        if self._unsaved is not None and (is_new or found.gained or found.lost):
            self._save_version(self._unsaved)
        else:
            text = found.memory.to_json()
            self._store.keep_memory(self._user, text, instead_of=self._stored)
            self._stored = text

    def _save_version(self, unsaved: Profile) -> None:
        from .session import keep_stated

        if self._memory is None:
            return
        text, profile = self._memory.to_json(), keep_stated(self._store, unsaved)
        note = f"{len(self._read)} new record(s)"
        self._version = self._store.remember(profile, text, note, instead_of=self._stored)
        self._stored, self._unsaved = text, None

    def _print(self, found: Update, tokens: int) -> None:
        from hyperalign.files import append_line
        from hyperalign.text import plain

        from .terminal import json_text, report_undecided

        told = {
            "taught": list(found.added),
            "skipped": dict(found.skipped),
            "came": list(found.gained),
            "gone": list(found.lost),
            "contradictions": [{"record": each.record, "statement": each.statement} for each in found.contradictions],
            "waiting": len(found.memory.waiting),
            "tokens": tokens,
            "questions": {"asked": found.asked, "undecided": found.undecided},
        }
        line = json_text(told, indent=None)
        append_line(self._run.path / "updates.jsonl", line)
        if self._settings.as_json:
            echo(line)
            return
        echo(f"{len(found.added)} record(s) read, {tokens:,} tokens.")
        report_undecided(found.asked, found.undecided)
        for name, reason in found.skipped.items():
            echo(f"  skipped {plain(name)}: {reason}")
        for each in found.contradictions:
            echo(f"  {plain(each.record)} speaks against: {plain(each.statement)}")
        for sign, statements in (("+", found.gained), ("-", found.lost)):
            for statement in statements:
                echo(f"  {sign} {plain(statement)}")
        if found.memory.waiting:
            echo(f"  {len(found.memory.waiting)} record(s) wait for more: a fit needs four of a kind.")


def _batches(
    files: Sequence[Path], user: str | None, read: Callable[..., Reading], columns: str | None, skip_bad: bool
) -> Iterator[list[Record]]:
    """The records of all files at once, then those of standard input one by one. One empty batch without files."""
    named = [file for file in files if str(file) != "-"]
    if named or not files:
        records = read(named).records if named else []
        user = records[0].user if records else user
        yield records
    if len(named) < len(files):
        yield from _stream(user, parse_columns(columns), skip_bad)


def _add(store: Store, batch: Sequence[Record], skip_bad: bool) -> bool:
    """Add records to the store; False if one is invalid and skipped."""
    from hyperalign.errors import RecordError

    try:
        store.add_records(batch)
    except RecordError as error:
        if not skip_bad:
            raise
        echo(f"Passed over: {error}", err=True)
        return False
    return True


def _stream(user: str | None, columns: Mapping[str, str], skip_bad: bool) -> Iterator[list[Record]]:
    import sys

    from hyperalign.errors import RecordError

    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        try:
            record = _parse(line, number, user, columns)
        except RecordError as error:
            if not skip_bad:
                raise
            echo(f"Passed over: {error}", err=True)
            continue
        user = record.user
        yield [record]


def _parse(line: str, number: int, user: str | None, columns: Mapping[str, str]) -> Record:
    from hyperalign.errors import RecordError
    from hyperalign.ingest import Columns, parse_line
    from hyperalign.records import Rating

    record = parse_line(line, _STREAM, number, user, Columns(columns))
    if isinstance(record, Rating):
        raise RecordError(
            "a rating alone is no choice.",
            path=_STREAM,
            line=number,
            remedy="Give ratings as a file, where two of one prompt make a pair.",
        )
    if user is not None and record.user != user:
        raise RecordError(
            f"this record is of {record.user!r}, not of {user!r}.",
            path=_STREAM,
            line=number,
            remedy="Stream one person's records.",
        )
    return record


def _required(user: str | None) -> str:
    from hyperalign.errors import InputError
    from hyperalign.records import check_user

    if user is None:
        raise InputError("There is nothing to read.", remedy="Name files, - or --user NAME for what the store has.")
    return check_user(user)
