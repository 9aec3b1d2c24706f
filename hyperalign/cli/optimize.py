"""``hyperalign optimize``: search for better prompts of a step on the people of an eval task, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .optimize_cases import CALLS, People, examples_of, print_verdict, report_on
from .options import (
    DEFAULT_OPTIONS,
    MAX_SEED,
    DataOption,
    DryRun,
    FormOption,
    JsonOption,
    ModelOptions,
    ScorerOption,
    SeedOption,
    model_options,
)
from .terminal import echo

if TYPE_CHECKING:
    import dspy

    from hyperalign.budget import Usage
    from hyperalign.evals.steps import Step
    from hyperalign.programs.optimize.artifact import Artifact

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Search for better prompts of a step, show them and report on them.",
)

UsersOption = Annotated[int | None, typer.Option("--users", min=1, help="At most this many people, sampled.")]
CasesOption = Annotated[int | None, typer.Option("--cases", min=1, help="At most this many cases per person.")]
FolderArgument = Annotated[Path, typer.Argument(help="Folder of an optimized step.")]

STEPS = {
    "extract": "which proposes what a user prefers, from their choices",
    "infer": "which proposes what sets a writer apart, from their texts",
    "generate": "which answers as the user would",
    "choice": "which says which of two texts a statement fits, for models without log-probabilities",
    "weigh": "which estimates how probable harm is, for 'deliberate'",
}
_INPUTS = "run.json"


@dataclass(frozen=True)
class _Search:
    """How to search."""

    optimizer: str
    max_steps: int
    models: ModelOptions
    reflection: str | None
    scorer: str | None

    def identity(self) -> dict[str, Any]:
        """The values that decide the result, as JSON-able data."""
        return {**{name: value for name, value in vars(self).items() if name != "models"}, **self.models.identity()}


def _command(step: str) -> Callable[..., None]:
    @model_options()
    def run(
        task: Annotated[str, typer.Option("--task", help="A task of 'eval list', or a JSONL file of your own people.")],
        out: Annotated[Path, typer.Option("--out", help="Folder for the search and its result.")],
        data: DataOption = None,
        form: FormOption = None,
        users: UsersOption = None,
        cases: CasesOption = None,
        optimizer: Annotated[
            str, typer.Option("--optimizer", help="gepa, variants (prewritten instructions), bootstrap or mipro.")
        ] = "gepa",
        max_steps: Annotated[int, typer.Option("--max-steps", min=1, help="At most this many candidates.")] = 8,
        models: ModelOptions = DEFAULT_OPTIONS,
        reflection: Annotated[
            str | None, typer.Option("--reflection", help="Model that writes instructions. Default: --model.")
        ] = None,
        scorer: ScorerOption = None,
        seed: SeedOption = 0,
        resume: Annotated[bool, typer.Option("--resume", help="Fail unless --out holds a search to resume.")] = False,
        dry_run: DryRun = False,
    ) -> None:
        people = People(task, data, form, users, cases, seed)
        asked = _Search(optimizer, max_steps, models, reflection, scorer)
        if dry_run:
            _print_estimate(step, people, asked)
        else:
            _run(step, people, asked, out, resume=resume)

    return run


for _name, _about in STEPS.items():
    app.command(
        _name,
        short_help=f"Search for better prompts of '{_name}'.",
        help=f"Search for better prompts of '{_name}', {_about}.\n\nIt searches on half of the task's dev people; the "
        "other half decides whether the result is kept. It does not touch the test people.",
    )(_command(_name))


@app.command()
def show(folder: FolderArgument) -> None:
    """Print the messages that an optimized step sends, with its inputs as {names}."""
    from hyperalign.programs.optimize.artifact import read_artifact
    from hyperalign.text import plain

    artifact = read_artifact(folder)
    for name, turns in artifact.sent.items():
        for turn in turns:
            echo(f"--- {plain(name)}, {turn['role']}")
            echo("\n".join(plain(line) for line in turn["content"].splitlines()))


@app.command()
@model_options()
def report(
    folder: FolderArgument,
    task: Annotated[str | None, typer.Option("--task", help="A task. Default: the task of the search.")] = None,
    data: DataOption = None,
    form: FormOption = None,
    users: UsersOption = None,
    cases: CasesOption = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    scorer: ScorerOption = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=MAX_SEED, help="Seed of the sample. Default: the search's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the prompts that were found with those before, on test people that the search has not seen.

    With another --model than the one they were tuned for, this tells whether they transfer.
    """
    from hyperalign.programs.optimize.artifact import read_artifact

    from .terminal import cost_table, print_json, print_rich

    artifact = read_artifact(folder)
    budget = models.new_budget()
    people = _report_people(folder, People(task or "", data, form, users, cases, seed or 0), seeded=seed is not None)
    found, verdict = report_on(artifact, folder, people, models, scorer, budget)
    if as_json:
        print_json(found)
        return
    print_rich(cost_table(budget))
    tuned = "the model that it was tuned for" if found["model"] == artifact.model else f"tuned for {artifact.model}"
    echo(f"\n{found['task']}, test people, with {found['model']} ({tuned}):")
    if not verdict.compared:
        echo(f"Nothing to compare: {verdict.reason}.")
    print_verdict(verdict, found["note"])
    if others := len(found["other_reports"]):
        echo(f"{others} other report(s) lie in {folder}: figures of the first count.")


def _report_people(folder: Path, said: People, *, seeded: bool) -> People:
    """The people to report on: those of the search's task, unless another task is named."""
    import json

    from hyperalign.errors import InputError

    file = folder / _INPUTS
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
    # A search may be limited to few people. A report takes all unless --users is given.
    asked: dict[str, Any] = {name: before.get(name) for name in asdict(said)} | {"users": None} | chosen
    return People(**asked)


