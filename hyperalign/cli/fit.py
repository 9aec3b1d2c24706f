"""``hyperalign fit``: learn a reward and tested statements from a user's records, and save both in the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .fit_all import AllUsers, EngineOption, Everyone, RayAddress, WorkersOption, fit_everyone
from .options import (
    DEFAULT_OPTIONS,
    DryRun,
    EncoderOption,
    JsonOption,
    ModelOptions,
    PopulationOption,
    ProgramOption,
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
from .records import AsOption, ColumnsOption, MeOption, read_files
from .terminal import echo, print_json_text

if TYPE_CHECKING:
    from hyperalign.budget import Budget
    from hyperalign.population import Population
    from hyperalign.profile import Profile
    from hyperalign.programs.personalizer import Fit
    from hyperalign.records import Record
    from hyperalign.runs import RunFolder
    from hyperalign.space import Space
    from hyperalign.store import Store


__all__ = ["fit", "fit_in_folder"]


@model_options()
def fit(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILES", help="Files of any known format, folders, archives, or - for standard input."),
    ] = None,
    user: UserOption = None,
    me: MeOption = None,
    as_format: AsOption = None,
    columns: ColumnsOption = None,
    about: Annotated[
        str | None,
        typer.Option("--about", metavar="TEXT", help="What the user says of themselves. Kept as it is, not tested."),
    ] = None,
    about_file: Annotated[
        Path | None, typer.Option("--about-file", help="The same from a text file, one statement per paragraph.")
    ] = None,
    encoder: EncoderOption = None,
    statements: StatementsOption = True,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    population: PopulationOption = None,
    space: SpaceOption = None,
    program: ProgramOption = None,
    store: StoreOption = None,
    skip_bad: SkipBad = False,
    redact: RedactOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the profile to this file.")] = None,
    vector: Annotated[
        Path | None,
        typer.Option("--vector", help="Also write the preferences to this JSON file, as AlignX's 90 values."),
    ] = None,
    seed: SeedOption = 0,
    all_users: AllUsers = False,
    engine: EngineOption = "local",
    ray_address: RayAddress = None,
    workers: WorkersOption = None,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Learn to predict what a user would choose from what they wrote, chose, corrected or rated, and say it in tested
    statements.

    The reward, which predicts, takes seconds. Statements take a language model. Without FILES, it reads the records
    that the store has of --user. The same command resumes an interrupted run.

    Example: hyperalign fit letters/ choices.jsonl --user ada
    """
    from hyperalign.profile import Profile
    from hyperalign.records import check_user
    from hyperalign.runs import lock_person
    from hyperalign.space import load_space
    from hyperalign.store import Store

    from .session import choose_population, keep_stated, read_about, redact_records, say_waiting

    if all_users:
        of_one = {"--user": user, "--me": me, "--about": about, "--about-file": about_file, "--out": out}
        everyone = Everyone(
            files=files or (),
            models=models,
            scorer=scorer,
            encoder=encoder,
            statements=statements,
            population=population,
            space=space,
            program=program or (),
            store=store,
            as_format=as_format,
            columns=columns,
            skip_bad=skip_bad,
            redact=redact,
            seed=seed,
            engine=engine,
            ray_address=ray_address,
            workers=workers,
            dry_run=dry_run,
            as_json=as_json,
            of_one_person={**of_one, "--vector": vector},
        )
        fit_everyone(everyone)
        return
    began = time.time()
    stated = read_about(about, about_file)
    if user is not None:
        user = check_user(user)
    # A space that cannot be used is found before anything is read or saved.
    dimensions = load_space(space) if space is not None else None
    budget = models.new_budget()
    with Store(store) as opened:
        given: list[Record] = []
        if files:
            reading = read_files(files, user=user, me=me, as_format=as_format, columns=columns, skip_bad=skip_bad)
            given = redact_records(reading.records, redact)
        if given and not dry_run:
            opened.add_records(given)
        user, records = _all_records(opened, given, user, required=not stated)
        others = choose_population(population, user, opened, records, redact=redact)
        if dry_run:
            has_encoder = encoder != "none"
            _print_estimate(
                records,
                others,
                models,
                scorer,
                dimensions,
                statements=statements,
                has_encoder=has_encoder,
                as_json=as_json,
            )
            return
        stated = _redact(stated, redact)
        with lock_person(user, waits=lambda: say_waiting(user)):
            run, version = None, None
            if records:
                fitting = {"encoder": encoder, "statements": statements}
                run = _run_folder(user, records, others, models, scorer, dimensions, program or [], seed, fitting)
                version = run.saved_since(began, opened.name, *stated)
            if run is not None and version is not None:
                echo("Another command has made the same fit meanwhile: it is not made again.", err=True)
                profile = opened.load(user, version)
            else:
                found = None
                if run is not None:
                    found = fit_in_folder(
                        run,
                        records,
                        others,
                        models,
                        scorer,
                        budget,
                        seed=seed,
                        space=dimensions,
                        program=program or [],
                        encoder=encoder,
                        statements=statements,
                        quiet=as_json,
                    )
                profile = keep_stated(opened, found.profile if found else Profile(user=user).touched(), stated)
                version = _save(opened, profile, found, len(records), len(stated))
                if run is not None:
                    run.note_saved(version, opened.name, *stated)
    _write_files(profile, out, vector)
    _print_saved(profile, version, budget, run, as_json=as_json)


