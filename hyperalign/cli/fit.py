"""What ``infer`` and ``extract`` do alike: from files, or from the store, to a tested profile in the store.

Everything heavy is loaded here, when a verb runs, and not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hyperalign.budget import Budget
    from hyperalign.population import Population
    from hyperalign.profile import Profile
    from hyperalign.programs.fit_result import Memory
    from hyperalign.programs.personalizer import Fit
    from hyperalign.reading import Reading
    from hyperalign.records import Record
    from hyperalign.runs import RunFolder
    from hyperalign.space import Space
    from hyperalign.store import Store

    from .options import ModelOptions
    from .terminal import Reporter

__all__ = ["Asked", "Saved", "fit_and_save", "fitted", "show_saved", "with_stated", "without_private"]


@dataclass(frozen=True)
class Asked:
    """What was asked on the command line; the options of ``infer`` under their names.

    Attributes:
        verb: what the run is called.
        stated: what the person says of themselves, kept as it is.
        program: folders of steps that were optimized.
    """

    verb: str
    files: Sequence[Path]
    user: str | None
    models: ModelOptions
    scorer: str | None
    population: Path | None
    space: Path | None
    store: str | None
    skip_bad: bool
    redact: bool | None
    out: Path | None
    seed: int
    max_calls: int | None
    max_tokens: int | None
    max_usd: float | None
    dry_run: bool
    as_json: bool
    stated: Sequence[str] = ()
    program: Sequence[Path] = ()


@dataclass(frozen=True)
class Saved:
    """What came of it.

    Attributes:
        profile: as it was saved.
        version: its number in the store.
        budget: what it took.
        run: the run's folder; None where there was nothing to run.
    """

    profile: Profile
    version: int
    budget: Budget
    run: RunFolder | None


def fit_and_save(asked: Asked) -> Saved | None:
    """Read, fit and save; None after a dry run, of which the estimate was shown.

    Raises:
        InputError: nothing can be read.
        NotFoundError: the store knows nothing of the user.
    """
    from hyperalign.budget import Budget
    from hyperalign.privacy import find_redactor
    from hyperalign.records import check_user
    from hyperalign.space import load_space
    from hyperalign.store import Store

    from .session import choose_population

    if asked.user is not None:
        check_user(asked.user)
    # Before anything is read or kept: a file that can't be used costs nothing.
    space = load_space(asked.space) if asked.space is not None else None
    budget = Budget(max_calls=asked.max_calls, max_tokens=asked.max_tokens, max_usd=asked.max_usd)
    with Store(asked.store) as opened:
        user, records = _records(asked, opened)
        others = choose_population(asked.population, user, opened, records, redact=asked.redact)
        if asked.dry_run:
            _estimate(records, others, asked, space)
            return None
        profile, memory, run = _profile(asked, user, records, others, budget, space)
        redact = find_redactor(asked.redact)
        stated = [redact(said) for said in asked.stated] if redact is not None else asked.stated
        profile = with_stated(opened, profile, stated)
        note = _note(len(records), len(asked.stated))
        # So that new records can be added without reading these again.
        version = opened.remember(profile, memory.to_json(), note) if memory else opened.save(profile, note=note)
    if asked.out is not None:
        from hyperalign.files import write_whole

        write_whole(asked.out, profile.to_json())
    return Saved(profile, version, budget, run)


def fitted(
    records: list[Record],
    others: Population,
    models: ModelOptions,
    scorer: str | None,
    seed: int,
    budget: Budget,
    run: RunFolder,
    report: Reporter,
    space: Space | None = None,
    program: Sequence[Path] = (),
) -> Fit:
    """Fit a person, keeping everything that was done in the run's folder."""
    from hyperalign.programs.personalizer import Personalizer

    from .session import open_models, use_programs

    lm, judge = open_models(models, scorer, budget, report, run.journal)
    person = Personalizer(lm, scorer=judge, population=others, space=space, budget=budget, progress=report, seed=seed)
    use_programs({"infer": person.infer, "extract": person.extract, "choice": person.choice}, program)
    try:
        fit = person.fit_detailed(records)
    finally:
        run.write("cost.json", _as_json({step: usage.as_json() for step, usage in budget.by_step.items()}))
    run.write("candidates.json", _as_json([h.model_dump() for h in fit.candidates]))
    written: set[str] = set()
    for matrix in fit.matrices:
        # Where there are texts and choices, both have a matrix of the same test, the texts' first.
        name = f"matrix-{matrix.test}" + ("-choices" if matrix.test in written else "")
        written.add(matrix.test)
        run.write(f"{name}.json", matrix.to_json())
    run.write("profile.json", fit.profile.to_json())
    found = {"kept": len(fit.profile.hypotheses), "dropped": len(fit.profile.dropped)}
    run.finish({**found, "questions": {"asked": fit.asked, "undecided": fit.undecided}})
    return fit


def show_saved(saved: Saved, shown: RenderableType, following: str, *, as_json: bool) -> None:
    """Print what came of it.

    Args:
        saved: what came of it.
        shown: the profile as the verb shows it.
        following: the command to give next, without ``hyperalign``.
        as_json: print the profile alone, for programs.
    """
    if as_json:
        typer.echo(saved.profile.to_json(), nl=False)
        if saved.profile.thin:
            typer.echo(saved.profile.thin, err=True)
        return
    from rich.console import Console

    from .terminal import cost_table

    console = Console()
    console.print(shown)
    where = ""
    if saved.run is not None:
        console.print(cost_table(saved.budget))
        where = f"; the run is in {saved.run.path}"
    user = saved.profile.user
    console.print(f"\nSaved as version {saved.version} of {user}{where}", soft_wrap=True, markup=False)
    console.print(f'Next: hyperalign {following} --user "{user}"', soft_wrap=True, markup=False)


