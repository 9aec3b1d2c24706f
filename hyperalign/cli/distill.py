"""Reads prompts: one a line of a text file, or JSONL with ``prompt``. It knows nothing of what is done with them.

``hyperalign distill``: a small local model that answers that way without the long prompt.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from pydantic_core import from_json

from hyperalign.errors import RecordError
from hyperalign.reading import read_text

from .options import (
    DEFAULT_OPTIONS,
    DryRun,
    MaxCalls,
    MaxTokens,
    MaxUsd,
    ModelOptions,
    SeedOption,
    StoreOption,
    model_options,
)

if TYPE_CHECKING:
    from hyperalign.backends.distill.adapters import Adapter
    from hyperalign.backends.distill.collect import Teacher
    from hyperalign.backends.distill.distill import Distillation
    from hyperalign.backends.distill.recipe import Hardware
    from hyperalign.backends.distill.student import Student
    from hyperalign.budget import Budget
    from hyperalign.profile import Profile

__all__ = ["distill", "read_prompts"]

_JSON_SUFFIXES = {".jsonl", ".ndjson"}


def read_prompts(path: Path) -> list[str]:
    """All prompts of a file, each once, in order.

    Args:
        path: JSONL (``{"prompt": "…"}`` a line, other fields are passed over) or text with a prompt a line; or ``-``.

    Raises:
        RecordError: it is missing, empty or not UTF-8 text, or a line has no prompt; with file and line.
    """
    text = read_text(path)
    as_json = path.suffix.lower() in _JSON_SUFFIXES or text.lstrip().startswith('{"')
    # Not splitlines: JSON strings may hold U+2028 and the like as they are.
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    found = [_prompt(line, path, number) if as_json else line for number, line in lines if line]
    return list(dict.fromkeys(found))


def _prompt(line: str, path: Path, number: int) -> str:
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


@model_options(flag="--teacher", about="Who answers: local:NAME, vllm:ADDRESS, or any LiteLLM name.")
def distill(
    out: Annotated[Path, typer.Option("--out", help="The adapter's folder; its name is what it is served as.")],
    prompts: Annotated[Path, typer.Option("--prompts", help="Prompts: a text file with one a line, or JSONL.")],
    profiles: Annotated[
        list[Path] | None, typer.Option("--profiles", help="Profile files, or folders of them; may be repeated.")
    ] = None,
    user: Annotated[list[str] | None, typer.Option("--user", help="People in the store; may be repeated.")] = None,
    models: ModelOptions = DEFAULT_OPTIONS,
    student: Annotated[
        str, typer.Option("--student", help="Who learns: local:NAME, or a checkpoint folder.")
    ] = "local:smollm2-135m-instruct",
    method: Annotated[str, typer.Option("--method", help="sft, dpo, context or on-policy.")] = "sft",
    scope: Annotated[
        str | None,
        typer.Option("--scope", help="person (one person's), tag (several, told whose), prefix or program."),
    ] = None,
    strategy: Annotated[str, typer.Option("--strategy", help="How the profile is put to the teacher.")] = "verified",
    drafts: Annotated[
        int | None, typer.Option("--drafts", min=1, help="Drafts a prompt; 2 for dpo, else 1, if left out.")
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            help="Reads drafts for the person's tests, to pick among them: local:NAME or vllm:ADDRESS. For dpo the "
            "--teacher's own if left out; 'none' picks by measured style.",
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            help="The least score of an answer that may teach, in nats: from 0 on it is at least as much like the "
            "person as like anybody; -inf lets all teach.",
        ),
    ] = 0.0,
    keep_refusals: Annotated[
        bool, typer.Option("--keep-refusals", help="Let answers that decline teach, too.")
    ] = False,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Passes over the rows.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="At its peak.")] = None,
    rank: Annotated[int | None, typer.Option("--rank", min=1, help="Of the LoRA matrices.")] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", min=1, help="Stop training after so many.")] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=1, help="Tokens of a row; longer ones are cut. 1,024 if left out.")
    ] = None,
    accelerate: Annotated[
        Path | None,
        typer.Option("--accelerate", help="Settings of accelerate's Accelerator: a JSON file, passed on as it is."),
    ] = None,
    store: StoreOption = None,
    seed: SeedOption = 0,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_usd: MaxUsd = None,
    dry_run: DryRun = False,
) -> None:
    """Teach a small model to answer as people would, from a teacher's answers under their profiles.

    The student is not shown the profile. Every tenth prompt or so is kept from training, to judge the adapter by. An
    interrupted run goes on where it stopped when the same command is given again.
    """
    from hyperalign.backends.distill.collect import Teacher
    from hyperalign.backends.distill.cost_estimate import fit_to_memory
    from hyperalign.backends.distill.dataset import SCOPES, Scope, build_prefix
    from hyperalign.backends.distill.distill import Distillation
    from hyperalign.backends.distill.distill import distill as run
    from hyperalign.backends.distill.recipe import ANSWER_METHODS, METHODS, find_hardware, suggest_recipe
    from hyperalign.backends.distill.student import count_parameters, open_student
    from hyperalign.backends.distill.traces import TraceFilter
    from hyperalign.backends.models.connect import check_ready
    from hyperalign.budget import Budget
    from hyperalign.concurrency import concurrency_of
    from hyperalign.programs.strategies import strategy as named

    from .session import choose_scorer
    from .terminal import expect_cut_answers, reporter

    expect_cut_answers()
    people = _people(profiles or [], user or [], store)
    asked = read_prompts(prompts)
    way = _one_of(METHODS, method, "method")
    kind = _one_of(SCOPES, scope or ("person" if len(people) == 1 else "tag"), "scope")
    budget = Budget(max_calls=max_calls, max_tokens=max_tokens, max_usd=max_usd)
    hardware = find_hardware()
    with reporter() as report:
        lm = models.connect(budget=budget, progress=report.bytes) if way in ANSWER_METHODS else None
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
            accelerate=_settings(accelerate) if accelerate is not None else None,
            seed=seed,
        )
        told = named(strategy)
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
                private_texts={p.user: [e.text for e in p.examples] for p in people},
            ),
        )
        who = Teacher(
            lm,
            told,
            drafts or (2 if recipe.method == "dpo" else 1),
            "style",
            concurrency_of(lm),
            choose_scorer(scorer, models.model, budget, report) if scorer or recipe.method == "dpo" else None,
        )
        scoring_teacher = open_student(models.model, report.bytes) if recipe.method == "on-policy" else None
        wanted = fit_to_memory(wanted, hardware, scoring_teacher=scoring_teacher)
        if dry_run:
            _estimate(wanted, who, hardware, scoring_teacher, models)
            return
        made = run(wanted, who, out, scoring_teacher=scoring_teacher, budget=budget, hardware=hardware, progress=report)
    _say_made(made, out, budget)


def _say_made(made: Adapter, out: Path, budget: Budget) -> None:
    """What it took, how well it went, and what to do next."""
    from hyperalign.backends.distill.train import read_losses
    from hyperalign.charts import sparkline

    from .terminal import cost_table

    training = made.card.training
    from rich.console import Console

    console = Console()
    console.print(cost_table(budget))
    # A step's loss hangs on its few rows too: what was kept from training tells how well it went.
    watched = training["validation_loss"]
    console.print(
        f"\n{made.card.traces} answer(s) taught it in {training['steps']} steps: "
        f"loss {training['first_loss']:.3f} at first, {training['last_loss']:.3f} at last"
        + (f", {watched:.3f} at best on prompts kept from training." if watched is not None else "."),
        soft_wrap=True,
        markup=False,
    )
    if training["truncated"] or training["skipped"]:
        limit = f"{made.card.recipe['max_length']:,} tokens"
        said = (
            f"{training['truncated']} row(s) were truncated at {limit}; "
            f"{training['skipped']} were skipped, because their prompt fills that alone."
        )
        console.print(said, soft_wrap=True, markup=False)
    steps = [entry["loss"] for entry in read_losses(out / "training") if "loss" in entry]
    console.print(sparkline(steps), markup=False)
    console.print(f"The adapter is in {out}; its losses are drawn in training/losses.svg", soft_wrap=True, markup=False)
    console.print(f'Next: hyperalign adapters gate "{out}"', soft_wrap=True, markup=False)


def _one_of(choices: tuple[Choice, ...], said: str, what: str) -> Choice:
    from hyperalign.errors import InputError

    for choice in choices:
        if choice == said:
            return choice
    raise InputError(f"There is no {what} {said!r}.", remedy=f"Choose one of: {', '.join(map(str, choices))}.")


def _settings(file: Path) -> dict[str, object]:
    """A JSON object from a file."""
    import json

    from hyperalign.errors import InputError

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: {error}.", remedy="Give a JSON file to --accelerate.") from error
    if not isinstance(found, dict):
        raise InputError(f"{file}: it holds no JSON object.", remedy='For example: {"split_batches": true}')
    return found


def _people(files: list[Path], users: list[str], store: str | None) -> list[Profile]:
    from hyperalign.errors import InputError
    from hyperalign.records import check_user
    from hyperalign.store import Store

    from .editing import read_profile

    paths = [path for file in files for path in (sorted(file.glob("*.json")) if file.is_dir() else [file])]
    found = [read_profile(path) for path in paths]
    if users:
        with Store(store) as opened:
            found += [opened.load(check_user(name)) for name in users]
    if not found:
        raise InputError("There is nobody to distill.", remedy="Give --profiles FOLDER, or --user NAME.")
    return found


def _estimate(
    asked: Distillation, teacher: Teacher, hardware: Hardware, scoring_teacher: Student | None, models: ModelOptions
) -> None:
    from hyperalign.backends.distill.cost_estimate import estimate_cost
    from hyperalign.budget import Usage

    from .terminal import money_said, priced_steps

    expected = estimate_cost(asked, teacher, hardware, scoring_teacher=scoring_teacher)
    typer.echo(f"{len(asked.profiles)} person(s), {len(asked.prompts)} prompt(s). Nothing was done.")
    for line in expected.lines():
        typer.echo(f"  {line}")
    if expected.calls:
        answers = Usage(calls=expected.calls, tokens_in=expected.tokens_in, tokens_out=expected.tokens_out)
        typer.echo(money_said(priced_steps({"traces": answers}, {"traces"}, models), models))
    if 0 < hardware.memory < expected.memory:
        typer.echo(
            f"That is more than the {hardware.memory / 2**30:.1f} GiB here: "
            "choose a smaller student, or cut rows with --max-length."
        )
