"""``hyperalign extract``: what a person prefers, from what they chose, rated, corrected, wrote or say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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

if TYPE_CHECKING:
    from hyperalign.profile import Profile

__all__ = ["extract"]


@model_options()
def extract(
    files: FilesArgument = None,
    user: WhoseOption = None,
    about: Annotated[
        str | None, typer.Option("--about", metavar="TEXT", help="What the person says of themselves, in words.")
    ] = None,
    about_file: Annotated[
        Path | None, typer.Option("--about-file", help="The same, from a text file; each paragraph is kept by itself.")
    ] = None,
    vector: Annotated[
        Path | None,
        typer.Option("--vector", help="Also write the direction to this file as AlignX's 90 values (JSON)."),
    ] = None,
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
    """Say what a person prefers: the direction that their choices point in, and what held when it was tested.

    Choices are pairs, edits and ratings; what the person wrote is tested beside them. Without files, the records that
    the store already has of --user are used. An interrupted run goes on where it stopped when the same command is given
    again.
    """
    from .fit import Asked, fit_and_save, show_saved
    from .show import render_preferences

    saved = fit_and_save(
        Asked(
            verb="extract",
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
            stated=_described(about, about_file),
        )
    )
    if saved is None:
        return
    show_saved(
        saved,
        render_preferences(saved.profile),
        'judge "Shall I go?" --answer "Yes." --answer "It depends on you."',
        as_json=as_json,
    )
    if vector is not None:
        _write_vector(saved.profile, vector)


def _described(about: str | None, about_file: Path | None) -> list[str]:
    """Each paragraph of the description, as one line; it is kept as it is and asked of no model."""
    import re

    from hyperalign.errors import InputError
    from hyperalign.programs.strategies import PROFILE_WORDS
    from hyperalign.reading import read_text

    given = [about] if about is not None else []
    if about_file is not None:
        given.append(read_text(about_file))
    paragraphs = [" ".join(part.split()) for text in given for part in re.split(r"\n\s*\n", text)]
    said = [paragraph for paragraph in paragraphs if paragraph]
    if given and not said:
        raise InputError("The description is empty.", remedy='Say something: --about "I read on my way to work."')
    words = sum(len(paragraph.split()) for paragraph in said)
    if words > PROFILE_WORDS:
        raise InputError(
            f"The description has {words:,} words; a model is shown {PROFILE_WORDS} at most.",
            remedy="Shorten it, or give what the person wrote among the files.",
        )
    return said


def _write_vector(profile: Profile, path: Path) -> None:
    import json

    from hyperalign.files import write_whole
    from hyperalign.space import load_space, to_alignx

    values = to_alignx(profile.direction, load_space())
    write_whole(path, json.dumps(values) + "\n")
    sure = sum(value != 0.5 for value in values)
    typer.echo(f"Wrote {path}: {sure} of {len(values)} values are sure (0.9 or more), the others are 0.5.", err=True)
