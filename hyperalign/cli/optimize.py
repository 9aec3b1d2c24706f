"""``hyperalign optimize``: better prompts for a step of the loop, found on an eval's people, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    DEFAULT_MODEL,
    DryRun,
    JsonOption,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ModelOption,
    ScorerOption,
    SeedOption,
)

if TYPE_CHECKING:
    import dspy

    from hyperalign.budget import Budget
    from hyperalign.evals.cases import Part
    from hyperalign.evals.steps import Step
    from hyperalign.programs.optimizing.artifact import Artifact

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
_CALLS, _ASKED = "calls.jsonl", "run.json"


@dataclass(frozen=True)
class _People:
    """Whose cases."""

    task: str
    data: str | None
    form: str | None
    users: int | None
    cases: int | None
    seed: int


@dataclass(frozen=True)
class _Search:
    """What is searched, and how."""

    optimizer: str
    rounds: int
    model: str
    reflection: str | None
    scorer: str | None


def _command(step: str) -> Callable[..., None]:
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
        rounds: Annotated[int, typer.Option("--rounds", min=1, help="Candidates that are tried, at most.")] = 8,
        model: ModelOption = DEFAULT_MODEL,
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

        people = _People(task, data, form, users, cases, seed)
        asked = _Search(optimizer, rounds, model, reflection, scorer)
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
        help=f"Search for better prompts of '{_name}', {_about}. Half of the task's development people are searched "
        "on, the others decide whether what was found is kept; its report people are not touched.",
    )(_command(_name))


@app.command()
def show(folder: FolderArgument) -> None:
    """Print exactly what an optimized step sends.

    Its inputs stand there as their names in braces.
    """
    from hyperalign.programs.optimizing.artifact import read_artifact

    from .show import plain

    artifact = read_artifact(folder)
    for name, turns in artifact.sent.items():
        for turn in turns:
            typer.echo(f"--- {plain(name)}, {turn['role']}")
            typer.echo("\n".join(plain(line) for line in turn["content"].splitlines()))


@app.command()
def report(
    folder: FolderArgument,
    task: TaskOption,
    data: DataOption = None,
    form: FormOption = None,
    users: UsersOption = None,
    cases: CasesOption = None,
    model: ModelOption = DEFAULT_MODEL,
    scorer: ScorerOption = None,
    seed: SeedOption = 0,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what was found on report people.

    They are the task's own, whom no search has seen. Beside what was found, kept or not, the prompts as they were are
    measured. Under another --model than it was tuned for, this says whether it carries over.
    """
    import json

    from rich.console import Console

    from hyperalign.budget import Budget
    from hyperalign.programs.optimizing.artifact import read_artifact

    from .terminal import cost_table

    artifact = read_artifact(folder)
    budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
    found = _report(artifact, folder, _People(task, data, form, users, cases, seed), model, scorer, budget)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console = Console()
    console.print(cost_table(budget))
    tuned = "the model that it was tuned for" if found["model"] == artifact.model else f"tuned for {artifact.model}"
    console.print(f"\n{found['task']}, report people, with {found['model']} ({tuned}):", soft_wrap=True, markup=False)
    _table(found, console)


def _run(step: str, people: _People, asked: _Search, out: Path, budget: Budget, *, resume: bool) -> None:
    from rich.console import Console

    from hyperalign.backends.runtimes.connect import connect
    from hyperalign.evals.steps import step_named
    from hyperalign.programs.optimizing.artifact import write_artifact
    from hyperalign.programs.optimizing.search import search
    from hyperalign.runs import Journal

    from .session import choose_scorer
    from .terminal import cost_table, reporter

    what = step_named(step)
    name, examples, texts = _examples(what, people, "development")
    _open(out, {"step": step, **asdict(people), **asdict(asked)}, resume=resume)
    journal = Journal(out / _CALLS)
    with reporter() as told:
        lm = connect(asked.model, budget=budget, journal=journal, progress=told.bytes)
        judge = choose_scorer(asked.scorer, asked.model, budget, told) if what.scored else None
        writer = lm
        if asked.reflection:
            writer = connect(asked.reflection, budget=budget, journal=journal, progress=told.bytes)
        artifact = search(
            what.build(),
            trainset=examples,
            metric=what.metric(judge, texts),
            optimizer=asked.optimizer,
            lm=lm,
            reflection=writer,
            demos=what.shown(),
            rounds=asked.rounds,
            seed=people.seed,
            budget=budget,
            step=step,
            task=name,
            progress=told,
        )
    artifact = artifact.model_copy(update={"sent": what.sent(_with(what, artifact))})
    write_artifact(out, artifact)
    console = Console()
    console.print(cost_table(budget))
    verdict = artifact.verdict
    console.print(f"\n{len(artifact.tried)} candidate(s) were tried on {len(artifact.users['train'])} people.")
    _table(verdict.model_dump(), console)
    console.print(f"{'Kept' if verdict.kept else 'Not kept'}: {verdict.reason}.", soft_wrap=True, markup=False)
    console.print(f"Everything is in {out}; what changed is in changes.md.", soft_wrap=True, markup=False)


