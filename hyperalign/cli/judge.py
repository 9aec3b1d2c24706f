"""``hyperalign judge``: which of several answers a person would take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .model_options import DEFAULT_OPTIONS, ModelOptions, model_options
from .options import JsonOption, MaxTokens, StoreOption

__all__ = ["judge"]


@model_options()
def judge(
    prompt: Annotated[str, typer.Argument(help="What the answers answer; - reads it from standard input.")],
    answer: Annotated[list[str], typer.Option("--answer", help="An answer; once for each, two or more.")],
    user: Annotated[str | None, typer.Option("--user", help="Who would take it.")] = None,
    profile: Annotated[Path | None, typer.Option("--profile", help="A profile file instead of the store's.")] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            envvar="HYPERALIGN_SCORER",
            help="Model whose log-probabilities judge; --model's own, or its answers where it gives none.",
        ),
    ] = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    store: StoreOption = None,
    max_tokens: MaxTokens = None,
    as_json: JsonOption = False,
) -> None:
    """Say which of several answers a person would take, how probable that is, and what decided."""
    import json

    from hyperalign.budget import Budget
    from hyperalign.errors import InputError
    from hyperalign.programs.judge import Judge

    from .session import choose_scorer, read_person, read_prompt
    from .show import plain
    from .terminal import reporter

    person = read_person(user, profile, store)
    if person is None or (user is not None and profile is not None):
        raise InputError("It must be said whose choice it is.", remedy="Give one of --user and --profile.")
    asked = read_prompt(prompt)
    budget = Budget(max_tokens=max_tokens)
    with reporter(quiet=as_json) as report, budget.step("judge"):
        reads = choose_scorer(scorer, models.model, budget, report)
        lm = models.connect(budget=budget, progress=report.bytes) if reads is None else None
        found = Judge(reads, lm=lm)(prompt=asked, answers=answer, profile=person)
    if as_json:
        decided = [{"statement": h.statement, "nats": round(nats, 4)} for h, nats in found.decided]
        content = {
            "best": found.best,
            "probabilities": found.probabilities,
            "decided": decided,
            "style": round(found.style, 4),
            "user": person.user,
        }
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    known = bool(found.decided) or found.style != 0
    if not known:
        typer.echo("Nothing about this person has held: all answers are equally probable.", err=True)
    for number, (text, probability) in enumerate(zip(answer, found.probabilities, strict=True)):
        typer.echo(f"{'>' if number == found.best and known else ' '} {probability:4.0%}  {plain(text, 90)}")
    for hypothesis, nats in found.decided:
        typer.echo(f"        {nats:+.2f} nats  {plain(hypothesis.statement, 90)}")
    if found.style:
        typer.echo(f"        {found.style:+.2f} nats  Measured style.")
