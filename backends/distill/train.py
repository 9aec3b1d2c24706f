"""Trains a LoRA adapter on rows; a run that was interrupted resumes at its last checkpoint."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hyperalign.concurrency import Progress
from hyperalign.errors import HyperalignError, InputError, TrainingError
from hyperalign.files import append_line, make_private_folder, narrow, read_journal, write_whole

from .dataset import TrainingRow
from .recipe import ANSWER_METHODS, Hardware, Recipe, find_hardware, peak_memory
from .run_state import LOSSES, RunState, TrainingResult
from .student import Student, end_answers, import_libraries, load_student, safetensors_error, to_storage_error
from .trainers import BUILDERS, REFERENCE, TrainerInputs

__all__ = ["RowLengths", "TrainingResult", "build_loss_callback", "measure_lengths", "read_losses", "train"]


def build_loss_callback(
    folder: Path, progress: Progress | None = None, *, stop_loss: float = 0.0, step: str = "training"
) -> Any:
    """Return a transformers callback that logs losses, and stops training when one is not finite or low enough.

    Args:
        folder: of the run; losses are appended to its ``losses.jsonl``.
        progress: called after each step.
        stop_loss: training loss below which training ends.
        step: the step's name for ``progress``.

    Raises:
        TrainingError: during training, if a loss or the gradient is not finite.
    """
    base: type = import_module("transformers").TrainerCallback

    class LossCallback(base):  # type: ignore[misc]  # transformers has no types
        def __init__(self) -> None:
            self._start = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> Any:
            del args
            logs = logs or {}
            losses: dict[str, float] = {name: float(logs[name]) for name in ("loss", "eval_loss") if name in logs}
            if not losses:
                return control
            seconds = round(time.perf_counter() - self._start, 2)
            append_line(folder / LOSSES, json.dumps({"step": state.global_step, **losses, "seconds": seconds}))
            _check_finite(losses, float(logs.get("grad_norm", 0.0)), state.global_step)
            if losses.get("loss", math.inf) < stop_loss:
                control.should_training_stop = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            del state, control
            # Trainers write with the umask.
            narrow(Path(args.output_dir))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if progress is not None:
                progress(step, state.global_step, state.max_steps)
            # Also evaluate after the last step, which may be no multiple of eval_steps.
            if state.global_step >= state.max_steps and args.eval_strategy != "no":
                control.should_evaluate = True
            return control

    return LossCallback()


def read_losses(folder: Path) -> list[dict[str, Any]]:
    """Return a run's losses by step; of a step that was repeated after an interruption, the later."""
    by_step: dict[tuple[int, bool], dict[str, Any]] = {}
    for entry in read_journal(folder / LOSSES):
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            by_step[entry["step"], "eval_loss" in entry] = entry
    return [by_step[key] for key in sorted(by_step)]


@dataclass(frozen=True)
class RowLengths:
    """Token counts of training rows.

    Attributes:
        tokens: of each row.
        truncated: number of rows longer than the limit, whose end is not trained on.
        skipped: number of rows whose prompt alone fills the limit, which are not trained on at all.
    """

    tokens: tuple[int, ...]
    truncated: int
    skipped: int


def measure_lengths(rows: Sequence[TrainingRow], tokenizer: Any, limit: int) -> RowLengths:
    """Count the tokens of rows, and those that exceed a limit: TRL truncates and skips rows silently.

    Args:
        rows: of any method.
        tokenizer: of the student, with a chat template.
        limit: tokens per row.
    """
    tokens, truncated, skipped = [], 0, 0
    for row in rows:
        prompt = len(_encode(tokenizer, _teacher_prompt(row), generate=True))
        answers = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
        lengths = [len(_encode(tokenizer, [*row["prompt"], *answer], generate=False)) for answer in answers]
        tokens.append(max(lengths, default=prompt))
        skipped += prompt >= limit
        truncated += prompt < limit < tokens[-1]
    return RowLengths(tuple(tokens), truncated, skipped)


def _teacher_prompt(row: TrainingRow) -> list[Any]:
    """Return the prompt, after the privileged context if the row has one: both must fit."""
    context = row.get("privileged_context")
    *before, last = row["prompt"]
    return [*before, {**last, "content": f"{context}\n\n{last['content']}"}] if context else [*before, last]


