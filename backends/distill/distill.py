"""Distills people's profiles into an adapter: collect traces, filter, split, train, write, and gate the result.

A run keeps everything in the adapter's folder under ``training`` (traces, rows, losses, splits), and resumes there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hyperalign.budget import Budget
from hyperalign.charts import Point, lines
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError
from hyperalign.files import lock_folder, write_whole
from hyperalign.profile import Profile
from hyperalign.programs.strategies import strategy
from hyperalign.records import Record

from .adapters import Adapter, Card, Verdict, check_base, check_tokenizer, open_adapter, update_card, write_adapter
from .collect import OWN_TEXTS, Teacher, build_demonstrations, build_unanswered, collect_traces, find_metric
from .dataset import PromptSplits, Scope, TrainingRow, build_rows, split_prompts, write_rows
from .ditto import train_rounds
from .gate import Criteria, judge_adapter
from .recipe import ANSWER_METHODS, Hardware, Recipe
from .student import Student, check_answers, check_system_role
from .traces import FilteredTraces, Trace, TraceFilter, hash_profile
from .train import read_losses, train

__all__ = ["Distillation", "distill", "gate", "loss_chart"]

_RUN, _SPLIT, _PEOPLE, _POOLED = "training", "split.json", "people.json", "pooled.json"


@dataclass(frozen=True)
class Distillation:
    """The inputs of a distillation, besides its teacher.

    Attributes:
        name: the name that the adapter is served under.
        profiles: one for each person.
        prompts: for the teacher.
        student: the model to train.
        recipe: hyperparameters.
        scope: what the student is told about the person.
        trace_filter: selects the answers to train on.
        criteria: of the gate; declared before training and not changed after it.
        records: by user, what people wrote, for method ``ditto``.
        pooled: the folder of an adapter of other people, which the gate holds this one against; None for none.

    Raises:
        InputError: the people do not fit the scope.
    """

    name: str
    profiles: Sequence[Profile]
    prompts: Sequence[str]
    student: Student
    recipe: Recipe
    scope: Scope = field(default_factory=Scope)
    trace_filter: TraceFilter = field(default_factory=TraceFilter)
    criteria: Criteria = field(default_factory=Criteria)
    records: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    pooled: Path | None = None

    def __post_init__(self) -> None:
        users = [profile.user for profile in self.profiles]
        if not users:
            raise InputError("There is nobody to distill.", remedy="Name profiles, or people in the store.")
        if len(set(users)) < len(users):
            raise InputError("Two profiles are of one person.", remedy="Give one profile for each person.")
        if self.scope.kind == "person" and len(users) > 1:
            raise InputError(
                f"An adapter of scope 'person' is for one person, and there are {len(users)} profiles.",
                remedy="Give one profile, or --scope tag, prefix or program.",
            )


def distill(
    job: Distillation,
    teacher: Teacher,
    folder: Path,
    *,
    scoring_teacher: Student | None = None,
    budget: Budget | None = None,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> Adapter:
    """Make an adapter; the same call resumes a run that was interrupted.

    Args:
        job: the inputs.
        teacher: the model that answers; without one for methods that need none.
        folder: of the adapter; the run's files are in ``training`` under it.
        scoring_teacher: scores the student's generations in ``on-policy``.
        budget: where the teacher's calls are booked.
        hardware: the device that trains; detected if None.
        progress: called during each step.

    Returns:
        The adapter, which the gate has not judged yet.

    Raises:
        InputError: there are too few prompts, no answer passes the trace filter, or the pooled adapter is of these
            people or of another student.
        ModelError: the teacher or the student can't be used.
        BudgetExceededError: a limit was reached; answers so far are saved.
        MissingExtraError: the 'train' extra is not installed.
        TrainingError: training failed.
        StorageError: the disk is full or not writable, or another process uses the folder.
    """
    run = folder / _RUN
    _require_own_folder(folder)
    splits = split_prompts(job.prompts)
    by_rounds = job.recipe.method == "ditto"
    if not (splits.train or by_rounds) or not splits.test:
        purpose = "train on" if not splits.train else "judge the adapter by: none is held out from training"
        raise InputError(f"{len(job.prompts)} prompt(s) are too few to {purpose}.", remedy="Give at least thirty.")
    check_system_role(job.student)
    if job.recipe.method in ANSWER_METHODS or by_rounds:
        check_answers(job.student)
    pooled = None if job.pooled is None else _open_pooled(job.pooled, job)
    with lock_folder(run):
        prompts = splits.train + splits.validation
        if job.recipe.method in ANSWER_METHODS:
            path = run / "traces.jsonl"
            traces = collect_traces(teacher, job.profiles, prompts, path, budget=budget, progress=progress)
            kept = job.trace_filter(traces)
        elif by_rounds:
            kept = build_demonstrations(teacher.strategy, job.profiles, job.records, splits.test)
            _require_demonstrations(kept)
            splits = replace(splits, train=[trace.prompt for trace in kept.traces], validation=[])
        else:
            kept = FilteredTraces(build_unanswered(teacher, job.profiles, prompts), {})
        _write_split(run, splits, kept)
        rows = _rows_of_split(splits.train, kept.traces, job)
        try:
            validation = _rows_of_split(splits.validation, kept.traces, job)
        except InputError:  # no held-out prompt has what the method needs
            validation = []
        write_rows(rows, run / "rows.jsonl")
        # For the gate.
        people = [json.loads(profile.to_json()) for profile in job.profiles]
        write_whole(run / _PEOPLE, json.dumps(people, ensure_ascii=False))
        write_whole(run / _POOLED, json.dumps(pooled and {"folder": str(pooled.path), "sha256": pooled.sha256}))
        if by_rounds:
            result = train_rounds(job.student, rows, job.recipe, run, hardware=hardware, progress=progress)
        else:
            result = train(
                job.student,
                rows,
                job.recipe,
                run,
                validation=validation,
                teacher=scoring_teacher,
                hardware=hardware,
                progress=progress,
            )
        write_whole(run / "losses.svg", loss_chart(read_losses(run)) + "\n")
        card = _build_card(
            job,
            # In 'context' the student's own base is the teacher.
            teacher=OWN_TEXTS if by_rounds else teacher.name or (scoring_teacher or job.student).name,
            strategy=teacher.strategy.name,
            effort=teacher.guide.effort if teacher.guide is not None else "low",
            metric=teacher.metric,
            traces=len(rows),
            dropped=kept.dropped,
            training={"rows": len(rows), "validation_rows": len(validation), **result.as_data()},
        )
        return write_adapter(result.weights, folder, card)


def gate(folder: Path, student: Student, progress: Progress | None = None) -> Verdict:
    """Judge an adapter on the prompts that were held out from its training, and write the verdict on its card.

    Args:
        folder: of the adapter, with the files of its training.
        student: the adapter's base.
        progress: called during each step.

    Raises:
        InputError: the training files are gone or of other people, the base is another model, or the pooled adapter to
            compare with is gone or another one.
        NotFoundError: there is no adapter.
        TrainingError: the adapter is damaged, or its keys match no layer of its base.
        MissingExtraError: the 'train' extra is not installed.
        StorageError: another process uses the folder, or it is not writable.
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
            f"The training files of the adapter in {folder} are missing.",
            remedy=f"Keep its '{_RUN}' folder until the gate has run, or distill it again.",
        ) from error
    if {profile.user: hash_profile(profile) for profile in profiles} != dict(card.profiles):
        raise InputError(
            f"A new run in {folder} is for other people or profiles than its adapter was trained on.",
            remedy="Run that distill command again until it has finished, then judge the adapter.",
        )
    with lock_folder(folder / _RUN):
        verdict = judge_adapter(
            student,
            folder,
            profiles,
            prompts,
            scope=Scope(card.scope, card.prefixes),
            strategy=strategy(card.strategy),
            metric=find_metric(card.metric),
            criteria=Criteria.model_validate(card.criteria),
            pooled=_read_pooled(folder / _RUN),
            max_new_tokens=int(card.recipe.get("max_new_tokens", 128)),
            progress=progress,
        )
        update_card(folder, card.model_copy(update={"gate": verdict}))
    return verdict


