"""``hyperalign demo``: the whole loop on an example person, and what it changes.

Nothing is written to the user's own store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import DEFAULT_OPTIONS, ModelOptions, ScorerOption, model_options

if TYPE_CHECKING:
    from rich.console import Console

    from hyperalign.profile import Profile
    from hyperalign.records import Record

__all__ = ["demo"]

PROMPT = "A colleague has invited you to a farewell dinner on Friday. Write the note in which you decline."


@model_options()
def demo(
    person: Annotated[str, typer.Option("--person", help="Which example person: ada, bruno or chiara.")] = "ada",
    prompt: Annotated[str, typer.Option("--prompt", help="What to answer without and with the profile.")] = PROMPT,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
) -> None:
    """Fit an example person, show the profile, and answer one prompt without it and with it."""
    import time

    import dspy
    from rich.console import Console

    from hyperalign.budget import Budget
    from hyperalign.errors import InputError
    from hyperalign.population import ShippedPopulation
    from hyperalign.programs.generate import Generate
    from hyperalign.programs.strategies import strategy
    from hyperalign.records import Sample
    from hyperalign.runs import RunFolder

    from .fit import fitted
    from .show import render_profile
    from .terminal import cost_table, reporter

    started = time.monotonic()
    people: list[Record] = [record for record in ShippedPopulation().records("") if isinstance(record, Sample)]
    records = [record for record in people if record.user == person]
    if not records:
        names = sorted({record.user for record in people})
        raise InputError(f"There is no example person {person!r}.", remedy=f"Choose one of: {', '.join(names)}.")
    console = Console()
    console.print(f"{len(records)} short pieces by {person}, compared with those of two other people.")
    console.print(
        f"The model is {models.model}; nothing leaves this machine.\n" if models.model.startswith("local:") else "",
        markup=False,
    )
    budget = Budget()
    run = RunFolder("demo", person, {**models.identity(), "scorer": scorer, "records": [r.id for r in records]})
    with reporter() as report:
        fit = fitted(records, ShippedPopulation(), models, scorer, 0, budget, run, report)
    console.print(render_profile(fit.profile))
    answers = {}
    with reporter() as report, budget.step("generate"):
        lm = models.connect(budget=budget, journal=run.journal)
        for number, name in enumerate(("none", "verified")):
            report("answer", number, 2)
            with dspy.context(lm=lm):
                answers[name] = Generate(strategy(name))(prompt=prompt, profile=fit.profile).answer
    _side_by_side(console, prompt, answers["none"], answers["verified"], fit.profile, records)
    console.print(cost_table(budget))
    console.print(
        f"\n{time.monotonic() - started:.0f} seconds in all; everything is in {run.path}", soft_wrap=True, markup=False
    )
    console.print("Next, your own: hyperalign infer FILES --user NAME", soft_wrap=True)


def _side_by_side(
    console: Console, prompt: str, without: str, with_profile: str, profile: Profile, records: list[Record]
) -> None:
    from rich.table import Table
    from rich.text import Text

    from hyperalign.evals.metrics.authorship import style_distance
    from hyperalign.records import own_text
    from hyperalign.text import longest_copied_run

    from .show import printable

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
    console.print(table)
