"""``hyperalign optimize``: better prompts for a step of the loop, found on an eval's people, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .optimize_cases import CALLS, People, examples_of, print_verdict, reported
from .options import (
    DEFAULT_OPTIONS,
    DryRun,
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ModelOptions,
    ScorerOption,
    SeedOption,
    model_options,
)

if TYPE_CHECKING:
    import dspy

    from hyperalign.budget import Budget, Usage
    from hyperalign.evals.steps import Step
    from hyperalign.programs.optimize.artifact import Artifact

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Search for better prompts of a step; show and report what was found.",
)

TaskOption = Annotated[str, typer.Option("--task", help="A task of 'eval list', or a JSONL file of your own people.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Where the task's data lie: a path, or OWNER/NAME on the hub.")
]
FormOption = Annotated[str | None, typer.Option("--form", help="Of AlignX's personas: pair, ugc, demo or all.")]
UsersOption = Annotated[int | None, typer.Option("--users", min=1, help="At most so many people, drawn by the seed.")]
CasesOption = Annotated[int | None, typer.Option("--cases", min=1, help="At most so many cases of each.")]
FolderArgument = Annotated[Path, typer.Argument(help="The folder of an optimized step.")]

STEPS = {
    "extract": "which says what a person prefers from their choices",
    "infer": "which says what sets a writer apart from their texts",
    "generate": "which answers as the person would",
    "choice": "which says which of two texts a statement fits, where a model gives no log-probabilities",
    "weigh": "which says how probable harm is, for 'deliberate'",
}
_ASKED = "run.json"


@dataclass(frozen=True)
class _Search:
    """What is searched, and how."""

    optimizer: str
    max_steps: int
    models: ModelOptions
    reflection: str | None
    scorer: str | None

    def identity(self) -> dict[str, Any]:
        """What decides what is found, as JSON-able data."""
        return {**{name: value for name, value in vars(self).items() if name != "models"}, **self.models.identity()}


def _command(step: str) -> Callable[..., None]:
    @model_options()
    def run(
        task: TaskOption,
        out: Annotated[Path, typer.Option("--out", help="The folder of the search, and of what it finds.")],
        data: DataOption = None,
        form: FormOption = None,
        users: UsersOption = None,
        cases: CasesOption = None,
        optimizer: Annotated[
            str, typer.Option("--optimizer", help="gepa, variants (written instructions), bootstrap or mipro.")
        ] = "gepa",
        max_steps: Annotated[int, typer.Option("--max-steps", min=1, help="Candidates that are tried, at most.")] = 8,
        models: ModelOptions = DEFAULT_OPTIONS,
        reflection: Annotated[
            str | None, typer.Option("--reflection", help="The model that writes instructions; --model if left out.")
        ] = None,
        scorer: ScorerOption = None,
        seed: SeedOption = 0,
        max_calls: MaxCalls = None,
        max_tokens: MaxTokens = None,
        max_usd: MaxUsd = None,
        resume: Annotated[bool, typer.Option("--resume", help="Only go on with a search that is there.")] = False,
        dry_run: DryRun = False,
    ) -> None:
        from hyperalign.budget import Budget

        people = People(task, data, form, users, cases, seed)
        asked = _Search(optimizer, max_steps, models, reflection, scorer)
        if dry_run:
            _estimate(step, people, asked)
        else:
            budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
            _run(step, people, asked, out, budget, resume=resume)

    return run


for _name, _about in STEPS.items():
    app.command(
        _name,
        short_help=f"Search for better prompts of '{_name}'.",
        help=f"Search for better prompts of '{_name}', {_about}. Half of the task's dev people are searched "
        "on, the others decide whether what was found is kept; its report people are not touched.",
    )(_command(_name))


@app.command()
def show(folder: FolderArgument) -> None:
    """Print exactly what an optimized step sends.

    Its inputs stand there as their names in braces.
    """
    from hyperalign.programs.optimize.artifact import read_artifact

    from .show import plain

    artifact = read_artifact(folder)
    for name, turns in artifact.sent.items():
        for turn in turns:
            typer.echo(f"--- {plain(name)}, {turn['role']}")
            typer.echo("\n".join(plain(line) for line in turn["content"].splitlines()))


@app.command()
@model_options()
def report(
    folder: FolderArgument,
    task: Annotated[str | None, typer.Option("--task", help="As of the search, whose is taken if left out.")] = None,
    data: DataOption = None,
    form: FormOption = None,
    users: UsersOption = None,
    cases: CasesOption = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draws; the search's if left out.")] = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what was found on report people.

    They are all whom the search's own task has and the search has not seen, where nobody else is asked for. Beside what
    was found, kept or not, the prompts as they were are measured. Under another --model than it was tuned for, this
    says whether it carries over.
    """
    import json

    from rich.console import Console

    from hyperalign.budget import Budget
    from hyperalign.programs.optimize.artifact import read_artifact

    from .terminal import cost_table

    artifact = read_artifact(folder)
    budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
    console = Console()
    people = _report_people(folder, People(task or "", data, form, users, cases, seed or 0), seeded=seed is not None)
    found, verdict = reported(artifact, folder, people, models, scorer, budget)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console.print(cost_table(budget))
    tuned = "the model that it was tuned for" if found["model"] == artifact.model else f"tuned for {artifact.model}"
    console.print(f"\n{found['task']}, report people, with {found['model']} ({tuned}):", soft_wrap=True, markup=False)
    if not verdict.compared:
        console.print(f"Nothing to compare: {verdict.reason}.", soft_wrap=True, markup=False)
    print_verdict(verdict, found["note"], console)
    if others := len(found["other_reports"]):
        console.print(
            f"{others} other report(s) lie in {folder}: figures of the first count.", soft_wrap=True, markup=False
        )


