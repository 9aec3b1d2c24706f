"""The whole way from people and prompts to an adapter: ask, sift, split, train, seal.

Everything that a run did lies in its folder: the traces, the rows, the losses, what went and why. A run that was
stopped goes on where it was. This file is the order of the steps; each step is a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hyperalign import __version__
from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError
from hyperalign.files import alone_in, write_whole
from hyperalign.profile import Profile
from hyperalign.programs.strategies import strategy

from .adapters import Adapter, Card, Verdict, check_base, check_tokenizer, open_adapter, recard, seal, sealed
from .collect import METRICS, Teacher, collect, unanswered
from .curve import as_picture
from .dataset import Scope, TrainingRow, export, rows, split_of
from .gate import Terms, judge
from .recipe import ANSWERED, Hardware, Recipe
from .student import Student, check_turns
from .traces import Kept, Trace, TraceFilter, profile_hash
from .train import losses, train

__all__ = ["Distillation", "Split", "distill", "gate", "split_prompts"]

_Training = Mapping[str, float | None]
_RUN, _SPLIT, _PEOPLE = "training", "split.json", "people.json"


@dataclass(frozen=True)
class Split:
    """Prompts by split; each is in one split alone, for all people.

    Attributes:
        train: learned from.
        validation: watched while training.
        test: kept for the gate, and never trained on.
    """

    train: list[str]
    validation: list[str]
    test: list[str]


@dataclass(frozen=True)
class Distillation:
    """What is asked for.

    Attributes:
        name: what the adapter is served as.
        profiles: the people, one profile each.
        prompts: what the teacher is asked.
        student: who learns.
        recipe: how.
        scope: what the student is told of the person.
        sieve: which answers may teach.
        terms: what the gate will ask for: declared before training, and not changed after it.
    """

    name: str
    profiles: Sequence[Profile]
    prompts: Sequence[str]
    student: Student
    recipe: Recipe
    scope: Scope = field(default_factory=Scope)
    sieve: TraceFilter = field(default_factory=TraceFilter)
    terms: Terms = field(default_factory=Terms)

    def __post_init__(self) -> None:
        users = [profile.user for profile in self.profiles]
        if not users:
            raise InputError("There is nobody to distill.", remedy="Name profiles, or people in the store.")
        if len(set(users)) < len(users):
            raise InputError("Two profiles are of one person.", remedy="Give one profile a person.")
        if self.scope.kind == "person" and len(users) > 1:
            raise InputError(
                f"An adapter of scope 'person' is one person's, and these are {len(users)}.",
                remedy="Give one profile, or --scope tag, prefix or program.",
            )


def split_prompts(prompts: Sequence[str]) -> Split:
    """Split prompts by their own words; the same prompt is always in the same split."""
    split = Split([], [], [])
    for prompt in dict.fromkeys(prompts):
        getattr(split, split_of(prompt)).append(prompt)
    return split


def distill(
    asked: Distillation,
    teacher: Teacher,
    folder: Path,
    *,
    judge: Student | None = None,
    budget: Budget | None = None,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> Adapter:
    """Make an adapter; given again after a stop, it goes on.

    Args:
        asked: what is asked for.
        teacher: who answers.
        folder: of the adapter; the run's own files lie in ``training`` under it.
        judge: whose weights judge the student's own words, in ``on-policy``.
        budget: where the teacher's calls are booked.
        hardware: where to train; what is found, if None.
        progress: told of each step.

    Returns:
        The adapter, whole, and not judged yet.

    Raises:
        InputError: there are too few prompts, or no answer may teach.
        ModelError: the teacher or the student can't be used.
        BudgetExceededError: a cap was reached; what was answered is kept.
        MissingExtraError: the 'train' extra is not installed.
        TrainingError: training went wrong.
        StorageError: the disk is full or not writable, or another process is at work in the folder.
    """
    run = folder / _RUN
    _refuse_what_is_no_run(folder)
    split = split_prompts(asked.prompts)
    if not split.train or not split.test:
        what = "train on" if not split.train else "judge the adapter by: none of them is kept from training"
        raise InputError(f"{len(asked.prompts)} prompt(s) are too few to {what}.", remedy="Give at least thirty.")
    check_turns(asked.student)
    taught = split.train + split.validation
    with alone_in(run):
        if asked.recipe.method in ANSWERED:
            answered = collect(teacher, asked.profiles, taught, run / "traces.jsonl", budget=budget, progress=progress)
            kept = asked.sieve(answered)
        else:
            answered = unanswered(teacher, asked.profiles, taught)
            kept = Kept(answered, {})
        _report(run, kept, split)
        if not kept.traces:
            raise InputError(
                f"None of {len(answered)} answer(s) may teach: {_reasons(kept)}.",
                remedy=f"See {run / 'traces.jsonl'}; a lower --threshold or another --teacher may help.",
            )
        parts = {
            part: [trace for trace in kept.traces if split_of(trace.prompt) == part] for part in ("train", "validation")
        }
        made = rows(parts["train"], asked.scope, asked.recipe.method)
        watched = _rows_if_any(parts["validation"], asked)
        export(made, run / "rows.jsonl")
        # The gate asks for these people again; they are as private as the adapter is.
        people = [json.loads(profile.to_json()) for profile in asked.profiles]
        write_whole(run / _PEOPLE, json.dumps(people, ensure_ascii=False))
        trained = train(
            asked.student,
            made,
            asked.recipe,
            run,
            validation=watched,
            teacher=judge,
            hardware=hardware,
            progress=progress,
        )
        write_whole(run / "losses.svg", as_picture(losses(run)))
        training = {
            "rows": len(made),
            "validation_rows": len(watched),
            "cut": trained.lengths.cut,
            "lost": trained.lengths.lost,
            "steps": trained.steps,
            "first_loss": trained.first_loss,
            "last_loss": trained.last_loss,
            "peak_memory": trained.peak_memory,
            "validation_loss": trained.validation_loss,
            "seconds": round(trained.seconds, 1),
        }
        card = _card(asked, teacher, judge, kept.dropped, training)
        return sealed(folder, trained.weights, card) or seal(trained.weights, folder, card)


def gate(folder: Path, student: Student, progress: Progress | None = None) -> Verdict:
    """Judge an adapter on the prompts that were kept from its training, and write the verdict on its card.

    Args:
        folder: of the adapter, with the files of its training.
        student: its base.
        progress: told of each part.

    Raises:
        InputError: its training kept no prompts, or the base is another one.
        NotFoundError: there is no adapter.
        TrainingError: the adapter is not whole, or fits no layer of its base.
        MissingExtraError: the 'train' extra is not installed.
        StorageError: another process is at work in the folder, or it can't be written.
    """
    adapter = open_adapter(folder)
    card = adapter.card
    check_base(card, student)
    check_tokenizer(adapter, student.path)
    try:
        prompts = json.loads((folder / _RUN / _SPLIT).read_text(encoding="utf-8"))["prompts"]["test"]
        people = json.loads((folder / _RUN / _PEOPLE).read_text(encoding="utf-8"))
        profiles = [Profile.from_json(json.dumps(person), where=_PEOPLE) for person in people]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"What {folder} was distilled from is not there any more.",
            remedy=f"Keep its '{_RUN}' folder until the gate was asked, or distill it again.",
        ) from error
    if {profile.user: profile_hash(profile) for profile in profiles} != dict(card.profiles):
        raise InputError(
            f"{folder} was begun anew for other people or profiles than its adapter was trained on.",
            remedy="Give that distill command again until it is through, then judge the adapter.",
        )
    with alone_in(folder / _RUN):
        verdict = judge(
            student,
            folder,
            profiles,
            prompts,
            scope=Scope(card.scope, card.prefixes),
            strategy=strategy(card.strategy),
            metric=METRICS[card.metric],
            terms=Terms.model_validate(card.terms),
            max_new_tokens=int(card.recipe.get("max_new_tokens", 128)),
            progress=progress,
        )
        recard(folder, card.model_copy(update={"gate": verdict}))
    return verdict


def _rows_if_any(traces: Sequence[Trace], asked: Distillation) -> list[TrainingRow]:
    """Rows to watch; none where no held-back prompt has what the method needs, which is no reason to end a run."""
    try:
        return rows(traces, asked.scope, asked.recipe.method)
    except InputError:
        return []


def _refuse_what_is_no_run(folder: Path) -> None:
    """An adapter has a README and a card of its own, which must replace nobody's."""
    there = folder.is_dir() and any(folder.iterdir())
    if (there and not (folder / _RUN).is_dir()) or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} holds something else already.", remedy="Name a folder that is not there yet.")


def _card(
    asked: Distillation, teacher: Teacher, judge: Student | None, dropped: Mapping[str, int], training: _Training
) -> Card:
    return Card(
        name=asked.name,
        base=asked.student.name,
        base_sha256=asked.student.sha256,
        base_licence=asked.student.licence,
        method=asked.recipe.method,
        scope=asked.scope.kind,
        users=tuple(profile.user for profile in asked.profiles),
        profiles={profile.user: profile_hash(profile) for profile in asked.profiles},
        prefixes=asked.scope.prefixes,
        # Where the student writes itself, whoever judges its words teaches it: another model, or its own base.
        teacher=teacher.name or (judge or asked.student).name,
        strategy=teacher.strategy.name,
        traces=int(training["rows"] or 0),
        dropped=dropped,
        recipe=asked.recipe.as_data(),
        training=training,
        metric=teacher.metric,
        terms=asked.terms.model_dump(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
    )


def _report(run: Path, kept: Kept, split: Split) -> None:
    counts = {"kept": len(kept.traces), "dropped": dict(kept.dropped)}
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    write_whole(run / _SPLIT, json.dumps({**counts, "prompts": parts}, indent=2, ensure_ascii=False))


def _reasons(kept: Kept) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in kept.dropped.items())
