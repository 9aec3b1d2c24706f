"""``hyperalign generate``, ``judge`` and ``deliberate``: answer as a user would, pick their answer, or weigh harm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .guided import Level, generate_guided, read_records_of
from .options import (
    DEFAULT_OPTIONS,
    EncoderOption,
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
from .terminal import echo

if TYPE_CHECKING:
    import dspy

__all__ = ["deliberate", "generate", "judge"]

_FEATURES_SHOWN = 5


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
    best_of: Annotated[
        int, typer.Option("--best-of", min=1, help="Number of drafts to choose the answer from, at effort low.")
    ] = 1,
    effort: Annotated[
        Level | None,
        typer.Option(
            "--effort",
            help="low only tells the model; medium and high steer it, by at most 4 and 8 times the tokens. Default: "
            "high for a local model and medium for others, if the user's texts or choices are known.",
        ),
    ] = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    encoder: EncoderOption = None,
    scorer: ScorerOption = None,
    optimized: ProgramOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer a prompt as a user would. Without --user or --profile, the model answers as it is.

    Example: hyperalign generate "Decline the invitation." --user ada
    """
    import dspy

    from hyperalign.backends.models.encoders import reopen_encoder
    from hyperalign.backends.models.lm import stream
    from hyperalign.profile import Profile
    from hyperalign.programs.generate import Generate, writing_settings
    from hyperalign.programs.strategies import strategy as find_strategy
    from hyperalign.text import printable

    from .session import open_models, read_person, read_prompt, use_programs
    from .terminal import print_json, reporter

    prompt = read_prompt(prompt)
    chosen = find_strategy(strategy)
    person = read_person(user, profile, store)
    if person is None:
        chosen = find_strategy("none")
    told = best_of > 1 or optimized or strategy == "none" or effort == "low"
    if person is not None and not told:
        records = read_records_of(user, person, store)
        if effort or records or person.reward:
            level: Level = effort or ("high" if models.model.startswith("local:") else "medium")
            settings: dict[str, Any] = {"models": models, "encoder": encoder, "store": store, "as_json": as_json}
            generate_guided(prompt, person, records, level, strategy=strategy, **settings)
            return
    budget = models.new_budget()
    with reporter(quiet=as_json) as report, budget.step("generate"):
        reward = person.reward if person and best_of > 1 else None
        lm, judge = open_models(models, scorer if best_of > 1 and not reward else "none", budget, report)
        embeds = reopen_encoder(reward, encoder=encoder, budget=budget, progress=report.bytes)
        program = Generate(chosen, best_of=best_of, scorer=judge, encoder=embeds)
        use_programs({"generate": program}, optimized)
        target = person or Profile(user="nobody")
        if person and person.is_empty and strategy == "verified":
            echo("No hypothesis about this person has held: this is the bare model's answer.", err=True)
        # An answer that may copy an example is checked before it is shown.
        if best_of == 1 and not as_json and not target.examples:
            has_begun = False
            try:
                for piece in stream(lm, program.messages(target, prompt), **writing_settings(lm)):
                    echo(printable(piece), nl=False)
                    has_begun = True
            finally:
                # Also after a failure: the error starts on a line of its own.
                if has_begun:
                    echo()
            return
        with dspy.context(lm=lm):
            reply = program(prompt=prompt, profile=target)
    if as_json:
        found = {"answer": reply.answer, "drafts": reply.drafts, "strategy": chosen.name, "user": target.user}
        print_json({**found, "spent": budget.spent.as_json()})
    else:
        echo(printable(reply.answer))