def _report_people(folder: Path, said: People, *, seeded: bool) -> People:
    """Whom a report is about: of the search's task, where no other one is named."""
    import json

    from hyperalign.errors import InputError

    file = folder / _ASKED
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not (said.task or before):
        raise InputError(
            f"{folder} does not say on what it was searched.", remedy="Give --task, and --data where it has some."
        )
    if said.task and said.task != before.get("task"):
        return said
    chosen = {name: value for name, value in asdict(said).items() if value}
    if seeded:
        chosen["seed"] = said.seed
    # Of a search's people there may be few; of those of its report there are never too many.
    asked: dict[str, Any] = {name: before.get(name) for name in asdict(said)} | {"users": None} | chosen
    return People(**asked)


def _run(step: str, people: People, asked: _Search, out: Path, budget: Budget, *, resume: bool) -> None:
    import json
    from contextlib import ExitStack

    from rich.console import Console

    from hyperalign.backends.models.connect import check_ready
    from hyperalign.evals.steps import step_named
    from hyperalign.files import alone_in, write_whole
    from hyperalign.programs.optimize.artifact import write_artifact
    from hyperalign.programs.optimize.search import check_search, search
    from hyperalign.runs import Journal

    from .session import choose_scorer
    from .terminal import cost_table, reporter

    what = step_named(step)
    found = examples_of(what, people, "dev")
    as_asked = {"step": step, **asdict(people), **asked.identity()}
    _check_same(out, as_asked, resume=resume)
    journal = Journal(out / CALLS)
    with reporter() as told, ExitStack() as held:
        lm = writer = asked.models.connect(budget=budget, journal=journal, progress=told.bytes)
        check_ready(lm)
        if asked.reflection:
            writer = asked.models.other(asked.reflection).connect(budget=budget, journal=journal, progress=told.bytes)
            check_ready(writer)
        begun: dict[str, Any] = {
            "trainset": found.examples,
            "optimizer": asked.optimizer,
            "lm": lm,
            "reflection": writer,
            "demos": what.shown(),
            "seed": people.seed,
        }
        check_search(what.build(), **begun)
        judge = choose_scorer(asked.scorer, asked.models.model, budget, told) if what.scored else None
        metric = what.metric(judge, found.texts)
        # What can't begin leaves nothing, so that the corrected command is not another search.
        held.enter_context(alone_in(out))
        write_whole(out / _ASKED, json.dumps(as_asked, indent=2) + "\n")
        artifact = search(
            what.build(),
            **begun,
            metric=metric,
            max_steps=asked.max_steps,
            budget=budget,
            step=step,
            task=found.task,
            progress=told,
        )
    artifact = artifact.model_copy(update={"sent": what.sent(_with(what, artifact)), "note": found.note})
    write_artifact(out, artifact)
    console = Console()
    console.print(cost_table(budget))
    verdict = artifact.verdict
    run = sum("refused" not in each for each in artifact.tried)
    console.print(f"\n{run} candidate(s) were tried on {len(artifact.users['train'])} people.")
    if artifact.refused:
        counts = ", ".join(f"{count} {why}" for why, count in artifact.refused.items())
        console.print(f"Proposals that were not tried: {counts}.", soft_wrap=True, markup=False)
    print_verdict(verdict, artifact.note, console)
    console.print(f"{'Kept' if verdict.kept else 'Not kept'}: {verdict.reason}.", soft_wrap=True, markup=False)
    console.print(f"Everything is in {out}; what changed is in changes.md.", soft_wrap=True, markup=False)