def train(
    student: Student,
    rows: Sequence[TrainingRow],
    recipe: Recipe,
    folder: Path,
    *,
    validation: Sequence[TrainingRow] = (),
    teacher: Student | None = None,
    start: Path | None = None,
    reference: Path | None = None,
    stop_loss: float = 0.0,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
    step: str = "training",
) -> TrainingResult:
    """Train an adapter in a folder, or resume its training, or return its result if it has finished.

    With another recipe, other rows or another student, training starts over.

    Args:
        student: the model to train.
        rows: training rows of the recipe's method.
        recipe: hyperparameters.
        folder: of the run, for checkpoints, losses and weights.
        validation: validation rows.
        teacher: scores the student's generations in ``on-policy``.
        start: the folder of an adapter that training goes on from; None for a new one. Its learning rate stays at the
            peak once it is reached.
        reference: the folder of an adapter that is the reference of ``dpo``; needs ``start``. None for the student.
        stop_loss: training loss below which training ends.
        hardware: the device that trains; detected if None.
        progress: called after each step.
        step: the step's name for ``progress``.

    Raises:
        InputError: there are no rows, or no row fits, or the method trains in rounds: see ``ditto``.
        MissingExtraError: the 'train' extra is not installed.
        ModelError: the student does not load, or its chat template renders rows unlike what is asked later.
        StorageError: the disk is full or not writable.
        TrainingError: a loss is not finite, or memory runs out.
    """
    if not rows:
        raise InputError("There is nothing to train on.", remedy="Give more prompts, or a lower --threshold.")
    if recipe.method not in BUILDERS:
        raise InputError(f"{recipe.method!r} trains in rounds.", remedy="Call distill, or ditto.train_rounds.")
    hardware = hardware or find_hardware()
    # Configurations may name models of a hub; none is contacted.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    peft, transformers, _ = import_libraries("peft", "transformers", "trl")
    adapters = [path for path in (start, reference) if path is not None]
    state = RunState.open(folder, student, teacher, recipe, rows, validation, start=adapters)
    if (finished := state.result()) is not None:
        return finished
    began = time.perf_counter()
    model, tokenizer = load_student(student)
    rows, validation = (end_answers(some, tokenizer, student.name) for some in (rows, validation))
    lengths = _check_lengths(rows, tokenizer, recipe.max_length, folder)
    # In the other methods the student generates: a validation loss would take as long as training.
    validation = validation if recipe.method in ANSWER_METHODS else []
    callbacks = [build_loss_callback(folder, progress, stop_loss=stop_loss, step=step)]
    if validation and recipe.patience:
        callbacks.append(transformers.EarlyStoppingCallback(early_stopping_patience=recipe.patience))
    checkpoints = folder / "checkpoints"
    make_private_folder(checkpoints)
    inputs = TrainerInputs(
        model=model,
        tokenizer=tokenizer,
        rows=rows,
        validation=validation,
        recipe=recipe,
        arguments=_training_arguments(
            recipe, hardware, checkpoints, validates=bool(validation), goes_on=start is not None
        ),
        lora=peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=callbacks,
        teacher=load_student(teacher)[0] if teacher else None,
        start=start,
        reference=reference,
    )
    with _training_errors(folder), _silence_libraries():
        trainer = BUILDERS[recipe.method](inputs)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train(resume_from_checkpoint=_last_checkpoint(checkpoints))
        weights = _save_weights(trainer, tokenizer, folder / "weights")
    first, last, best = _summarize_losses(folder)
    result = TrainingResult(
        weights=weights,
        truncated=lengths.truncated,
        skipped=lengths.skipped,
        steps=trainer.state.global_step,
        first_loss=first,
        last_loss=last,
        validation_loss=best,
        seconds=round(time.perf_counter() - began, 1),
        peak_memory=peak_memory(hardware),
    )
    state.finish(result)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return result


def _check_lengths(rows: Sequence[TrainingRow], tokenizer: Any, limit: int, folder: Path) -> RowLengths:
    lengths = measure_lengths(rows, tokenizer, limit)
    counts = {"rows": len(rows), **asdict(lengths), "tokens": sum(lengths.tokens)}
    write_whole(folder / "lengths.json", json.dumps(counts))
    if lengths.skipped == len(rows):
        raise InputError(f"No prompt fits into {limit} tokens.", remedy="Shorten the prompts, or raise --max-length.")
    return lengths


