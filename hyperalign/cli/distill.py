"""``hyperalign distill``: train a LoRA adapter on a teacher's answers, so that a small model needs no profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from hyperalign.errors import InputError, RecordError

from .guided import Level
from .options import (
    DEFAULT_OPTIONS,
    DryRun,
    ModelOptions,
    SeedOption,
    StoreOption,
    model_options,
)
from .records import AsOption, ColumnsOption, MeOption, read_files
from .terminal import echo

if TYPE_CHECKING:
    from hyperalign.backends.distill.adapters import Adapter
    from hyperalign.backends.distill.collect import GuidedTeacher, Teacher
    from hyperalign.backends.distill.distill import Distillation
    from hyperalign.backends.distill.recipe import Hardware
    from hyperalign.backends.distill.student import Student
    from hyperalign.budget import Budget
    from hyperalign.profile import Profile
    from hyperalign.records import Record

    from .terminal import Reporter

__all__ = ["distill", "read_prompts"]

_WRITTEN = {"low": 1, "medium": 4, "high": 7}
"""Calls for one guided answer of a model that drafts; a writer writes as many times its tokens."""
_JSON_SUFFIXES = {".jsonl", ".ndjson"}


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file, without repeats, in order.

    Args:
        path: JSONL with a ``prompt`` per line (other fields are ignored), or text with a prompt per line; or ``-``.

    Raises:
        RecordError: the file is missing, empty or not UTF-8, or a line has no prompt.
    """

    from hyperalign.ingest import read_text

    text = read_text(path)
    as_json = path.suffix.lower() in _JSON_SUFFIXES or text.lstrip().startswith('{"')
    # Not splitlines: JSON strings may hold U+2028 and the like as they are.
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    found = [_prompt(line, path, number) if as_json else line for number, line in lines if line]
    return list(dict.fromkeys(found))


