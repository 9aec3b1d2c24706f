"""``hyperalign infer``: from files to a tested profile in the store."""

from __future__ import annotations

from .options import (
    DEFAULT_OPTIONS,
    DryRun,
    FilesArgument,
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ModelOptions,
    OutOption,
    PopulationOption,
    ProgramOption,
    RedactOption,
    ScorerOption,
    SeedOption,
    SkipBad,
    SpaceOption,
    StoreOption,
    WhoseOption,
    model_options,
)

__all__ = ["infer"]


@model_options()
def infer(
    files: FilesArgument = None,
    user: WhoseOption = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    population: PopulationOption = None,
    space: SpaceOption = None,
    program: ProgramOption = None,
    store: StoreOption = None,
    skip_bad: SkipBad = False,
    redact: RedactOption = None,
    out: OutOption = None,
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
    from .fit import Asked, fit_and_save, show_saved
    from .show import render_profile

    saved = fit_and_save(
        Asked(
            verb="infer",
            files=files or [],
            user=user,
            models=models,
            scorer=scorer,
            population=population,
            space=space,
            program=program or (),
            store=store,
            skip_bad=skip_bad,
            redact=redact,
            out=out,
            seed=seed,
            max_calls=max_calls,
            max_tokens=max_tokens,
            max_usd=max_usd,
            dry_run=dry_run,
            as_json=as_json,
        )
    )
    if saved is not None:
        show_saved(saved, render_profile(saved.profile), 'generate "Decline the invitation."', as_json=as_json)
