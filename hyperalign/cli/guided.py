"""``hyperalign rewrite``, and ``generate`` where it is guided: what is written is steered by what was learned."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import (
    DEFAULT_OPTIONS,
    EncoderOption,
    JsonOption,
    ModelOptions,
    PopulationOption,
    ProfileOption,
    StoreOption,
    UserOption,
    model_options,
)
from .terminal import echo

if TYPE_CHECKING:
    import dspy

    from hyperalign.profile import Profile
    from hyperalign.programs.guided import Effort
    from hyperalign.records import Record

__all__ = ["Level", "generate_guided", "rewrite", "write_guided"]

Level = Literal["low", "medium", "high"]
_MOVED_SHOWN = 4
_NEAR = 1e-3


@model_options()
def rewrite(
    draft: Annotated[Path, typer.Argument(help="Text file to rewrite; - reads the standard input.", allow_dash=True)],
    user: UserOption = None,
    profile: ProfileOption = None,
    effort: Annotated[Level, typer.Option("--effort", help="How much is spent: low, medium or high.")] = "high",
    population: PopulationOption = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    encoder: EncoderOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rewrite a text as a user would: the same content, in their manner, with what changed marked word by word.

    Example: hyperalign rewrite draft.txt --user ada
    """
    from hyperalign.errors import InputError
    from hyperalign.programs.guided import REWRITE

    from .terminal import print_json, print_rich

    try:
        text = sys.stdin.read() if str(draft) == "-" else draft.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{draft} could not be read: {why}.", remedy="Give a text file.") from error
    text = text.strip()
    if not text:
        raise InputError(f"{draft} is empty.", remedy="Give a text to rewrite.")
    person, records = _read(user, profile, store)
    reply, spent = write_guided(
        REWRITE.format(draft=text), person, records, effort, population, models, encoder, store, draft=text
    )
    if as_json:
        print_json({**_told(reply, effort), "draft": text, "user": person.user, "spent": spent})
        return
    print_rich(word_diff(text, reply.answer))
    for line in _nearness(reply, person):
        echo(line, err=True)


def generate_guided(
    prompt: str,
    person: Profile,
    records: list[Record],
    effort: Effort,
    *,
    models: ModelOptions,
    encoder: str | None,
    store: str | None,
    strategy: str,
    as_json: bool,
) -> None:
    """Answer a prompt, steered, and say how near the answer is to the person.

    Args:
        prompt: what to answer.
        person: for whom.
        records: theirs.
        effort: how much is spent.
        models: the model.
        encoder: its name, as ``session.choose_encoder`` takes it.
        store: where other users are.
        strategy: how the profile is put before the model.
        as_json: whether to print JSON.
    """
    from hyperalign.text import printable

    from .terminal import print_json

    begun: list[str] = []

    def show(block: str) -> None:
        echo(printable(block if begun else block.lstrip()), nl=False)
        begun.append(block)

    try:
        said = None if as_json else show
        reply, spent = write_guided(
            prompt,
            person,
            records,
            effort,
            None,
            models,
            encoder,
            store,
            strategy=strategy,
            told=said,
        )
    finally:
        # Also after a failure: the error starts on a line of its own.
        if begun:
            echo()
    if as_json:
        print_json({**_told(reply, effort), "strategy": strategy, "user": person.user, "spent": spent})
        return
    if reply.rewritten and begun:
        echo("That copied the person's texts; written again without them:", err=True)
    if reply.rewritten or not begun:
        echo(printable(reply.answer))
    for line in _nearness(reply, person):
        echo(line, err=True)


def _read(user: str | None, profile: Path | None, store: str | None) -> tuple[Profile, list[Record]]:
    from hyperalign.errors import InputError

    from .session import read_person

    person = read_person(user, profile, store)
    if person is None:
        raise InputError("It must be said whose manner it is.", remedy="Give one of --user and --profile.")
    return person, read_records_of(user, person, store)


def read_records_of(user: str | None, person: Profile, store: str | None) -> list[Record]:
    """A person's records in the store; the examples of a profile that came from a file.

    Args:
        user: the person, if they are in the store.
        person: the profile.
        store: where.
    """
    from hyperalign.store import Store

    if user is None:
        return list(person.examples)
    with Store(store) as opened:
        return opened.records(user, skip_damaged=True)