def _prompt(line: str, path: Path, number: int) -> str:
    from pydantic_core import from_json

    try:
        entry = from_json(line)
    except ValueError as error:
        raise RecordError(
            f"this is no JSON ({error}).", path=path, line=number, remedy='Write {"prompt": "…"} on each line.'
        ) from error
    prompt = entry.get("prompt") if isinstance(entry, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise RecordError("there is no 'prompt'.", path=path, line=number, remedy='Write {"prompt": "…"} on each line.')
    return prompt.strip()


Choice = TypeVar("Choice")


@model_options(flag="--teacher", about="Model that writes the answers: local:NAME, vllm:ADDRESS, or a LiteLLM name.")
def distill(
    out: Annotated[Path, typer.Option("--out", help="Folder of the adapter. It is served under the folder's name.")],
    prompts: Annotated[Path, typer.Option("--prompts", help="Prompts: a text file with one per line, or JSONL.")],
    profiles: Annotated[
        list[Path] | None, typer.Option("--profiles", help="A profile file, or a folder of them. Repeatable.")
    ] = None,
    user: Annotated[list[str] | None, typer.Option("--user", help="The id of a user in the store. Repeatable.")] = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    student: Annotated[
        str, typer.Option("--student", help="Model to train: local:NAME, or a checkpoint folder.")
    ] = "local:smollm2-135m-instruct",
    method: Annotated[
        str, typer.Option("--method", help="Training method: sft, dpo, ditto, context or on-policy.")
    ] = "sft",
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            "--texts",
            help="For ditto and --effort: records with the person's texts, as for 'fit'. Repeatable. Default: those in "
            "the store.",
        ),
    ] = None,
    me: MeOption = None,
    as_format: AsOption = None,
    columns: ColumnsOption = None,
    rounds: Annotated[
        int | None, typer.Option("--rounds", min=1, help="For ditto: rounds of sampling and training. Default: 4.")
    ] = None,
    pooled: Annotated[
        Path | None,
        typer.Option("--pooled", help="An adapter of other people, of scope program, that the gate compares with."),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option("--scope", help="What the prompt keeps: person (nothing), tag (the user), prefix or program."),
    ] = None,
    strategy: Annotated[str, typer.Option("--strategy", help="How the profile conditions the teacher.")] = "verified",
    effort: Annotated[
        Level,
        typer.Option(
            "--effort",
            help="What the teacher spends on an answer: low only tells it; medium and high steer by the people's "
            "texts, as 'generate' does.",
        ),
    ] = "low",
    drafts: Annotated[
        int | None,
        typer.Option(
            "--drafts",
            min=1,
            help="Drafts per prompt; for ditto, samples of the student per text and round. Default: 2 for dpo, 10 for "
            "ditto, else 1.",
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            help="Train only on answers with at least this expected reward, in nats. Above 0 they suit the user better "
            "than a usual text; -inf keeps all.",
        ),
    ] = 0.0,
    keep_refusals: Annotated[bool, typer.Option("--keep-refusals", help="Also train on answers that decline.")] = False,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Training epochs.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate.")] = None,
    rank: Annotated[int | None, typer.Option("--rank", min=1, help="Rank of the LoRA matrices.")] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="At most this many steps; for ditto, of each round.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=1, help="Truncate rows to this many tokens. Default: 1,024.")
    ] = None,
    accelerate: Annotated[
        Path | None, typer.Option("--accelerate", help="JSON file with arguments of accelerate's Accelerator.")
    ] = None,
    store: StoreOption = None,
    seed: SeedOption = 0,
    dry_run: DryRun = False,
) -> None:
    """Train a small model to answer as users would, on a teacher's answers conditioned on their profiles.

    The student does not see the profile. About a tenth of the prompts is held out to judge the adapter. The same
    command resumes an interrupted run.

    Example: hyperalign distill --user ada --prompts prompts.txt --teacher anthropic/NAME --out adapters/ada
    """
    from dataclasses import replace

    from hyperalign.backends.distill.collect import Teacher
    from hyperalign.backends.distill.cost_estimate import fit_to_memory
    from hyperalign.backends.distill.dataset import SCOPES, Scope, build_prefix
    from hyperalign.backends.distill.distill import Distillation
    from hyperalign.backends.distill.distill import distill as run
    from hyperalign.backends.distill.recipe import ANSWER_METHODS, METHODS, find_hardware, suggest_recipe
    from hyperalign.backends.distill.student import count_parameters, open_student
    from hyperalign.backends.distill.traces import TraceFilter
    from hyperalign.backends.models.connect import check_ready
    from hyperalign.concurrency import concurrency_of
    from hyperalign.programs.strategies import strategy as find_strategy
    from hyperalign.records import own_text

    from .terminal import mute_length_warnings, reporter

    mute_length_warnings()
    people = _read_profiles(profiles or [], user or [], store)
    asked = read_prompts(prompts)
    way = _one_of(METHODS, method, "method")
    kind = _one_of(SCOPES, scope or ("person" if len(people) == 1 else "tag"), "scope")
    is_guided = effort != "low"
    if is_guided and (way not in ANSWER_METHODS or drafts):
        what = "--drafts" if drafts else f"--method {method}"
        raise InputError(f"--effort {effort} does not go with {what}.", remedy="Leave one of them out.")
    records = (
        _read_texts(texts or [], people, store, me=me, as_format=as_format, columns=columns)
        if is_guided or way == "ditto"
        else {}
    )
    budget = models.new_budget()
    hardware = find_hardware()
    with reporter() as report:
        guide = _guide(effort, strategy, records, people, models, store, seed, budget, report) if is_guided else None
        needs_lm = way in ANSWER_METHODS and not (guide is not None and guide.name)
        lm = models.connect(budget=budget, progress=report.bytes) if needs_lm else None
        if lm is not None and not dry_run:
            check_ready(lm)
        learner = open_student(student, report.bytes)
        recipe = suggest_recipe(
            way,
            count_parameters(learner),
            hardware,
            epochs=epochs,
            learning_rate=learning_rate,
            rank=rank,
            max_steps=max_steps,
            max_length=max_length,
            accelerate=_read_object(accelerate) if accelerate is not None else None,
            seed=seed,
        )
        if way == "ditto":
            recipe = replace(recipe, max_steps=0, ditto=recipe.ditto.limited(rounds, drafts, max_steps))
        wanted = Distillation(
            name=out.resolve().name,
            profiles=people,
            prompts=asked,
            student=learner,
            recipe=recipe,
            scope=Scope(kind, {person.user: build_prefix(person) for person in people} if kind == "prefix" else {}),
            trace_filter=TraceFilter(
                threshold,
                keep_refusals=keep_refusals,
                private_texts={
                    p.user: [own_text(record) for record in (*p.examples, *records.get(p.user, ()))] for p in people
                },
            ),
            records=records if way == "ditto" else {},
            pooled=pooled,
        )
        who = Teacher(
            lm,
            find_strategy(strategy),
            drafts or (_WRITTEN[effort] if is_guided else 2 if recipe.method == "dpo" else 1),
            concurrency=concurrency_of(lm),
            guide=guide,
        )
        scoring_teacher = open_student(models.model, report.bytes) if recipe.method == "on-policy" else None
        wanted = fit_to_memory(wanted, hardware, scoring_teacher=scoring_teacher)
        if dry_run:
            _print_estimate(wanted, who, hardware, scoring_teacher, models)
            return
        made = run(wanted, who, out, scoring_teacher=scoring_teacher, budget=budget, hardware=hardware, progress=report)
    _print_result(made, out, budget)


