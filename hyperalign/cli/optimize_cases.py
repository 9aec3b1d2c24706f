"""What ``hyperalign optimize`` and its report have in common: whose cases, and how a verdict is shown.

Everything heavy is loaded where it is used. This file searches nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dspy

    from hyperalign.budget import Budget
    from hyperalign.evals.cases import Case, Split
    from hyperalign.evals.steps import Step
    from hyperalign.programs.optimize.artifact import Artifact, Verdict

    from .options import ModelOptions

__all__ = ["CALLS", "Asked", "People", "examples_of", "print_verdict", "reported"]

CALLS = "calls.jsonl"
_LEAST_REPORTED = 2


@dataclass(frozen=True)
class People:
    """Whose cases."""

    task: str
    data: str | None
    form: str | None
    users: int | None
    cases: int | None
    seed: int


@dataclass(frozen=True)
class Asked:
    """A part of a task's people: its name, examples, texts by user, and what a reader of figures must know of it."""

    task: str
    examples: list[dspy.Example]
    texts: dict[str, list[str]]
    note: str


def examples_of(what: Step, people: People, split: Split, without: Collection[str] = ()) -> Asked:
    """What some of a task's people are asked.

    Args:
        what: the step.
        people: whose cases.
        part: which of them.
        without: people who take no part, as they were searched on.

    Raises:
        InputError: fewer than two are left.
    """
    from hyperalign.errors import InputError
    from hyperalign.evals.plan import Plan, TaskPopulation, sample_cases
    from hyperalign.evals.tasks import load_task

    task = load_task(people.task, data=people.data, form=people.form)
    chosen = sample_cases(task, Plan(split=split, users=people.users, cases_each=people.cases, seed=people.seed))
    # Nobody is held against people of the other part: those of a search would have met those of its report.
    others = TaskPopulation((case for case in task.cases(seed=people.seed) if case.split == split), chosen)
    texts = {user: list(theirs) for user, theirs in task.texts().items()} if hasattr(task, "texts") else {}
    # Who has the very records of somebody who was searched on, if in another order, is no other person.
    seen = {_contents(case) for case in task.cases(seed=people.seed) if case.user in without}
    met = {*without, *(case.user for case in chosen if _contents(case) in seen)}
    examples = [example for example in what.examples(chosen, others) if str(example.user) not in met]
    if split == "test" and len({str(example.user) for example in examples}) < _LEAST_REPORTED:
        raise InputError(
            f"{people.task} has fewer than {_LEAST_REPORTED} report people whom the search has not seen.",
            remedy="Give another --task or --data, or more --users.",
        )
    return Asked(task.name, examples, texts, task.note())


def _contents(case: Case) -> frozenset[tuple[str, str | None]]:
    """A person's records without their order."""
    from hyperalign.records import other_text, own_text

    return frozenset((own_text(record), other_text(record)) for record in case.records)


def reported(
    artifact: Artifact, folder: Path, people: People, models: ModelOptions, scorer: str | None, budget: Budget
) -> tuple[dict[str, Any], Verdict]:
    """Measure what a search found, on report people, and write it into the search's folder.

    Args:
        artifact: of the search.
        folder: where it lies.
        people: whose cases.
        models: what the step runs on.
        scorer: as ``--scorer`` has it.
        budget: what is booked in.

    Returns:
        The figures as they are written, and the verdict.

    Raises:
        InputError: the task has fewer than two people whom the search has not seen.
        HyperalignError: the model can't be used, a cap was reached, or another process is at work in the folder.
    """
    import json
    from hashlib import sha256

    import dspy

    from hyperalign.backends.models.connect import check_ready
    from hyperalign.evals.steps import step_named
    from hyperalign.files import alone_in, write_whole
    from hyperalign.programs.optimize.artifact import apply, same_prompts
    from hyperalign.programs.optimize.metric import GuardedMetric
    from hyperalign.programs.optimize.verdict import compare_examples, decide, decide_unchanged
    from hyperalign.runs import Journal

    from .session import choose_scorer
    from .terminal import reporter

    what = step_named(artifact.step)
    held = examples_of(what, people, "test", without={user for users in artifact.users.values() for user in users})
    asked = sha256(json.dumps([models.identity(), scorer, asdict(people)]).encode()).hexdigest()[:8]
    with alone_in(folder), reporter() as told:
        journal = Journal(folder / f"report-{asked}-{CALLS}")
        lm = models.connect(budget=budget, journal=journal, progress=told.bytes)
        check_ready(lm)
        judge = choose_scorer(scorer, models.model, budget, told) if what.scored else None
        metric = GuardedMetric(what.metric(judge, held.texts), progress=told)
        before, after = what.build(), what.build()
        apply(before, artifact.before, where=str(folder))
        apply(after, artifact.found, where=str(folder))
        with dspy.context(lm=lm), budget.step("report"):
            was = metric.measure(before, held.examples)
            if same_prompts(artifact.found, artifact.before):
                now = was
                verdict = decide_unchanged(was, "the search found no other prompts than those that were there")
            else:
                now = metric.measure(after, held.examples)
                verdict = decide(was, now, [])
    figures = verdict.model_dump(exclude={"kept", "reason"})
    file = folder / f"report-{asked}.json"
    found = {
        "task": held.task,
        "model": str(lm.model),
        "asked": asdict(people),
        "note": held.note,
        **figures,
        "power": verdict.power,
        # Whoever reports until it looks well has looked often.
        "other_reports": _others(folder, file, str(lm.model)),
        "examples": compare_examples(was, now),
    }
    write_whole(file, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return found, verdict


def _others(folder: Path, file: Path, model: str) -> list[str]:
    """The names of other reports of the same model: under another one it is another question."""
    import json

    found = [path for path in sorted(folder.glob("report-*.json")) if path != file]
    return [path.name for path in found if json.loads(path.read_text(encoding="utf-8")).get("model") == model]


def print_verdict(verdict: Verdict, note: str, console: Any) -> None:
    """Print before and after, what could have been seen, and what a reader must know of the people."""
    from rich.table import Table

    table = Table("", "before", "after", "difference", box=None, padding=(0, 2, 0, 0))
    score, tokens = [f"{verdict.before:.3f}", "", ""], [f"{verdict.tokens_before:.0f}", "", ""]
    if verdict.compared:
        reach = f"{verdict.difference:+.3f} (95 %: {verdict.low:+.3f} to {verdict.high:+.3f})"
        longer = verdict.tokens_after / verdict.tokens_before if verdict.tokens_before else 1.0
        score[1:] = f"{verdict.after:.3f}", reach
        tokens[1:] = f"{verdict.tokens_after:.0f}", f"{longer:.2f} times"
    table.add_row(f"score, {verdict.people} people", *score)
    table.add_row("tokens an answer", *tokens)
    console.print(table)
    for said in filter(None, (verdict.power, note)):
        console.print(said, soft_wrap=True, markup=False)