def _save(store: Store, profile: Profile, found: Fit | None, records: int, stated: int) -> int:
    sources = {"inferred from {} record(s)": records, "{} statement(s) of their own": stated}
    note = ", ".join(text.format(count) for text, count in sources.items() if count)
    # With the memory of this fit, ``update`` adds records without reading these again.
    return store.remember(profile, found.memory.to_json(), note) if found else store.save(profile, note=note)


def fit_in_folder(
    run: RunFolder,
    records: list[Record],
    others: Population,
    models: ModelOptions,
    scorer: str | None,
    budget: Budget,
    *,
    seed: int = 0,
    space: Space | None = None,
    program: Sequence[Path] = (),
    encoder: str | None = None,
    statements: bool = True,
    quiet: bool = False,
) -> Fit:
    """Fit a profile, and keep every call, candidate and score in the run's folder."""
    from hyperalign.backends.models.encoders import open_population
    from hyperalign.programs.candidates import STATEMENT_RECORDS
    from hyperalign.programs.cost_estimate import describe_sample
    from hyperalign.programs.personalizer import Personalizer
    from hyperalign.runs import track_cost

    from .session import choose_encoder, open_models, use_programs
    from .terminal import json_text, report_passed_over, report_undecided, reporter

    with track_cost(run.path, budget), reporter(quiet=quiet) as report:
        lm, judge = open_models(models, scorer, budget, report, run.journal) if statements else (None, None)
        reads = choose_encoder(encoder, budget, report)
        person = Personalizer(
            lm,
            scorer=judge,
            population=others,
            space=space,
            encoder=reads,
            reward_population=open_population(reads),
            statements=statements,
            budget=budget,
            progress=report,
            seed=seed,
        )
        use_programs({"infer": person.infer, "extract": person.extract, "choice": person.choice}, program)
        found = person.fit_detailed(records)
    run.write("candidates.json", json_text([h.model_dump() for h in found.candidates]))
    written: set[str] = set()
    for matrix in found.matrices:
        # Texts and choices each have a matrix of the same test, the texts' first.
        name = f"matrix-{matrix.test}" + ("-choices" if matrix.test in written else "")
        written.add(matrix.test)
        run.write(f"{name}.json", matrix.without_names(found.profile.user).to_json())
    run.write("profile.json", found.profile.to_json())
    counts = {"kept": len(found.profile.hypotheses), "dropped": len(found.profile.dropped)}
    run.finish({**counts, "questions": {"asked": found.asked, "undecided": found.undecided}})
    if found.unreadable:
        echo(
            f"{found.unreadable} of the model's answers were not in the form asked for, so that hypotheses are "
            "missing. Another --model may do better.",
            err=True,
        )
    report_undecided(found.asked, found.undecided)
    report_passed_over(found.skipped)
    if statements and len(records) > STATEMENT_RECORDS:
        echo(describe_sample(records), err=True)
    return found


def _redact(stated: list[str], redact: bool | None) -> list[str]:
    from hyperalign.privacy import find_redactor

    redactor = find_redactor(redact)
    return stated if redactor is None else [redactor(each) for each in stated]


