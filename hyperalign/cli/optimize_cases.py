"""What the searches and the report of ``hyperalign optimize`` share: the task's examples, and how to show a verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import echo

if TYPE_CHECKING:
    import dspy

    from hyperalign.budget import Budget
    from hyperalign.evals.cases import Case, Split
    from hyperalign.evals.steps import Step
    from hyperalign.programs.optimize.artifact import Artifact, Verdict

    from .options import ModelOptions

__all__ = ["CALLS", "People", "TaskExamples", "examples_of", "print_verdict", "report_on"]

CALLS = "calls.jsonl"
_LEAST_REPORTED = 2
_LEAST_TEXTS = 4


@dataclass(frozen=True)
class People:
    """Which people and cases of a task, as the options have it."""

    task: str
    data: str | None
    form: str | None
    users: int | None
    cases: int | None
    seed: int


@dataclass(frozen=True)
class TaskExamples:
    """Examples of a step from one split of a task.

    Attributes:
        task: name of the task.
        examples: the examples.
        texts: by user of the split, those that no profile of the examples is made from; all of a user with few others.
        note: what a reader of the figures must know.
    """

    task: str
    examples: list[dspy.Example]
    texts: dict[str, list[str]]
    note: str


def examples_of(what: Step, people: People, split: Split, without: Collection[str] = ()) -> TaskExamples:
    """Make examples of a step from a task.

    Args:
        what: the step.
        people: which people and cases.
        split: of the people.
        without: people to leave out, because a search has seen them.

    Raises:
        InputError: the test split has fewer than two people left.
    """
    from hyperalign.errors import InputError
    from hyperalign.evals.plan import Plan, TaskPopulation, sample_cases
    from hyperalign.evals.tasks import load_task

    task = load_task(people.task, data=people.data, form=people.form)
    chosen = sample_cases(task, Plan(split=split, users=people.users, cases_each=people.cases, seed=people.seed))
    # The reference population is of the same split, so that a search never sees people of its report.
    others = TaskPopulation((case for case in task.cases(seed=people.seed) if case.split == split), chosen)
    of_split = {case.user for case in task.cases(seed=people.seed) if case.split == split}
    texts = _texts_of(task.texts(), chosen, of_split) if hasattr(task, "texts") else {}
    # A user with the same records as one who was seen, in any order, was seen too.
    seen = {_contents(case) for case in task.cases(seed=people.seed) if case.user in without}
    met = {*without, *(case.user for case in chosen if _contents(case) in seen)}
    examples = [example for example in what.examples(chosen, others) if str(example.user) not in met]
    if split == "test" and len({str(example.user) for example in examples}) < _LEAST_REPORTED:
        raise InputError(
            f"{people.task} has fewer than {_LEAST_REPORTED} test people whom the search has not seen.",
            remedy="Give another --task or --data, or more --users.",
        )
    return TaskExamples(task.name, examples, texts, task.note())


def _texts_of(
    texts: Mapping[str, Sequence[str]], cases: Sequence[Case], users: Collection[str]
) -> dict[str, list[str]]:
    """What a metric of authorship learns from: texts of a split's people, and none that the cases show."""
    from hyperalign.records import own_text

    shown = {own_text(record) for case in cases for record in case.records}
    theirs = {user: list(texts[user]) for user in texts if user in users}
    rest = {user: [text for text in some if text not in shown] for user, some in theirs.items()}
    return {user: rest[user] if len(rest[user]) >= _LEAST_TEXTS else some for user, some in theirs.items()}


def _contents(case: Case) -> frozenset[tuple[str, str | None]]:
    """The case's records, without their order."""
    from hyperalign.records import other_text, own_text

    return frozenset((own_text(record), other_text(record)) for record in case.records)


def report_on(
    artifact: Artifact, folder: Path, people: People, models: ModelOptions, scorer: str | None, budget: Budget
) -> tuple[dict[str, Any], Verdict]:
    """Measure the result of a search on test people, and write the report into the search's folder.

    Args:
        artifact: the result of the search.
        folder: the search's folder.
        people: which people and cases.
        models: the model that runs the step.
        scorer: the value of ``--scorer``.
        budget: counts the usage.

    Returns:
        The figures as they are written, and the verdict.

    Raises:
        InputError: the task has fewer than two people whom the search has not seen.
        HyperalignError: the model cannot be used, a cap was reached, or another process works in the folder.
    """
    import json
    from hashlib import sha256

    import dspy

    from hyperalign.backends.models.connect import check_ready
    from hyperalign.evals.steps import step_named
    from hyperalign.files import lock_folder, write_whole
    from hyperalign.programs.optimize.artifact import apply, same_prompts
    from hyperalign.programs.optimize.metric import GuardedMetric
    from hyperalign.programs.optimize.verdict import compare_examples, decide, decide_unchanged
    from hyperalign.runs import Journal, track_cost

    from .session import choose_scorer
    from .terminal import reporter

    what = step_named(artifact.step)
    held = examples_of(what, people, "test", without={user for users in artifact.users.values() for user in users})
    asked = sha256(json.dumps([models.identity(), scorer, asdict(people)]).encode()).hexdigest()[:8]
    with lock_folder(folder), track_cost(folder, budget), reporter() as told:
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
        # Each further report is another chance of a good figure.
        "other_reports": _others(folder, file, str(lm.model)),
        "examples": compare_examples(was, now),
    }
    write_whole(file, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return found, verdict


def _others(folder: Path, file: Path, model: str) -> list[str]:
    """Names of the other reports of the same model. A report of another model answers another question."""
    import json

    found = [path for path in sorted(folder.glob("report-*.json")) if path != file]
    return [path.name for path in found if json.loads(path.read_text(encoding="utf-8")).get("model") == model]


def print_verdict(verdict: Verdict, note: str) -> None:
    """Print the scores before and after, the power of the comparison, and the note on the people."""
    from .terminal import make_table, print_rich

    table = make_table("", "before", "after", "difference")
    score, tokens = [f"{verdict.before:.3f}", "", ""], [f"{verdict.tokens_before:.0f}", "", ""]
    if verdict.compared:
        reach = f"{verdict.difference:+.3f} (95 %: {verdict.low:+.3f} to {verdict.high:+.3f})"
        longer = verdict.tokens_after / verdict.tokens_before if verdict.tokens_before else 1.0
        score[1:] = f"{verdict.after:.3f}", reach
        tokens[1:] = f"{verdict.tokens_after:.0f}", f"{longer:.2f} times"
    table.add_row(f"score, {verdict.people} people", *score)
    table.add_row("tokens an answer", *tokens)
    print_rich(table)
    for said in filter(None, (verdict.power, note)):
        echo(said)