def _guide(
    effort: Level,
    strategy: str,
    records: dict[str, list[Record]],
    people: list[Profile],
    models: ModelOptions,
    store: str | None,
    seed: int,
    budget: Budget,
    report: Reporter,
) -> GuidedTeacher:
    """What steers a teacher's answers by the people's texts."""
    from hyperalign.backends.distill.collect import GuidedTeacher
    from hyperalign.backends.models.encoders import reopen_encoder
    from hyperalign.backends.models.writers import open_writer
    from hyperalign.programs.guided import GuidedGenerate
    from hyperalign.store import Store

    from .session import choose_population

    with Store(store) as opened:
        population = choose_population(None, people[0].user, opened, redact=None)
    writer = open_writer(models.model, budget=budget, progress=report.bytes)
    # Only where nobody wrote anything: the reward of choices steers then, by what its encoder reads.
    learned = next((person.reward for person in people if person.reward and person.reward.encoder), None)
    embeds = reopen_encoder(learned, budget=budget, progress=report.bytes)
    program = GuidedGenerate(effort, strategy=strategy, writer=writer, population=population, encoder=embeds, seed=seed)
    return GuidedTeacher(program, effort, writer.name if writer is not None else "", records, seed)


def _print_result(made: Adapter, out: Path, budget: Budget) -> None:
    from hyperalign.backends.distill.train import read_losses
    from hyperalign.charts import sparkline

    from .terminal import cost_table, print_rich

    training = made.card.training
    print_rich(cost_table(budget))
    # The loss of one step depends on its few rows: the loss on held-out prompts tells more.
    watched = training["validation_loss"]
    echo(
        f"\n{made.card.traces} answer(s) taught it in {training['steps']} steps: "
        f"loss {training['first_loss']:.3f} at first, {training['last_loss']:.3f} at last"
        + (f", {watched:.3f} at best on prompts kept from training." if watched is not None else ".")
    )
    if training["truncated"] or training["skipped"]:
        echo(
            f"{training['truncated']} row(s) were truncated at {made.card.recipe['max_length']:,} tokens; "
            f"{training['skipped']} were skipped, because their prompt fills that alone."
        )
    steps = [entry["loss"] for entry in read_losses(out / "training") if "loss" in entry]
    echo(sparkline(steps))
    echo(f"The adapter is in {out}; its losses are drawn in training/losses.svg")
    echo(f'Next: hyperalign adapters gate "{out}"')


def _one_of(choices: tuple[Choice, ...], said: str, what: str) -> Choice:
    for choice in choices:
        if choice == said:
            return choice
    raise InputError(f"There is no {what} {said!r}.", remedy=f"Choose one of: {', '.join(map(str, choices))}.")


def _read_object(file: Path) -> dict[str, object]:
    """The JSON object in a file."""
    import json

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}.", remedy="Give a JSON file to --accelerate.") from error
    if not isinstance(found, dict):
        raise InputError(f"{file}: it holds no JSON object.", remedy='For example: {"split_batches": true}')
    return found


def _read_profiles(files: list[Path], users: list[str], store: str | None) -> list[Profile]:
    from hyperalign.records import check_user
    from hyperalign.store import Store

    from .session import read_profile

    paths = [path for file in files for path in (sorted(file.glob("*.json")) if file.is_dir() else [file])]
    found = [read_profile(path) for path in paths]
    if users:
        with Store(store) as opened:
            found += [opened.load(check_user(name)) for name in users]
    if not found:
        raise InputError("There is nobody to distill.", remedy="Give --profiles FOLDER, or --user NAME.")
    return found


def _read_texts(
    files: list[Path],
    people: list[Profile],
    store: str | None,
    *,
    me: list[str] | None,
    as_format: str | None,
    columns: str | None,
) -> dict[str, list[Record]]:
    """Each person's records, of files or, without any, of the store."""
    from hyperalign.store import Store

    if me and len(people) > 1:
        raise InputError("--me is one person's name, and there are several profiles.", remedy="Leave it out.")
    if files:
        return {
            person.user: read_files(
                files, user=person.user, me=me, as_format=as_format, columns=columns, skip_bad=False
            ).records
            for person in people
        }
    with Store(store) as opened:
        return {person.user: opened.records(person.user) for person in people}


def _print_estimate(
    asked: Distillation, teacher: Teacher, hardware: Hardware, scoring_teacher: Student | None, models: ModelOptions
) -> None:
    from hyperalign.backends.distill.cost_estimate import estimate_cost
    from hyperalign.budget import Usage

    from .terminal import describe_cost, price_steps

    expected = estimate_cost(asked, teacher, hardware, scoring_teacher=scoring_teacher)
    echo(f"{len(asked.profiles)} person(s), {len(asked.prompts)} prompt(s). Nothing was done.")
    for line in expected.lines():
        echo(f"  {line}")
    if expected.calls:
        answers = Usage(calls=expected.calls, tokens_in=expected.tokens_in, tokens_out=expected.tokens_out)
        echo(describe_cost(price_steps({"traces": answers}, {"traces"}, models), models))
    if 0 < hardware.memory < expected.memory:
        echo(
            f"That is more than the {hardware.memory / 2**30:.1f} GiB here: "
            "choose a smaller student, or truncate rows with --max-length."
        )