def _all_records(
    store: Store, given: Sequence[Record], user: str | None, *, required: bool
) -> tuple[str, list[Record]]:
    """The user, and their records in the store and in the files."""
    from hyperalign.errors import InputError, NotFoundError

    if given:
        user = given[0].user
    if user is None:
        raise InputError("There is nothing to read.", remedy="Name files, or --user NAME for one already in the store.")
    stored = {record.id: record for record in store.records(user)}
    records = [*stored.values(), *(record for record in given if record.id not in stored)]
    if not records and required:
        raise NotFoundError(
            f"The store has no records of {user!r}.",
            remedy="Name files, or check the name: hyperalign profile list",
        )
    return user, records


def _print_estimate(
    records: list[Record],
    others: Population,
    models: ModelOptions,
    scorer: str | None,
    space: Space | None,
    *,
    statements: bool,
    has_encoder: bool,
    as_json: bool,
) -> None:
    from hyperalign.dependence import pass_over
    from hyperalign.programs.cost_estimate import describe_sample

    from .session import asks_by_choice, expect_fit
    from .terminal import price_steps, print_estimate, report_passed_over

    skipped = pass_over(records)
    report_passed_over(skipped)
    records = [record for record in records if record.id not in skipped]
    expected, against = expect_fit(records, others, models, scorer, space, has_encoder=has_encoder)
    asks, sample = asks_by_choice(models.model, scorer), f" {describe_sample(records)}"
    if not statements:
        expected, sample = {}, ""
    print_estimate(
        price_steps(expected, set(expected) if asks else {"infer"}, models),
        models,
        f"{len(records)} record(s), compared with {len(against)} of: {others.name}. Nothing was done.{sample}",
        as_json=as_json,
    )


def _run_folder(
    user: str,
    records: Sequence[Record],
    others: Population,
    models: ModelOptions,
    scorer: str | None,
    space: Space | None,
    program: Sequence[Path],
    seed: int,
    fitting: dict[str, Any],
) -> RunFolder:
    """The folder of the run that these inputs identify: the same inputs resume it."""
    from hyperalign.backends.models.number_cache import digest
    from hyperalign.runs import RunFolder

    decides: dict[str, Any] = {
        "records": [record.id for record in records],
        # A keyed hash: the run names no other person's records, and no hash of them can be tried.
        "population": {"name": others.name, "records": digest(*sorted(each.id for each in others.records(user))).hex()},
        **models.identity(),
        "scorer": scorer,
        "seed": seed,
        **fitting,
    }
    if space is not None:
        decides["space"] = space.fingerprint
    if program:
        from hyperalign.programs.optimize.artifact import read_artifact

        decides["program"] = [
            {name: prompt.model_dump(mode="json") for name, prompt in read_artifact(folder).prompts.items()}
            for folder in program
        ]
    run = RunFolder("fit", user, decides)
    if run.resumed:
        echo(f"Going on with the run in {run.path}", err=True)
    return run


def _write_files(profile: Profile, out: Path | None, vector: Path | None) -> None:
    from hyperalign.files import write_whole
    from hyperalign.space import load_space, to_alignx

    from .terminal import json_text

    if out is not None:
        write_whole(out, profile.to_json())
    if vector is not None:
        values = to_alignx(profile.direction, load_space())
        write_whole(vector, json_text(values, indent=None) + "\n")
        sure = sum(value != 0.5 for value in values)
        echo(f"Wrote {vector}: {sure} of {len(values)} values are sure (0.9 or more), the others are 0.5.", err=True)


def _print_saved(profile: Profile, version: int, budget: Budget, run: RunFolder | None, *, as_json: bool) -> None:
    from .show import render_profile
    from .terminal import cost_table, print_rich

    if as_json:
        print_json_text(profile.to_json())
        if profile.thin:
            echo(profile.thin, err=True)
        return
    shows_preferences = bool(profile.reward is None or profile.hypotheses or profile.dropped)
    cost = [cost_table(budget)] if run is not None else []
    print_rich(render_profile(profile, all_preferences=shows_preferences), *cost)
    where = f"; the run is in {run.path}" if run is not None else ""
    echo(f"\nSaved as version {version} of {profile.user}{where}")
    following = 'judge "Shall I go?" --answer "Yes." --answer "It depends on you."'
    if not profile.provenance.choices:
        following = 'generate "Decline the invitation."'
    echo(f'Next: hyperalign {following} --user "{profile.user}"')
