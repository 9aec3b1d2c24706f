"""``hyperalign generate``: answer a prompt as a person would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from hyperalign.budget import Usage
    from hyperalign.profile import Profile

__all__ = ["generate"]


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

    from hyperalign.backends.runtimes.lm import stream
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
