"""``hyperalign fit --all-users``: fit everybody in some files, or in the store; and what a fit is expected to cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import DEFAULT_OPTIONS, ModelOptions
from .terminal import Reporter, echo, print_json, print_rich

if TYPE_CHECKING:
    from hyperalign.backends.batch.people import FitSettings
    from hyperalign.backends.batch.run import PeopleRun, PersonResult
    from hyperalign.budget import Budget, Usage
    from hyperalign.records import Record
    from hyperalign.space import Space
    from hyperalign.store import Store

__all__ = [
    "AllUsers",
    "EngineOption",
    "Everyone",
    "RayAddress",
    "WorkersOption",
    "fit_everyone",
]

AllUsers = Annotated[
    bool,
    typer.Option("--all-users", help="Fit everybody in FILES; without FILES, everybody in the store. Resumable."),
]
EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="With --all-users: run in this process, or on the workers of a Ray cluster."),
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", help="Address of a Ray cluster. Default: start one on this machine."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Ray workers. Default: one for each processor of the cluster.")
]

_ESTIMATED_PEOPLE = 100
_SHOWN_FAILURES = 8
_FAILURE = ("user", "error", "remedy")
_PICKS = re.compile(r"picks (\d+) % of (\d+) ")


@dataclass(frozen=True)
class Everyone:
    """What ``fit --all-users`` was asked: options of ``fit``, and those that choose one person, by their flags."""

    files: Sequence[Path] = ()
    models: ModelOptions = DEFAULT_OPTIONS
    scorer: str | None = None
    encoder: str | None = None
    statements: bool = True
    population: Path | None = None
    space: Path | None = None
    program: Sequence[Path] = ()
    store: str | None = None
    as_format: str | None = None
    columns: str | None = None
    skip_bad: bool = False
    redact: bool | None = None
    seed: int = 0
    engine: str = "local"
    ray_address: str | None = None
    workers: int | None = None
    dry_run: bool = False
    as_json: bool = False
    of_one_person: dict[str, Any] = field(default_factory=dict)


def fit_everyone(asked: Everyone) -> None:
    """Fit everybody who is not fitted yet, and print a table.

    Raises:
        InputError: an option is for one person.
        ModelError: the model can't be used, or too many people in a row failed in the same way.
        Exit: with code 1, if some people failed.
    """
    from hyperalign.backends.batch.run import PeopleRun
    from hyperalign.errors import InputError
    from hyperalign.files import lock_folder
    from hyperalign.space import load_space
    from hyperalign.store import Store

    from .terminal import reporter

    for flag, value in asked.of_one_person.items():
        if value:
            raise InputError(f"{flag} is for one person, and --all-users for everybody.", remedy="Leave one out.")
    dimensions = load_space(asked.space) if asked.space is not None else None
    budget = asked.models.new_budget()
    with Store(asked.store) as opened, reporter(quiet=asked.as_json) as report:
        if asked.dry_run:
            _estimate(asked, opened, dimensions)
            return
        run = PeopleRun(_inputs(asked, opened, dimensions))
        with lock_folder(run.path):
            if run.results:
                echo(f"Going on with the run in {run.path}", err=True)
            fit = _fit_on_ray if asked.engine == "ray" else _fit_here
            users, seconds = fit(asked, run, opened, dimensions, budget, report)
    results = [run.results[user] for user in users if user in run.results]
    failed = [result for result in results if result.state == "failed"]
    _print_results(results, run, seconds, as_json=asked.as_json)
    _print_failures(failed)
    if failed:
        raise typer.Exit(1)


def _fit_here(
    asked: Everyone, run: PeopleRun, store: Store, space: Space | None, budget: Budget, report: Reporter
) -> tuple[list[str], float]:
    """Fit in this process; returns everybody who was to be fitted, and the seconds of fitting."""
    from hyperalign.backends.batch.people import PeopleFitter, fit_in_threads, people_at_once
    from hyperalign.backends.batch.run import add_people, fit_people

    settings, refused = _settings(asked, space, budget, report), list[str]()
    users = run.users
    if users is None:
        skipped: list[str] = []
        read = add_people(store, _read(asked, skipped)) if asked.files else _stored(store)
        users, refused = _keep_read(run, read)
        _say_skipped(skipped)
    settings = _with_population(settings, asked, store)
    side_by_side = people_at_once(settings, len(users))
    with PeopleFitter(settings, budget, report.bytes, side_by_side) as fitter:
        seconds = fit_people(run, users, fit_in_threads(fitter, side_by_side), progress=report)
    return [*users, *refused], seconds


def _fit_on_ray(
    asked: Everyone, run: PeopleRun, store: Store, space: Space | None, budget: Budget, report: Reporter
) -> tuple[list[str], float]:
    """The same on a Ray cluster."""
    from hyperalign.backends.batch.people import people_at_once
    from hyperalign.backends.batch.ray_engine import fit_with_ray, open_cluster, read_with_ray
    from hyperalign.backends.batch.run import fit_people

    settings, refused = _settings(asked, space, budget, report), list[str]()
    with open_cluster(asked.ray_address, asked.workers) as cluster:
        users = run.users
        if users is None:
            read = partial(_read_file, asked)
            found = read_with_ray(cluster, asked.files, read, asked.store) if asked.files else _stored(store)
            users, refused = _keep_read(run, found)
        settings = _with_population(settings, asked, store)
        side_by_side = max(cluster.workers, people_at_once(settings, len(users)))
        seconds = fit_people(run, users, fit_with_ray(cluster, settings, side_by_side, budget), progress=report)
    return [*users, *refused], seconds


def _inputs(asked: Everyone, store: Store, space: Space | None) -> dict[str, Any]:
    """What identifies the run: files by name, size and time, the store, and what decides the fits."""
    files = []
    for path in _each_file(asked.files):
        found = path.stat() if path.exists() else None
        files.append([str(path.absolute()), *((found.st_size, found.st_mtime_ns) if found else ())])
    return {
        "files": files,
        "store": store.name,
        **asked.models.identity(),
        "scorer": asked.scorer,
        "encoder": asked.encoder,
        "statements": asked.statements,
        "population": str(asked.population) if asked.population else None,
        "space": space.fingerprint if space is not None else None,
        "program": [str(folder) for folder in asked.program],
        "redact": asked.redact,
        "seed": asked.seed,
    }


def _each_file(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
        else:
            yield path


def _settings(asked: Everyone, space: Space | None, budget: Budget, report: Reporter) -> FitSettings:
    """What decides the fits; the model and the encoder are checked before anything is read."""
    from hyperalign.backends.batch.people import FitSettings
    from hyperalign.backends.models.encoders import DEFAULT_ENCODER, NO_ENCODER
    from hyperalign.programs.personalizer import Personalizer

    from .session import choose_encoder, open_models, use_programs

    scorer: str | None = None
    if asked.statements:
        judge = open_models(asked.models, asked.scorer, budget, report)[1]
        scorer = None if judge is None else asked.scorer or asked.models.model
        person = Personalizer()
        use_programs({"infer": person.infer, "extract": person.extract, "choice": person.choice}, asked.program)
    encoder = choose_encoder(asked.encoder, budget, report)
    if encoder is not None:
        encoder.close()  # type: ignore[attr-defined]  # what is opened by name can be closed
    return FitSettings(
        store=asked.store,
        model=asked.models.arguments(),
        identity=asked.models.identity(),
        scorer=scorer,
        encoder=NO_ENCODER if encoder is None else asked.encoder or DEFAULT_ENCODER,
        statements=asked.statements,
        space=space,
        programs=tuple(asked.program),
        seed=asked.seed,
    )


def _with_population(settings: FitSettings, asked: Everyone, store: Store) -> FitSettings:
    """The settings with one reference population for all, a sample of everybody."""
    from dataclasses import replace

    from .session import choose_population

    others = choose_population(asked.population, "", store, redact=asked.redact)
    return replace(settings, others=tuple(others.records("")), population=others.name)


def _read(asked: Everyone, skipped: list[str]) -> Iterator[tuple[str, list[Record]]]:
    """Everybody in the files, redacted; one file is in memory at a time, and somebody who is in two comes twice."""
    for file in asked.files:
        yield from _read_file(asked, str(file), skipped)


def _read_file(asked: Everyone, file: str, skipped: list[str] | None = None) -> Iterator[tuple[str, list[Record]]]:
    from hyperalign.ingest import read_everyone

    from .records import parse_columns
    from .session import redact_records

    how: dict[str, Any] = {"format": asked.as_format, "columns": parse_columns(asked.columns), "skipped": skipped}
    for user, records in read_everyone([file], skip_bad=asked.skip_bad, **how):
        yield user, redact_records(records, asked.redact)


def _stored(store: Store) -> Iterator[PersonResult]:
    """Everybody who has records in the store."""
    from hyperalign.backends.batch.run import PersonResult

    return (PersonResult(person.user, records=person.records) for person in store.users() if person.records)


def _keep_read(run: PeopleRun, found: Iterable[PersonResult]) -> tuple[list[str], list[str]]:
    """Note who was read into the store.

    Returns:
        Who is to be fitted, and whom the store refused; these are read again by the next run.
    """
    from hyperalign.errors import NotFoundError

    users, refused = dict[str, None](), dict[str, None]()
    for result in found:
        (users if result.state == "done" else refused)[result.user] = None
        if result.state == "failed":
            run.add(result)
    if not users and not refused:
        raise NotFoundError("There is nobody to fit.", remedy="Name files with records, or a store that has some.")
    if not refused:
        run.keep_users(users)
    return [*users], [user for user in refused if user not in users]


def _say_skipped(skipped: Sequence[str]) -> None:
    from hyperalign.text import plain

    for problem in skipped[:_SHOWN_FAILURES]:
        echo(f"Passed over: {plain(problem)}", err=True)
    if len(skipped) > _SHOWN_FAILURES:
        echo(f"Passed over {len(skipped) - _SHOWN_FAILURES:,} more: see hyperalign records check.", err=True)


def _print_results(results: Sequence[PersonResult], run: PeopleRun, seconds: float, *, as_json: bool) -> None:
    from hyperalign.budget import Usage

    from .terminal import make_table

    groups = {
        "fitted": [each for each in results if each.state == "done" and each.is_new],
        "fitted before": [each for each in results if each.state == "done" and not each.is_new],
        "failed": [each for each in results if each.state == "failed"],
    }
    if as_json:
        done = [each for each in results if each.state == "done"]
        picks, count = _held_out(done)
        print_json(
            {
                "people": len(results),
                **{name.replace(" ", "_"): len(group) for name, group in groups.items()},
                "kept": sum(each.kept for each in done),
                "held_out": {"picks": picks, "count": count},
                "usage": sum((each.usage for each in results), Usage()).as_json(),
                "seconds": round(seconds, 1),
                "run": str(run.path),
                "failures": [{name: getattr(each, name) for name in _FAILURE} for each in groups["failed"]],
            }
        )
        return
    table = make_table("", numbers=("people", "kept", "picks held out", "calls", "tokens", "money"))
    for name, group in (*groups.items(), ("all", results)):
        if group:
            spent = sum((each.usage for each in group), Usage())
            picks, count = _held_out(group)
            table.add_row(
                name,
                f"{len(group):,}",
                f"{sum(each.kept for each in group) / len(group):.1f}",
                f"{picks:.0%} of {count:,}" if picks is not None else "-",
                f"{spent.calls:,}",
                f"{spent.tokens:,}",
                spent.money(briefly=True),
                style="bold" if name == "all" else None,
            )
    print_rich(table)
    echo(f"\nEach person is a line of {run.path / 'people.jsonl'}; 'kept' is statements a person.")


def _held_out(results: Iterable[PersonResult]) -> tuple[float | None, int]:
    """The share of held-out choices, texts and corrections that people's rewards pick, and how many these are."""
    found = [(int(share), int(count)) for each in results for share, count in _PICKS.findall(each.predicts)]
    count = sum(each for _, each in found)
    return (sum(share * each for share, each in found) / count / 100 if count else None), count