def _run(step: str, people: People, asked: _Search, out: Path, *, resume: bool) -> None:
    from contextlib import ExitStack

    from hyperalign.backends.models.connect import check_ready
    from hyperalign.evals.steps import step_named
    from hyperalign.files import lock_folder, write_whole
    from hyperalign.programs.optimize.artifact import write_artifact
    from hyperalign.programs.optimize.search import check_search, search
    from hyperalign.programs.replies import tally_answers
    from hyperalign.runs import Journal, track_cost

    from .session import choose_scorer
    from .terminal import cost_table, json_text, print_rich, report_undecided, reporter

    what = step_named(step)
    found = examples_of(what, people, "dev")
    inputs = {"step": step, **asdict(people), **asked.identity()}
    _check_same(out, inputs, resume=resume)
    journal, budget = Journal(out / CALLS), asked.models.new_budget()
    with reporter() as told, ExitStack() as held:
        lm = writer = asked.models.connect(budget=budget, journal=journal, progress=told.bytes)
        check_ready(lm)
        if asked.reflection:
            writer = asked.models.other(asked.reflection).connect(budget=budget, journal=journal, progress=told.bytes)
            check_ready(writer)
        given: dict[str, Any] = {
            "trainset": found.examples,
            "optimizer": asked.optimizer,
            "lm": lm,
            "reflection": writer,
            "demos": what.shown(),
            "seed": people.seed,
        }
        check_search(what.build(), **given)
        judge = choose_scorer(asked.scorer, asked.models.model, budget, told) if what.scored else None
        metric = what.metric(judge, found.texts)
        # A search that cannot begin writes nothing, so that the corrected command is not taken for another search.
        held.enter_context(lock_folder(out))
        held.enter_context(track_cost(out, budget))
        write_whole(out / _INPUTS, json_text(inputs) + "\n")
        # An instruction may spoil the answers of its own trials alone.
        tally = held.enter_context(tally_answers(ends=False))
        artifact = search(
            what.build(),
            **given,
            metric=metric,
            max_steps=asked.max_steps,
            budget=budget,
            step=step,
            task=found.task,
            progress=told,
        )
    artifact = artifact.model_copy(update={"sent": what.sent(_with(what, artifact)), "note": found.note})
    write_artifact(out, artifact)
    print_rich(cost_table(budget))
    report_undecided(tally.asked, tally.undecided)
    verdict = artifact.verdict
    run = sum("refused" not in each for each in artifact.tried)
    echo(f"\n{run} candidate(s) were tried on {len(artifact.users['train'])} people.")
    if artifact.refused:
        counts = ", ".join(f"{count} {why}" for why, count in artifact.refused.items())
        echo(f"Proposals that were not tried: {counts}.")
    print_verdict(verdict, artifact.note)
    echo(f"{'Kept' if verdict.kept else 'Not kept'}: {verdict.reason}.")
    echo(f"Everything is in {out}; what changed is in changes.md.")


def _with(what: Step, artifact: Artifact) -> dspy.Module:
    from hyperalign.programs.optimize.artifact import apply

    program = what.build()
    apply(program, artifact.prompts)
    return program


def _check_same(out: Path, asked: dict[str, Any], *, resume: bool) -> None:
    """Check that a folder is free for a search, or holds the same search to resume.

    Raises:
        NotFoundError: ``resume`` is set, and there is no search.
        InputError: the folder holds a search with other inputs.
    """
    import json

    from hyperalign.errors import InputError, NotFoundError

    file, calls = out / _INPUTS, out / CALLS
    if not file.is_file():
        if resume:
            raise NotFoundError(f"There is no search in {out} to go on with.", remedy="Leave --resume out to begin.")
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    changed = sorted(name for name in asked if before.get(name) != asked[name])
    # A search without an answer, such as of a model that was not there, may be replaced.
    if changed and (resume or (calls.is_file() and calls.stat().st_size)):
        raise InputError(
            f"The search in {out} was begun with another {', '.join(changed)}.",
            remedy="Give the same command to go on with it, or another --out.",
        )


def _expected(examples: Sequence[Any], answers: int) -> Usage:
    """Usage of a number of answers, if each prompt is as long as an example."""
    from hyperalign.budget import Usage
    from hyperalign.programs.cost_estimate import INSTRUCTION_TOKENS, PROPOSAL_TOKENS, TOKENS_PER_WORD

    words = sum(len(str(value).split()) for example in examples for value in example.inputs().values())
    each = INSTRUCTION_TOKENS + round(words * TOKENS_PER_WORD / max(1, len(examples)))
    return Usage(calls=answers, tokens_in=answers * each, tokens_out=answers * PROPOSAL_TOKENS)


def _print_estimate(step: str, people: People, asked: _Search) -> None:
    from hyperalign.evals.steps import step_named

    from .terminal import describe_cost, price_steps

    examples = examples_of(step_named(step), people, "dev").examples
    half = len(examples) // 2
    most = 2 * (len(examples) - half) + half + asked.max_steps * (8 + half + 1)
    echo(f"{len(examples)} example(s) of {len({e.user for e in examples})} people. Nothing was done.")
    echo(f"  at most about {most:,} answers: half of the people are searched on, {asked.max_steps} candidate(s) tried")
    priced = price_steps({"answers": _expected(examples, most)}, {"answers"}, asked.models)
    echo(f"  {describe_cost(priced, asked.models)}")
    if step_named(step).scored:
        echo(f"  and up to {2 * most:,} readings of texts, which count as calls, to score them")
