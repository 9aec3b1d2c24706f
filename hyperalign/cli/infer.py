"""``hyperalign infer``: from files to a tested profile in the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    DEFAULT_MODEL,
    ContrastOption,
    DryRun,
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ModelOption,
    ScorerOption,
    SeedOption,
    SpaceOption,
    StoreOption,
)

if TYPE_CHECKING:
    from hyperalign.budget import Budget
    from hyperalign.contrast import Contrast
    from hyperalign.programs.personalizer import Fit
    from hyperalign.records import Record
    from hyperalign.runs import RunFolder
    from hyperalign.space import Space

    from .terminal import Reporter

__all__ = ["infer"]


def infer(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILES]...", help="Text, Markdown or JSONL files, folders, or - for standard input."),
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose they are.")] = None,
    model: ModelOption = DEFAULT_MODEL,
    scorer: ScorerOption = None,
    contrast: ContrastOption = None,
    space: SpaceOption = None,
    store: StoreOption = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Pass over bad lines and files, and count them.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the profile to this file.")] = None,
    seed: SeedOption = 0,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Infer hypotheses about a person from their files, test each, and keep what holds.

    Without files, the records that the store already has of --user are used. An interrupted run
    goes on where it stopped when the same command is given again.
    """
    from hyperalign.budget import Budget
    from hyperalign.errors import InputError
    from hyperalign.reading import read_records
    from hyperalign.records import check_user
    from hyperalign.runs import RunFolder
    from hyperalign.space import load_space
    from hyperalign.store import Store

    from .session import choose_contrast
    from .show import plain
    from .terminal import reporter

    if user is not None:
        check_user(user)
    # Before anything is read or kept: a file that can't be used costs nothing.
    own = load_space(space) if space is not None else None
    with Store(store) as opened:
        if files:
            reading = read_records(files, user=user, skip_bad=skip_bad)
            for problem in reading.skipped:
                typer.echo(f"Passed over: {plain(str(problem))}", err=True)
            if reading.repeated:
                typer.echo(f"Passed over {reading.repeated} repeated record(s).", err=True)
            user = reading.records[0].user
            if not dry_run:
                opened.add_records(reading.records)
            known = {record.id: record for record in [*opened.records(user), *reading.records]}
        elif user is not None:
            known = {record.id: record for record in opened.records(user)}
        else:
            raise InputError(
                "There is nothing to read.", remedy="Name files, or --user NAME for one already in the store."
            )
        records = list(known.values())
        others = choose_contrast(contrast, user, opened, records)
        if dry_run:
            _estimate(records, others, model, scorer, own, as_json)
            return
        budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
        asked = _asked(records, others, user, model=model, scorer=scorer, seed=seed)
        if own is not None:
            asked["space"] = own.fingerprint
        run = RunFolder("infer", user, asked)
        if run.resumed:
            typer.echo(f"Going on with the run in {run.path}", err=True)
        with reporter(quiet=as_json) as report:
            fit = fitted(records, others, model, scorer, seed, budget, run, report, own)
        if fit.unreadable:
            typer.echo(
                f"{fit.unreadable} of the model's answers were not in the form asked for, so that hypotheses are "
                "missing. Another --model may do better.",
                err=True,
            )
        version = opened.save(fit.profile, note=f"inferred from {len(records)} record(s)")
    if out is not None:
        from hyperalign.files import write_whole

        write_whole(out, fit.profile.to_json())
    _show(fit, budget, version, run, as_json)


def fitted(
    records: list[Record],
    others: Contrast,
    model: str,
    scorer: str | None,
    seed: int,
    budget: Budget,
    run: RunFolder,
    report: Reporter,
    space: Space | None = None,
) -> Fit:
    """Fit a person, keeping everything that was done in the run's folder."""
    from dataclasses import asdict

    from hyperalign.backends.runtimes.connect import connect
    from hyperalign.programs.personalizer import Personalizer

    from .session import choose_scorer

    judge = choose_scorer(scorer, model, budget, report)
    lm = connect(model, budget=budget, journal=run.journal, progress=report.bytes)
    person = Personalizer(lm, scorer=judge, contrast=others, space=space, budget=budget, progress=report, seed=seed)
    try:
        fit = person.explain(records)
    finally:
        run.write("cost.json", _as_json({step: asdict(usage) for step, usage in budget.by_step.items()}))
    run.write("candidates.json", _as_json([h.model_dump() for h in fit.candidates]))
    for matrix in fit.matrices:
        run.write(f"matrix-{matrix.test}.json", matrix.to_json())
    run.write("profile.json", fit.profile.to_json())
    run.finish({"kept": len(fit.profile.hypotheses), "dropped": len(fit.profile.dropped)})
    return fit


def _asked(records: list[Record], others: Contrast, user: str, **settings: Any) -> dict[str, Any]:
    return {
        "records": [record.id for record in records],
        "contrast": {"name": others.name, "records": sorted(record.id for record in others.records(user))},
        **settings,
    }


def _estimate(
    records: list[Record], others: Contrast, model: str, scorer: str | None, space: Space | None, as_json: bool
) -> None:
    from dataclasses import asdict

    from hyperalign.contrast import reference_records
    from hyperalign.programs.estimate import REFERENCE_RECORDS, estimate

    against = reference_records(others, records[0].user, records, REFERENCE_RECORDS)
    by_choice = scorer == "none" or not (scorer or model).startswith(("local:", "vllm:"))
    expected = estimate(records, against, by_choice=by_choice, space=space)
    if as_json:
        typer.echo(_as_json({step: asdict(usage) for step, usage in expected.items()}))
        return
    typer.echo(f"{len(records)} record(s), compared with {len(against)} of: {others.name}. Nothing was done.")
    for step, usage in expected.items():
        typer.echo(f"  {step}: about {usage.calls} call(s), {usage.tokens_in:,} tokens in, {usage.tokens_out:,} out")
    money = "no money" if model.startswith(("local:", "vllm:")) else "money at the provider's price"
    typer.echo(f"With {model} this costs {money}.")


def _show(fit: Fit, budget: Budget, version: int, run: RunFolder, as_json: bool) -> None:
    if as_json:
        typer.echo(fit.profile.to_json(), nl=False)
        return
    from rich.console import Console

    from .show import render_profile
    from .terminal import cost_table

    console = Console()
    console.print(render_profile(fit.profile))
    console.print(cost_table(budget))
    user = fit.profile.user
    console.print(f"\nSaved as version {version} of {user}; the run is in {run.path}", soft_wrap=True, markup=False)
    console.print(f'Next: hyperalign generate "Decline the invitation." --user "{user}"', soft_wrap=True, markup=False)


def _as_json(content: Any) -> str:
    import json

    return json.dumps(content, indent=2, ensure_ascii=False, default=str)