def _print_failures(failed: Sequence[PersonResult]) -> None:
    from hyperalign.text import plain

    by_error: dict[tuple[str, str], list[str]] = {}
    for each in failed:
        by_error.setdefault((each.error.replace(each.user, "…"), each.remedy), []).append(each.user)
    for (error, remedy), users in sorted(by_error.items(), key=lambda found: -len(found[1])):
        shown = ", ".join(users[:_SHOWN_FAILURES]) + (", …" if len(users) > _SHOWN_FAILURES else "")
        echo(f"{len(users):,} failed ({plain(shown)}): {plain(error)} {plain(remedy)}".rstrip(), err=True)
    if failed:
        echo("The same command tries them again; who is done stays done.", err=True)


def _estimate(asked: Everyone, store: Store, space: Space | None) -> None:
    """Print what all people are expected to take, from some of them."""
    from hyperalign.budget import Usage
    from hyperalign.dependence import pass_over
    from hyperalign.population import StorePopulation

    from .session import asks_by_choice, choose_population, expect_fit
    from .terminal import price_steps, print_estimate

    skipped: list[str] = []
    if asked.files:
        everybody = list(_read(asked, skipped))
    else:
        everybody = [(found.user, store.records(found.user)) for found in _stored(store)]
    _say_skipped(skipped)
    some = everybody[:: -(-len(everybody) // _ESTIMATED_PEOPLE) or 1]
    known = choose_population(asked.population, "", store, redact=asked.redact)
    # Whoever is read will be in the store, and so in the population.
    others = StorePopulation(lambda _: [*(each for _, theirs in some for each in theirs), *known.records("")])
    sums: dict[str, Usage] = {}
    for _, records in some if asked.statements else ():
        passed = pass_over(records)
        left = [record for record in records if record.id not in passed]
        if left:
            expected = expect_fit(left, others, asked.models, asked.scorer, space, has_encoder=asked.encoder != "none")[
                0
            ]
            for step, usage in expected.items():
                sums[step] = sums.get(step, Usage()) + usage
    share = len(everybody) / max(1, len(some))
    grown = {
        step: Usage(
            calls=round(usage.calls * share),
            tokens_in=round(usage.tokens_in * share),
            tokens_out=round(usage.tokens_out * share),
        )
        for step, usage in sums.items()
    }
    asks = asks_by_choice(asked.models.model, asked.scorer)
    count = sum(len(records) for _, records in everybody)
    print_estimate(
        price_steps(grown, set(grown) if asks else {"infer"}, asked.models),
        asked.models,
        f"{len(everybody):,} people with {count:,} record(s), estimated from {len(some)} of them. Nothing was done.",
        as_json=asked.as_json,
    )