@model_options()
def judge(
    prompt: PromptArgument,
    answer: Annotated[list[str], typer.Option("--answer", help="An answer. Repeat it for each; two or more.")],
    user: UserOption = None,
    profile: ProfileOption = None,
    draft: Annotated[str | None, typer.Option("--draft", help="The draft that all answers correct.")] = None,
    statements: Annotated[
        bool,
        typer.Option(
            "--statements",
            help="Read the tested statements with the model, too, where a reward decides. They change no probability.",
        ),
    ] = False,
    encoder: EncoderOption = None,
    scorer: ScorerOption = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which of several answers a user would choose, how probable each is, what decided and how sure that is.

    A profile with a reward needs no language model.

    Example: hyperalign judge "Shall I go?" --answer "Yes." --answer "It depends on you." --user ada
    """
    from hyperalign.backends.models.encoders import reopen_encoder
    from hyperalign.errors import InputError
    from hyperalign.programs.judge import Judge
    from hyperalign.programs.replies import tally_answers

    from .session import choose_scorer, read_person, read_prompt
    from .terminal import print_json, report_undecided, reporter

    person = read_person(user, profile, store)
    if person is None:
        raise InputError("It must be said whose choice it is.", remedy="Give one of --user and --profile.")
    prompt = read_prompt(prompt)
    budget = models.new_budget()
    with reporter(quiet=as_json) as report, budget.step("judge"), tally_answers() as tally:
        reads = lm = None
        if statements or person.reward is None:
            reads = choose_scorer(scorer, models.model, budget, report)
            lm = models.connect(budget=budget, progress=report.bytes) if reads is None else None
        embeds = reopen_encoder(person.reward, encoder=encoder, budget=budget, progress=report.bytes)
        program = Judge(reads, lm=lm, encoder=embeds, explain=statements)
        found = program(prompt=prompt, answers=answer, profile=person, draft=draft)
    report_undecided(tally.asked, tally.undecided)
    if as_json:
        print_json({**_told(found), "user": person.user})
        return
    if not (found.decided or found.prediction):
        echo("Nothing about this person has held: all answers are equally probable.", err=True)
    for line in _judgment_lines(answer, found):
        echo(line)


def _judgment_lines(answers: Sequence[str], found: dspy.Prediction) -> Iterator[str]:
    """A judgment for a person to read; an answer is marked only where it can be told that it is the one."""
    from hyperalign.text import plain

    sure = found.prediction
    can_tell = sure.is_sure if sure else bool(found.decided)
    for number, (text, probability) in enumerate(zip(answers, found.probabilities, strict=True)):
        yield f"{'>' if number == found.best and can_tell else ' '} {probability:4.0%}  {plain(text, 90)}"
    if sure:
        over = f"{sure.probability:.0%} that answer {found.best + 1} is chosen over the next best"
        interval = f"90 % interval {sure.low:.0%} to {sure.high:.0%}"
        yield f"{over}, {interval}." if can_tell else f"Cannot tell: {over}, {interval}."
    for each in found.features[:_FEATURES_SHOWN]:
        yield f"        {each.nats:+.2f} nats  {plain(str(each), 90)}."
    for hypothesis, nats in found.decided:
        yield f"        {nats:+.2f} nats  {plain(hypothesis.statement, 90)}"


def _told(found: dspy.Prediction) -> dict[str, Any]:
    """A judgment as JSON-able data."""
    sure = found.prediction
    return {
        "best": found.best,
        "probabilities": [round(each, 4) for each in found.probabilities],
        "low": round(sure.low, 4) if sure else None,
        "high": round(sure.high, 4) if sure else None,
        "is_sure": sure.is_sure if sure else None,
        "features": [
            {"feature": each.feature, "words": str(each), "nats": round(each.nats, 4)} for each in found.features
        ],
        "decided": [{"statement": h.statement, "nats": round(nats, 4)} for h, nats in found.decided],
    }


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
    from hyperalign.programs.replies import tally_answers
    from hyperalign.programs.strategies import strategy
    from hyperalign.text import plain

    from .session import open_models, read_person, read_prompt, use_programs
    from .terminal import print_json, report_undecided, reporter

    prompt = read_prompt(prompt)
    person = read_person(user, profile, store)
    budget = models.new_budget()
    with reporter(quiet=as_json) as report, budget.step("deliberate"), tally_answers() as tally:
        lm, reads = open_models(models, scorer, budget, report)
        limit = THRESHOLD if threshold is None else threshold
        ease = min(AT_EASE, limit) if at_ease is None else at_ease
        writer = Generate(strategy("verified"), scorer=None)
        program = Deliberate(writer, scorer=reads, threshold=limit, at_ease=ease)
        use_programs({"weigh": program.weigh, "generate": writer}, optimized)
        with dspy.context(lm=lm):
            found = program(prompt=prompt, earlier=earlier or [], profile=person)
    report_undecided(tally.asked, tally.undecided)
    reading = found.reading
    if as_json:
        told = {"answer": found.answer, "course": found.course, "declined": found.declined}
        print_json({**told, "harm": round(found.harm, 4), "reading": reading.model_dump()})
        return
    echo(f"Needs, as far as one can tell: {plain(reading.needs) or '-'}", err=True)
    echo(f"Charitable reading: {plain(reading.charitable)}", err=True)
    echo(f"Harmful reading: {plain(reading.harmful)}", err=True)
    echo(f"Harm of a full answer: {found.harm:.0%}, so {_COURSES[found.course]}", err=True)
    echo("\n".join(plain(line) for line in found.answer.splitlines()))