def write_guided(
    prompt: str,
    person: Profile,
    records: list[Record],
    effort: Effort,
    population: Path | None,
    models: ModelOptions,
    encoder: str | None,
    store: str | None,
    *,
    strategy: str = "verified",
    draft: str | None = None,
    told: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> tuple[dspy.Prediction, dict[str, Any]]:
    """Write one guided answer, and what it spent.

    Args:
        prompt: what to answer.
        person: for whom.
        records: theirs.
        effort: how much is spent.
        population: a folder of other people; None for those of the store, or the example people.
        models: the model.
        encoder: its name, as ``session.choose_encoder`` takes it.
        store: where other users are.
        strategy: how the profile is put before the model.
        draft: a text whose content the answer keeps.
        told: called with each block as it is written.
        quiet: whether to show no progress; without ``told`` and ``draft`` none is shown anyway.
    """
    import dspy

    from hyperalign.backends.models.encoders import reopen_encoder
    from hyperalign.backends.models.writers import open_writer
    from hyperalign.programs.guided import GuidedGenerate
    from hyperalign.runs import prefix_folder
    from hyperalign.store import Store

    from .session import choose_population, open_models
    from .terminal import reporter

    with Store(store) as opened:
        others = choose_population(population, person.user, opened, records or None, redact=None)
    budget = models.new_budget()
    with reporter(quiet=quiet or (told is None and draft is None)) as report, budget.step("generate"):
        writer = open_writer(models.model, budget=budget, progress=report.bytes)
        lm = None
        if writer is None:
            lm, _ = open_models(models, "none", budget, report)
        embeds = reopen_encoder(person.reward, encoder=encoder, budget=budget, progress=report.bytes)
        program = GuidedGenerate(
            effort,
            strategy=strategy,
            writer=writer,
            population=others,
            encoder=embeds,
            kept=prefix_folder(person.user),
        )
        with dspy.context(lm=lm):
            reply = program(prompt=prompt, profile=person, records=records, draft=draft, told=told)
    return reply, budget.spent.as_json()


def _told(reply: dspy.Prediction, effort: str) -> dict[str, Any]:
    """A guided answer as JSON-able data."""
    import math

    # A text without words has no odds, and JSON no infinity.
    values = reply.rewards and [round(each, 3) if math.isfinite(each) else None for each in reply.rewards]
    return {
        "answer": reply.answer,
        "bare": reply.bare,
        "effort": effort,
        "reward": None if values is None else {"answer": values[0], "bare": values[1]},
        "own": None if reply.own is None else {"low": reply.own.low, "high": reply.own.high},
        "distance": {"answer": round(reply.distances[0], 3), "bare": round(reply.distances[1], 3)},
        "moved": [moved._asdict() for moved in reply.moved],
        "revised": reply.revised,
        "rewritten": reply.rewritten,
        "is_whole": reply.is_whole,
    }


def _nearness(reply: dspy.Prediction, person: Profile) -> Iterator[str]:
    """How near an answer is to the person's own range, beside the bare model's, and what moved it."""
    if not reply.is_whole:
        yield "It was broken off at the most tokens of an answer."
    if reply.rewards is None:
        yield "Nothing about this person can steer an answer: this one was only told."
        return
    answer, bare = reply.rewards
    line = f"Reward {answer:+.1f} nats, the bare model's answer {bare:+.1f}"
    if reply.own is not None:
        line += f"; four fifths of {person.user}'s own texts have {reply.own.low:+.1f} to {reply.own.high:+.1f}"
    yield f"{line}."
    near, far = reply.distances
    if near or far:
        yield f"{near:.1f} spreads from {person.user}'s measured style, the bare model's {far:.1f}."
    for moved in reply.moved[:_MOVED_SHOWN]:
        if abs(moved.answer - moved.bare) > _NEAR:
            name = moved.feature.replace("_", " ")
            yield f"  {name}: {moved.bare:.3g} → {moved.answer:.3g} ({person.user}: {moved.person:.3g})"


def word_diff(before: str, after: str) -> Any:
    """What was taken out of a text and put into it, word by word, as a ``rich.text.Text``.

    Args:
        before: the draft.
        after: its rewrite.
    """
    import difflib
    import re

    from rich.text import Text

    from hyperalign.text import printable

    old, new = (re.findall(r"\S+|\s+", printable(text)) for text in (before, after))
    shown = Text()
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            shown.append("".join(new[c:d]))
            continue
        # Marks as well as colors: a terminal may have none.
        if out := "".join(old[a:b]).strip():
            shown.append(f"[-{out}-]", style="red strike").append(" ")
        if put := "".join(new[c:d]).strip():
            shown.append(f"{{+{put}+}}", style="green").append("".join(new[c:d])[len("".join(new[c:d]).rstrip()) :])
    return shown