def _with(what: Step, artifact: Artifact) -> dspy.Module:
    from hyperalign.programs.optimize.artifact import apply

    program = what.build()
    apply(program, artifact.prompts)
    return program


def _check_same(out: Path, asked: dict[str, Any], *, resume: bool) -> None:
    """Whether a folder is free for a search, or holds the same one, to go on with."""
    import json

    from hyperalign.errors import InputError, NotFoundError

    file, calls = out / _ASKED, out / CALLS
    if not file.is_file():
        if resume:
            raise NotFoundError(f"There is no search in {out} to go on with.", remedy="Leave --resume out to begin.")
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    changed = sorted(name for name in asked if before.get(name) != asked[name])
    # A search without one answer, such as of a model that was not there, has nothing that another could spoil.
    if changed and (resume or (calls.is_file() and calls.stat().st_size)):
        raise InputError(
            f"The search in {out} was begun with another {', '.join(changed)}.",
            remedy="Give the same command to go on with it, or another --out.",
        )


def _expected(examples: Sequence[Any], answers: int) -> Usage:
    """What so many answers take, if each shows what an example does."""
    from hyperalign.budget import Usage
    from hyperalign.programs.cost_estimate import INSTRUCTION_TOKENS, PROPOSAL_TOKENS, TOKENS_PER_WORD

    words = sum(len(str(value).split()) for example in examples for value in example.inputs().values())
    each = INSTRUCTION_TOKENS + round(words * TOKENS_PER_WORD / max(1, len(examples)))
    return Usage(calls=answers, tokens_in=answers * each, tokens_out=answers * PROPOSAL_TOKENS)


def _estimate(step: str, people: People, asked: _Search) -> None:
    from hyperalign.evals.steps import step_named

    from .terminal import money_said, priced_steps

    examples = examples_of(step_named(step), people, "dev").examples
    half = len(examples) // 2
    most = 2 * (len(examples) - half) + half + asked.max_steps * (8 + half + 1)
    typer.echo(f"{len(examples)} example(s) of {len({e.user for e in examples})} people. Nothing was done.")
    typer.echo(
        f"  at most about {most:,} answers: half of the people are searched on, {asked.max_steps} candidate(s) tried"
    )
    resolve_model = priced_steps({"answers": _expected(examples, most)}, {"answers"}, asked.models)
    typer.echo(f"  {money_said(resolve_model, asked.models)}")
    if step_named(step).scored:
        typer.echo(f"  and up to {2 * most:,} readings of texts, which count as calls, for what they are judged by")