def _report(
    artifact: Artifact, folder: Path, people: _People, model: str, scorer: str | None, budget: Budget
) -> dict[str, Any]:
    import json
    from hashlib import sha256

    import dspy

    from hyperalign.backends.runtimes.connect import connect
    from hyperalign.evals.steps import step_named
    from hyperalign.files import write_whole
    from hyperalign.programs.optimizing.artifact import apply
    from hyperalign.programs.optimizing.verdict import decide
    from hyperalign.programs.optimizing.watched import Watched
    from hyperalign.runs import Journal

    from .session import choose_scorer
    from .terminal import reporter

    what = step_named(artifact.step)
    name, examples, texts = _examples(what, people, "report")
    asked = sha256(json.dumps([model, scorer, asdict(people)]).encode()).hexdigest()[:8]
    with reporter() as told:
        lm = connect(model, budget=budget, journal=Journal(folder / f"report-{asked}-{_CALLS}"), progress=told.bytes)
        judge = choose_scorer(scorer, model, budget, told) if what.scored else None
        metric = Watched(what.metric(judge, texts), progress=told)
        before, after = what.build(), what.build()
        apply(before, artifact.before, where=str(folder))
        apply(after, artifact.found, where=str(folder))
        with dspy.context(lm=lm), budget.step("report"):
            verdict = decide(metric.measure(before, examples), metric.measure(after, examples), [])
    found = {"task": name, "model": str(lm.model), **verdict.model_dump(exclude={"kept", "reason"})}
    write_whole(folder / f"report-{asked}.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return found


def _examples(what: Step, people: _People, part: Part) -> tuple[str, list[dspy.Example], dict[str, list[str]]]:
    """A task's name, the examples of some of its people, and texts by user."""
    from hyperalign.evals.others import OtherPeople
    from hyperalign.evals.plan import Plan, drawn
    from hyperalign.evals.tasks import load_task

    task = load_task(people.task, data=people.data, form=people.form)
    chosen = drawn(task, Plan(part=part, users=people.users, cases_each=people.cases, seed=people.seed))
    others = OtherPeople(task.cases(seed=people.seed), chosen)
    texts = {user: list(theirs) for user, theirs in task.texts().items()} if hasattr(task, "texts") else {}
    return task.name, what.examples(chosen, others), texts


def _with(what: Step, artifact: Artifact) -> dspy.Module:
    from hyperalign.programs.optimizing.artifact import apply

    program = what.build()
    apply(program, artifact.prompts)
    return program


def _open(out: Path, asked: dict[str, Any], *, resume: bool) -> None:
    """Begin a search in a folder, or go on with the same one."""
    import json

    from hyperalign.errors import InputError, NotFoundError
    from hyperalign.files import write_whole

    file = out / _ASKED
    if not file.is_file():
        if resume:
            raise NotFoundError(f"There is no search in {out} to go on with.", remedy="Leave --resume out to begin.")
        write_whole(file, json.dumps(asked, indent=2) + "\n")
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    if changed := sorted(name for name in asked if before.get(name) != asked[name]):
        raise InputError(
            f"The search in {out} was begun with another {', '.join(changed)}.",
            remedy="Give the same command to go on with it, or another --out.",
        )


def _estimate(step: str, people: _People, asked: _Search) -> None:
    from hyperalign.evals.steps import step_named

    _, examples, _ = _examples(step_named(step), people, "development")
    half = len(examples) // 2
    most = 2 * (len(examples) - half) + half + asked.rounds * (8 + half + 1)
    typer.echo(f"{len(examples)} example(s) of {len({e.user for e in examples})} people. Nothing was done.")
    typer.echo(f"  at most about {most:,} calls: half of the people are searched on, {asked.rounds} candidate(s) tried")


def _table(found: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    table = Table("", "before", "after", "difference", box=None, padding=(0, 2, 0, 0))
    reach = f"{found['difference']:+.3f} (95 %: {found['low']:+.3f} to {found['high']:+.3f})"
    table.add_row(f"score, {found['people']} people", f"{found['before']:.3f}", f"{found['after']:.3f}", reach)
    longer = found["tokens_after"] / found["tokens_before"] if found["tokens_before"] else 1.0
    table.add_row(
        "tokens an answer", f"{found['tokens_before']:.0f}", f"{found['tokens_after']:.0f}", f"{longer:.2f} times"
    )
    console.print(table)
    console.print(
        f"So many people would have shown a difference of {found['detectable']:.3f} in four of five searches.",
        soft_wrap=True,
        markup=False,
    )
