"""``hyperalign generate``: answer a prompt as a person would.

``hyperalign judge``: which of several answers a person would take.

``hyperalign deliberate``: what a message means, weighed, and then an answer or a reasoned no.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import (
    DEFAULT_OPTIONS,
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ModelOptions,
    ProgramOption,
    ScorerOption,
    StoreOption,
    model_options,
)

if TYPE_CHECKING:
    from hyperalign.budget import Usage
    from hyperalign.profile import Profile

__all__ = ["deliberate", "generate", "judge"]


@model_options()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to answer; - reads it from standard input.")],
    user: Annotated[str | None, typer.Option("--user", help="As whom.")] = None,
    profile: Annotated[Path | None, typer.Option("--profile", help="A profile file instead of the store's.")] = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", help="How the profile is used: none, few-shot, hypotheses, directions, persona or verified."
        ),
    ] = "verified",
    best_of: Annotated[int, typer.Option("--best-of", min=1, help="Drafts to choose from.")] = 1,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    optimized: ProgramOption = None,
    store: StoreOption = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a prompt as the person would; without --user or --profile, as the bare model does."""
    import dspy

    from hyperalign.backends.models.lm import stream
    from hyperalign.budget import Budget
    from hyperalign.errors import InputError
    from hyperalign.programs.generate import Generate, writing_settings
    from hyperalign.programs.strategies import strategy as named

    from .session import open_models, read_person, read_prompt, use_programs
    from .show import printable
    from .terminal import reporter

    if user is not None and profile is not None:
        raise InputError("Both --user and --profile name a person.", remedy="Give one of them.")
    prompt = read_prompt(prompt)
    chosen = named(strategy)
    person = read_person(user, profile, store)
    if person is None:
        chosen = named("none")
    budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
    with reporter(quiet=as_json) as report, budget.step("generate"):
        lm, judge = open_models(models, scorer if best_of > 1 else "none", budget, report)
        program = Generate(chosen, best_of=best_of, scorer=judge)
        use_programs({"generate": program}, optimized)
        target = person or _nobody()
        if person and person.is_empty and strategy == "verified":
            typer.echo("No hypothesis about this person has held: this is the bare model's answer.", err=True)
        # What may repeat an example must be looked at before it is shown.
        if best_of == 1 and not as_json and not target.examples:
            begun = False
            try:
                for piece in stream(lm, program.messages(target, prompt), **writing_settings(lm)):
                    typer.echo(printable(piece), nl=False)
                    begun = True
            finally:
                # Also where it breaks off: an error starts on a line of its own.
                if begun:
                    typer.echo()
            return
        with dspy.context(lm=lm):
            reply = program(prompt=prompt, profile=target)
    if as_json:
        _print_json(reply.answer, reply.drafts, chosen.name, target.user, budget.spent)
    else:
        typer.echo(printable(reply.answer))


def _nobody() -> Profile:
    from hyperalign.profile import Profile

    return Profile(user="nobody")


def _print_json(answer: str, drafts: list[str], strategy: str, user: str, spent: Usage) -> None:
    import json

    content = {"answer": answer, "drafts": drafts, "strategy": strategy, "user": user, "spent": spent.as_json()}
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


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