def _open_pooled(folder: Path, job: Distillation) -> Adapter:
    """Open an adapter to compare with, of other people and of the same student."""
    adapter = open_adapter(folder.resolve())
    check_base(adapter.card, job.student)
    if adapter.card.scope != "program":
        raise InputError(
            f"The pooled adapter in {folder} has scope {adapter.card.scope!r}.",
            remedy="Distill one of other people with --scope program: it is asked what everybody is asked.",
        )
    if shared := sorted(set(adapter.card.users) & {profile.user for profile in job.profiles}):
        raise InputError(
            f"The pooled adapter in {folder} is also of {', '.join(shared)}.",
            remedy="Give one of other people only: it says what is common to all.",
        )
    return adapter


def _read_pooled(run: Path) -> Adapter | None:
    """The adapter to compare with that was named before training; None if there was none."""
    try:
        noted = json.loads((run / _POOLED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # made before there was one
    if noted is None:
        return None
    adapter = open_adapter(Path(noted["folder"]))
    if adapter.sha256 != noted["sha256"]:
        raise InputError(
            f"The pooled adapter in {adapter.path} has other weights than when it was named before training.",
            remedy="Restore it, or distill again with --pooled.",
        )
    return adapter


def loss_chart(entries: Sequence[Mapping[str, Any]]) -> str:
    """Draw training and validation losses by step, as an SVG file.

    Args:
        entries: of ``losses.jsonl``, by step.
    """
    curves = {}
    for name, key in (("training", "loss"), ("validation", "eval_loss")):
        line = {int(entry["step"]): Point(float(entry[key])) for entry in entries if key in entry}
        if line:
            curves[f"{name} {line[max(line)].mean:.2f}"] = line
    return lines(curves, x_label="step", label="Loss by step", from_zero=True, standalone=True)


def _require_own_folder(folder: Path) -> None:
    """Refuse a folder that is no run's: an adapter would overwrite a README of somebody else's."""
    occupied = folder.is_dir() and any(folder.iterdir())
    if (occupied and not (folder / _RUN).is_dir()) or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is not empty and holds no adapter.", remedy="Name a folder that does not exist.")


def _write_split(run: Path, splits: PromptSplits, kept: FilteredTraces) -> None:
    """Write the split and what the trace filter dropped, and refuse to go on without any trace."""
    report = {"kept": len(kept.traces), "dropped": dict(kept.dropped), "prompts": asdict(splits)}
    write_whole(run / _SPLIT, json.dumps(report, indent=2, ensure_ascii=False))
    if not kept.traces:
        reasons = ", ".join(f"{count} {reason}" for reason, count in kept.dropped.items())
        raise InputError(
            f"No answer passed the trace filter: {reasons}.",
            remedy=f"See {run / 'traces.jsonl'}; a lower --threshold or another --teacher may help.",
        )


def _require_demonstrations(kept: FilteredTraces) -> None:
    """Refuse to go on without any text of the people's own."""
    if not kept.traces:
        reasons = ", ".join(f"{count} {reason}" for reason, count in kept.dropped.items()) or "no text at all"
        raise InputError(
            f"There is no text of the people's own to learn from: {reasons}.",
            remedy="Give texts that answer a prompt, with --texts FILE or in the store.",
        )


def _rows_of_split(prompts: Sequence[str], traces: Sequence[Trace], job: Distillation) -> list[TrainingRow]:
    chosen = set(prompts)
    return build_rows([trace for trace in traces if trace.prompt in chosen], job.scope, job.recipe.method)


def _build_card(job: Distillation, **fields: Any) -> Card:
    return Card(
        name=job.name,
        base=job.student.name,
        base_sha256=job.student.sha256,
        base_license=job.student.license,
        method=job.recipe.method,
        scope=job.scope.kind,
        users=tuple(profile.user for profile in job.profiles),
        profiles={profile.user: hash_profile(profile) for profile in job.profiles},
        prefixes=job.scope.prefixes,
        recipe=job.recipe.as_data(),
        criteria=job.criteria.model_dump(),
        **fields,
    )
