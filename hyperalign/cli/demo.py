"""``hyperalign demo``: fit an example person and show what the profile changes. The store stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_OPTIONS, ModelOptions, ScorerOption, model_options
from .terminal import echo

if TYPE_CHECKING:
    from rich.table import Table

    from hyperalign.budget import Budget
    from hyperalign.profile import Profile
    from hyperalign.records import Record
    from hyperalign.runs import RunFolder

    from .terminal import Reporter

__all__ = ["demo"]

PROMPT = "A colleague has invited you to a farewell dinner on Friday. Write the note in which you decline."


@model_options()
def demo(
    person: Annotated[str, typer.Option("--person", help="Example person: ada, bruno or chiara.")] = "ada",
    prompt: Annotated[str, typer.Option("--prompt", help="Prompt to answer without and with the profile.")] = PROMPT,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
) -> None:
    """Fit an example person, show the profile, and answer a prompt without it and with it."""
    import time

    from hyperalign.errors import InputError
    from hyperalign.population import ShippedPopulation
    from hyperalign.records import Sample
    from hyperalign.runs import RunFolder

    from .fit import fit_in_folder
    from .show import render_profile
    from .terminal import cost_table, print_rich, reporter

    started = time.monotonic()
    people: list[Record] = [record for record in ShippedPopulation().records("") if isinstance(record, Sample)]
    records = [record for record in people if record.user == person]
    if not records:
        names = sorted({record.user for record in people})
        raise InputError(f"There is no example person {person!r}.", remedy=f"Choose one of: {', '.join(names)}.")
    echo(f"{len(records)} short pieces by {person}, compared with those of two other people.")
    local = models.model.startswith("local:")
    echo(f"The model is {models.model}; nothing leaves this machine.\n" if local else "")
    budget = models.new_budget()
    run = RunFolder("demo", person, {**models.identity(), "scorer": scorer, "records": [r.id for r in records]})
    fit = fit_in_folder(run, records, ShippedPopulation(), models, scorer, budget)
    print_rich(render_profile(fit.profile))
    with reporter() as report, budget.step("generate"):
        bare, answer = _answer(run, prompt, fit.profile, records, models, budget, report)
    print_rich(_side_by_side(prompt, bare, answer, fit.profile, records), cost_table(budget))
    echo(f"\n{time.monotonic() - started:.0f} seconds in all; everything is in {run.path}")
    echo("Next, your own: hyperalign fit FILES --user NAME")


def _answer(
    run: RunFolder,
    prompt: str,
    profile: Profile,
    records: list[Record],
    models: ModelOptions,
    budget: Budget,
    report: Reporter,
) -> tuple[str, str]:
    """The bare model's answer and the guided one; the same command shows them again without writing anew."""
    import dspy

    from hyperalign.backends.models.encoders import reopen_encoder
    from hyperalign.backends.models.writers import open_writer
    from hyperalign.population import ShippedPopulation
    from hyperalign.programs.guided import GuidedGenerate
    from hyperalign.runs import Journal

    answers = Journal(run.path / "answers.jsonl")
    if (known := answers.get(prompt)) is not None:
        return str(known["bare"]), str(known["answer"])
    writer = open_writer(models.model, budget=budget, progress=report.bytes)
    lm = models.connect(budget=budget, journal=run.journal) if writer is None else None
    embeds = reopen_encoder(profile.reward, budget=budget, progress=report.bytes)
    write = GuidedGenerate(
        "high" if writer else "medium", writer=writer, population=ShippedPopulation(), encoder=embeds
    )
    with dspy.context(lm=lm):
        found = write(prompt=prompt, profile=profile, records=records)
    answers.put(prompt, {"bare": found.bare, "answer": found.answer})
    return found.bare, found.answer


def _side_by_side(prompt: str, without: str, with_profile: str, profile: Profile, records: list[Record]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from hyperalign.evals.metrics.authorship import style_distance
    from hyperalign.records import own_text
    from hyperalign.text import longest_copied_run, printable

    table = Table(
        "without the profile",
        f"with {profile.user}'s profile",
        title=Text(f"\n{printable(prompt)}"),
        title_justify="left",
        title_style="bold",
        expand=True,
    )
    table.add_row(Text(printable(without)), Text(printable(with_profile)))
    texts = [own_text(record) for record in records]
    table.add_section()
    table.add_row(
        *(
            f"{style_distance(answer, profile):.2f} from {profile.user}'s measured style (0 is hers or his)\n"
            f"longest run of copied words: {longest_copied_run(answer, texts)}"
            for answer in (without, with_profile)
        )
    )
    return table