def _records(asked: Asked, opened: Store) -> tuple[str, list[Record]]:
    """Whose profile it is to be, and all that is known of them."""
    from hyperalign.errors import InputError, NotFoundError
    from hyperalign.reading import read_records

    if asked.files:
        reading = read_records(asked.files, user=asked.user, skip_bad=asked.skip_bad)
        _say_what_was_read(reading)
        given = without_private(reading.records, asked.redact)
        user = given[0].user
        if not asked.dry_run:
            opened.add_records(given)
        return user, list({record.id: record for record in [*opened.records(user), *given]}.values())
    if asked.user is None:
        raise InputError("There is nothing to read.", remedy="Name files, or --user NAME for one already in the store.")
    known = opened.records(asked.user)
    if not known and not asked.stated:
        raise NotFoundError(
            f"The store has no records of {asked.user!r}.",
            remedy="Name files, or check the name: hyperalign profile list",
        )
    return asked.user, known


def without_private(records: Sequence[Record], wanted: bool | None) -> list[Record]:
    """Records as they may be kept: without what identifies people, where that is wanted or can be had.

    Raises:
        MissingExtraError: it is wanted, and what it takes is not installed.
    """
    from hyperalign.privacy import find_redactor, redacted

    redact = find_redactor(wanted)
    return redacted(records, redact) if redact is not None else list(records)


def _say_what_was_read(reading: Reading) -> None:
    from .show import plain

    for problem in reading.skipped:
        typer.echo(f"Passed over: {plain(str(problem))}", err=True)
    if reading.repeated:
        typer.echo(f"Passed over {reading.repeated} repeated record(s).", err=True)
    if reading.ratings:
        typer.echo(f"{reading.ratings} rating(s) made {reading.rated_pairs} pair(s).", err=True)


def _prompts_in(folder: Path) -> dict[str, Any]:
    """What a folder of an optimized step says: with other prompts it is another run."""
    from hyperalign.programs.optimize.artifact import read_artifact

    return {name: prompt.model_dump(mode="json") for name, prompt in read_artifact(folder).prompts.items()}


def _profile(
    asked: Asked, user: str, records: list[Record], others: Population, budget: Budget, space: Space | None
) -> tuple[Profile, Memory | None, RunFolder | None]:
    from hyperalign.profile import Profile
    from hyperalign.runs import RunFolder

    from .terminal import reporter, say_undecided

    if not records:
        return Profile(user=user).touched(), None, None
    decides: dict[str, Any] = {
        "records": [record.id for record in records],
        "population": {"name": others.name, "records": sorted(record.id for record in others.records(user))},
        **asked.models.identity(),
        "scorer": asked.scorer,
        "seed": asked.seed,
    }
    if space is not None:
        decides["space"] = space.fingerprint
    if asked.program:
        decides["program"] = [_prompts_in(folder) for folder in asked.program]
    run = RunFolder(asked.verb, user, decides)
    if run.resumed:
        typer.echo(f"Going on with the run in {run.path}", err=True)
    with reporter(quiet=asked.as_json) as report:
        fit = fitted(records, others, asked.models, asked.scorer, asked.seed, budget, run, report, space, asked.program)
    if fit.unreadable:
        typer.echo(
            f"{fit.unreadable} of the model's answers were not in the form asked for, so that hypotheses are "
            "missing. Another --model may do better.",
            err=True,
        )
    say_undecided(fit.asked, fit.undecided)
    return fit.profile, fit.memory, run


def with_stated(opened: Store, profile: Profile, stated: Sequence[str] = ()) -> Profile:
    """A new profile with what the newest version has of what the person said of themselves and set by hand.

    Args:
        opened: has the versions.
        profile: as it was fitted.
        stated: what they say now.
    """
    from hyperalign.edits import carry_over
    from hyperalign.errors import NotFoundError, ProfileError

    try:
        before = opened.load(profile.user)
    except (NotFoundError, ProfileError):
        return profile.model_copy(update={"stated": list(dict.fromkeys(stated))})
    told = list(dict.fromkeys([*before.stated, *stated]))
    return carry_over(before, profile).model_copy(update={"stated": told})


def _note(records: int, stated: int) -> str:
    sources = {f"inferred from {records} record(s)": records, f"{stated} statement(s) of their own": stated}
    return ", ".join(source for source, count in sources.items() if count)


def _estimate(records: list[Record], others: Population, asked: Asked, space: Space | None) -> None:
    from hyperalign.population import reference_records
    from hyperalign.programs.cost_estimate import REFERENCE_RECORDS, estimate_cost
    from hyperalign.programs.hypothesis_tests.choice import SMALL_MODEL_STATEMENTS_PER_CALL, STATEMENTS_PER_CALL
    from hyperalign.records import by_kind

    from .session import asks_by_choice
    from .terminal import priced_steps, say_expected

    against = [
        other
        for part in by_kind(records)
        for other in reference_records(others, records[0].user, part, REFERENCE_RECORDS)
    ]
    asks = asks_by_choice(asked.models.model, asked.scorer)
    small = asked.models.model.startswith(("local:", "adapter:"))
    size = SMALL_MODEL_STATEMENTS_PER_CALL if small else STATEMENTS_PER_CALL
    expected = estimate_cost(records, against, by_choice=asks, space=space, statements_per_call=size)
    say_expected(
        priced_steps(expected, set(expected) if asks else {"infer"}, asked.models),
        asked.models,
        [f"{len(records)} record(s), compared with {len(against)} of: {others.name}. Nothing was done."],
        as_json=asked.as_json,
    )


def _as_json(content: Any) -> str:
    import json

    return json.dumps(content, indent=2, ensure_ascii=False, default=str)