def _training_arguments(
    recipe: Recipe, hardware: Hardware, checkpoints: Path, *, validates: bool, goes_on: bool
) -> dict[str, Any]:
    """Return the arguments that all of TRL's configurations take."""
    micro_batch_size = min(recipe.micro_batch_size, recipe.batch_size)
    return {
        "output_dir": str(checkpoints),
        "per_device_train_batch_size": micro_batch_size,
        "per_device_eval_batch_size": micro_batch_size,
        "gradient_accumulation_steps": recipe.accumulation_steps,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.max_steps or -1,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if goes_on else "cosine",
        "warmup_steps": 0.05,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": recipe.eval_steps,
        "save_total_limit": 2,
        "eval_strategy": "steps" if validates else "no",
        "eval_steps": recipe.eval_steps if validates else None,
        "load_best_model_at_end": validates,
        # A resumed run keeps its count of evaluations without improvement.
        "restore_callback_states_from_checkpoint": validates,
        "metric_for_best_model": "eval_loss" if validates else None,
        "greater_is_better": False if validates else None,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "bf16": recipe.bf16,
        "use_cpu": hardware.device == "cpu",
        "dataloader_pin_memory": hardware.device != "cpu",
        # What NumPy's older generator takes, which transformers seeds too.
        "seed": recipe.seed % 2**32,
        "report_to": [],
        "disable_tqdm": True,
        **({"accelerator_config": dict(recipe.accelerate)} if recipe.accelerate else {}),
    }


def _last_checkpoint(checkpoints: Path) -> str | None:
    """Return the newest complete checkpoint; the trainer's state is the last file written to one."""
    complete = [path for path in checkpoints.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(complete, key=lambda path: int(path.name.partition("-")[2]))) if complete else None


def _save_weights(trainer: Any, tokenizer: Any, weights: Path) -> Path:
    """Save the adapter with its tokenizer and chat template, without the trainer's pickled arguments."""
    shutil.rmtree(weights, ignore_errors=True)
    trainer.save_model(str(weights))
    shutil.rmtree(weights / REFERENCE, ignore_errors=True)
    tokenizer.save_pretrained(str(weights))
    (weights / "training_args.bin").unlink(missing_ok=True)
    narrow(weights)
    return weights


def _check_finite(losses: dict[str, float], gradient_norm: float, step: int) -> None:
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if not broken and math.isfinite(gradient_norm):
        return
    name = "gradient" if not broken else "validation loss" if broken == ["eval_loss"] else "loss"
    raise TrainingError(
        f"At step {step} the {name} is not a number.",
        remedy="The learning rate is probably too high: try a third of it. Training then starts over; the teacher's "
        "answers are kept.",
    )


def _summarize_losses(folder: Path) -> tuple[float, float, float | None]:
    """Return the first and last training loss, and the lowest validation loss."""
    entries = read_losses(folder)
    training = [float(entry["loss"]) for entry in entries if "loss" in entry]
    validation = [float(entry["eval_loss"]) for entry in entries if "eval_loss" in entry]
    if not training:
        raise TrainingError("Training made no step.", remedy="Give more rows or epochs.")
    return training[0], training[-1], min(validation, default=None)


def _encode(tokenizer: Any, messages: Sequence[Any], *, generate: bool) -> list[int]:
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generate)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@contextmanager
def _training_errors(folder: Path) -> Iterator[None]:
    """Raise a full disk and a lack of memory as errors with a remedy."""
    try:
        yield
    except HyperalignError:
        raise
    except (OSError, RuntimeError, safetensors_error()) as error:
        if storage := to_storage_error(error, folder):
            raise storage from error
        if "memory" not in str(error).lower():
            raise
        raise TrainingError(
            "Training ran out of memory.",
            remedy="Take a smaller student, or a smaller --max-length (in Python also a smaller micro_batch_size).",
        ) from error


@contextmanager
def _silence_libraries() -> Iterator[None]:
    """Silence the warnings, logs and progress bars of the training libraries."""
    logging, datasets = import_module("transformers.utils.logging"), import_module("datasets")
    verbosity, shows_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        datasets.enable_progress_bars()
        if shows_bars:
            logging.enable_progress_bar()
