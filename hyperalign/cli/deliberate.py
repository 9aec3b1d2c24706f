"""``hyperalign deliberate``: what a message means, weighed, and then an answer or a reasoned no."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .model_options import DEFAULT_OPTIONS, ModelOptions, model_options
from .options import (
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ProgramOption,
    ScorerOption,
    StoreOption,
)

__all__ = ["deliberate"]

_SO = {
    "help": "it is answered with help.",
    "answer": "the model answers as it does anyway.",
    "decline": "it is declined.",
}


@model_options()
def deliberate(
    prompt: Annotated[str, typer.Argument(help="The message; - reads it from standard input.")],
    earlier: Annotated[
        list[str] | None, typer.Option("--earlier", help="What its writer said before, the oldest first; repeat it.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Who they are; colors the answer alone.")] = None,
    profile: Annotated[Path | None, typer.Option("--profile", help="A profile file instead of the store's.")] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", min=0, max=1, help="How probable harm must be to decline.")
    ] = None,
    at_ease: Annotated[
        float | None,
        typer.Option(
            "--at-ease",
            min=0,
            max=1,
            help="How probable harm may be to help without reserve; in between the model answers as it does anyway.",
        ),
    ] = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    optimized: ProgramOption = None,
    store: StoreOption = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    as_json: JsonOption = False,
) -> None:
    """Weigh what the writer of a message may intend, then help, or decline with a reason and an offer.

    What is known of the person plays no part in weighing: a profile is never a licence.
    """
    import json

    import dspy

    from hyperalign.budget import Budget
    from hyperalign.errors import InputError
    from hyperalign.programs.deliberate import AT_EASE, THRESHOLD, Deliberate
    from hyperalign.programs.generate import Generate
    from hyperalign.programs.strategies import strategy

    from .session import open_models, read_person, read_prompt, use_programs
    from .show import plain
    from .terminal import reporter

    if user is not None and profile is not None:
        raise InputError("Both --user and --profile name a person.", remedy="Give one of them.")
    asked = read_prompt(prompt)
    person = read_person(user, profile, store)
    budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
    with reporter(quiet=as_json) as report, budget.step("deliberate"):
        lm, reads = open_models(models, scorer, budget, report)
        limit = THRESHOLD if threshold is None else threshold
        ease = min(AT_EASE, limit) if at_ease is None else at_ease
        writer = Generate(strategy("verified"), scorer=None)
        program = Deliberate(writer, scorer=reads, threshold=limit, at_ease=ease)
        use_programs({"weigh": program.weigh, "generate": writer}, optimized)
        with dspy.context(lm=lm):
            found = program(prompt=asked, earlier=earlier or [], profile=person)
    if as_json:
        content = {"answer": found.answer, "course": found.course, "declined": found.declined}
        content["harm"] = round(found.harm, 4)
        typer.echo(json.dumps({**content, "reading": found.reading.model_dump()}, indent=2, ensure_ascii=False))
        return
    reading = found.reading
    typer.echo(f"Needs, as far as one can tell: {plain(reading.needs) or '-'}", err=True)
    typer.echo(f"Charitable reading: {plain(reading.charitable)}", err=True)
    typer.echo(f"Harmful reading: {plain(reading.harmful)}", err=True)
    typer.echo(f"Harm of a full answer: {found.harm:.0%}, so {_SO[found.course]}", err=True)
    typer.echo("\n".join(plain(line) for line in found.answer.splitlines()))
