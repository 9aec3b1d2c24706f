"""``hyperalign generate``, ``judge`` and ``deliberate``: answer as a user would, pick their answer, or weigh harm."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import (
    DEFAULT_OPTIONS,
    JsonOption,
    ModelOptions,
    ProfileOption,
    ProgramOption,
    PromptArgument,
    ScorerOption,
    StoreOption,
    UserOption,
    model_options,
)

__all__ = ["deliberate", "generate", "judge"]


@model_options()
def generate(
    prompt: PromptArgument,
    user: UserOption = None,
    profile: ProfileOption = None,
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            help="How the profile conditions the model: none, few-shot, hypotheses, directions, persona or verified.",
        ),
    ] = "verified",
    best_of: Annotated[int, typer.Option("--best-of", min=1, help="Number of drafts to choose the answer from.")] = 1,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    optimized: ProgramOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a prompt as a user would. Without --user or --profile, the model answers as it is.

    Example: hyperalign generate "Decline the invitation." --user ada
    """
    import dspy

    from hyperalign.backends.models.lm import stream
    from hyperalign.profile import Profile
    from hyperalign.programs.generate import Generate, writing_settings
    from hyperalign.programs.strategies import strategy as find_strategy

    from .session import open_models, read_person, read_prompt, use_programs
    from .show import printable
    from .terminal import print_json, reporter

    prompt = read_prompt(prompt)
    chosen = find_strategy(strategy)
    person = read_person(user, profile, store)
    if person is None:
        chosen = find_strategy("none")
    budget = models.new_budget()
    with reporter(quiet=as_json) as report, budget.step("generate"):
        lm, judge = open_models(models, scorer if best_of > 1 else "none", budget, report)
        program = Generate(chosen, best_of=best_of, scorer=judge)
        use_programs({"generate": program}, optimized)
        target = person or Profile(user="nobody")
        if person and person.is_empty and strategy == "verified":
            typer.echo("No hypothesis about this person has held: this is the bare model's answer.", err=True)
        # An answer that may copy an example is checked before it is shown.
        if best_of == 1 and not as_json and not target.examples:
            has_begun = False
            try:
                for piece in stream(lm, program.messages(target, prompt), **writing_settings(lm)):
                    typer.echo(printable(piece), nl=False)
                    has_begun = True
            finally:
                # Also after a failure: the error starts on a line of its own.
                if has_begun:
                    typer.echo()
            return
        with dspy.context(lm=lm):
            reply = program(prompt=prompt, profile=target)
    if as_json:
        found = {"answer": reply.answer, "drafts": reply.drafts, "strategy": chosen.name, "user": target.user}
        print_json({**found, "spent": budget.spent.as_json()})
    else:
        typer.echo(printable(reply.answer))


@model_options()
def judge(
    prompt: PromptArgument,
    answer: Annotated[list[str], typer.Option("--answer", help="An answer. Repeat it for each; two or more.")],
    user: UserOption = None,
    profile: ProfileOption = None,
    scorer: ScorerOption = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which of several answers a user would choose, how probable each is, and what decided.

    Example: hyperalign judge "Shall I go?" --answer "Yes." --answer "It depends on you." --user ada
    """
    from hyperalign.errors import InputError
    from hyperalign.programs.judge import Judge

    from .session import choose_scorer, read_person, read_prompt
    from .show import plain
    from .terminal import print_json, reporter

    person = read_person(user, profile, store)
    if person is None:
        raise InputError("It must be said whose choice it is.", remedy="Give one of --user and --profile.")
    prompt = read_prompt(prompt)
    budget = models.new_budget()
    with reporter(quiet=as_json) as report, budget.step("judge"):
        reads = choose_scorer(scorer, models.model, budget, report)
        lm = models.connect(budget=budget, progress=report.bytes) if reads is None else None
        found = Judge(reads, lm=lm)(prompt=prompt, answers=answer, profile=person)
    if as_json:
        decided = [{"statement": h.statement, "nats": round(nats, 4)} for h, nats in found.decided]
        picked = {"best": found.best, "probabilities": found.probabilities, "decided": decided}
        print_json({**picked, "style": round(found.style, 4), "user": person.user})
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


_COURSES = {
    "help": "it is answered with help.",
    "answer": "the model answers as it does anyway.",
    "decline": "it is declined.",
}


@model_options()
def deliberate(
    prompt: PromptArgument,
    earlier: Annotated[
        list[str] | None,
        typer.Option("--earlier", help="An earlier message of the same writer, the oldest first. Repeatable."),
    ] = None,
    user: UserOption = None,
    profile: ProfileOption = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0, max=1, help="Decline from this probability of harm on. Default: 0.55."),
    ] = None,
    at_ease: Annotated[
        float | None,
        typer.Option(
            "--at-ease",
            min=0,
            max=1,
            help="Help without reserve below this probability of harm. Default: 0.08. In between, the model answers as "
            "it is.",
        ),
    ] = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    optimized: ProgramOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Weigh what the writer of a message may intend, then help, or decline with a reason and an offer.

    The profile shapes only the answer. It has no influence on what is weighed.

    Example: hyperalign deliberate "How do I kill a Python process?"
    """
    import dspy

    from hyperalign.programs.deliberate import AT_EASE, THRESHOLD, Deliberate
    from hyperalign.programs.generate import Generate
    from hyperalign.programs.strategies import strategy

    from .session import open_models, read_person, read_prompt, use_programs
    from .show import plain
    from .terminal import print_json, reporter

    prompt = read_prompt(prompt)
    person = read_person(user, profile, store)
    budget = models.new_budget()
    with reporter(quiet=as_json) as report, budget.step("deliberate"):
        lm, reads = open_models(models, scorer, budget, report)
        limit = THRESHOLD if threshold is None else threshold
        ease = min(AT_EASE, limit) if at_ease is None else at_ease
        writer = Generate(strategy("verified"), scorer=None)
        program = Deliberate(writer, scorer=reads, threshold=limit, at_ease=ease)
        use_programs({"weigh": program.weigh, "generate": writer}, optimized)
        with dspy.context(lm=lm):
            found = program(prompt=prompt, earlier=earlier or [], profile=person)
    reading = found.reading
    if as_json:
        told = {"answer": found.answer, "course": found.course, "declined": found.declined}
        print_json({**told, "harm": round(found.harm, 4), "reading": reading.model_dump()})
        return
    typer.echo(f"Needs, as far as one can tell: {plain(reading.needs) or '-'}", err=True)
    typer.echo(f"Charitable reading: {plain(reading.charitable)}", err=True)
    typer.echo(f"Harmful reading: {plain(reading.harmful)}", err=True)
    typer.echo(f"Harm of a full answer: {found.harm:.0%}, so {_COURSES[found.course]}", err=True)
    typer.echo("\n".join(plain(line) for line in found.answer.splitlines()))
