"""What training is watched for: its losses, on disk as they come, and what must stop it.

A loss that is not a number stops the run with its likely cause. This file knows transformers' callbacks and no
method.

Trains an adapter: rows in, LoRA weights and their losses out; what was interrupted goes on at its last checkpoint.

This file knows no profile and no teacher's answers beyond the rows that it is handed.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from hyperalign.concurrency import Progress
from hyperalign.errors import HyperalignError, InputError, MissingExtraError, TrainingError
from hyperalign.files import append_line, read_journal, write_whole

from .dataset import TrainingRow
from .recipe import Hardware, Recipe, find_hardware, peak_memory
from .run_state import LOSSES, Lengths, RunState, Trained
from .student import Student, load_student, torn, unwritten
from .trainers import BUILDERS, Prepared

__all__ = ["Lengths", "Trained", "losses", "measure_lengths", "train", "watcher"]


def watcher(folder: Path, progress: Progress | None = None) -> Any:
    """A callback for transformers' trainers that writes losses and stops at what is none.

    Args:
        folder: where ``losses.jsonl`` is kept; a run that goes on adds to it.
        progress: told after each step.

    Raises:
        TrainingError: from within training, where a loss is not a number.
    """
    base: type = import_module("transformers").TrainerCallback

    class Watcher(base):  # type: ignore[misc]  # transformers has no types
        def __init__(self) -> None:
            self._begun = time.perf_counter()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            del args, control
            logs = logs or {}
            found: dict[str, float] = {name: float(logs[name]) for name in ("loss", "eval_loss") if name in logs}
            if not found:
                return
            seconds = round(time.perf_counter() - self._begun, 2)
            append_line(folder / LOSSES, json.dumps({"step": state.global_step, **found, "seconds": seconds}))
            _check(found, float(logs.get("grad_norm", 0.0)), state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if progress is not None:
                progress("training", state.global_step, state.max_steps)
            # The last steps count too, also where they are fewer than lie between two looks.
            if state.global_step >= state.max_steps and args.eval_strategy != "no":
                control.should_evaluate = True
            return control

    return Watcher()


def losses(folder: Path) -> list[dict[str, Any]]:
    """What was written of losses, by step; where a step was made twice after a kill, the later."""
    by_step: dict[tuple[int, bool], dict[str, Any]] = {}
    for entry in read_journal(folder / LOSSES):
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            by_step[entry["step"], "eval_loss" in entry] = entry
    return [by_step[key] for key in sorted(by_step)]


def _check(found: dict[str, float], norm: float, step: int) -> None:
    broken = [name for name, value in found.items() if not math.isfinite(value)]
    if not broken and math.isfinite(norm):
        return
    what = "gradient" if not broken else "loss on validation rows" if broken == ["eval_loss"] else "loss"
    raise TrainingError(
        f"At step {step} the {what} is not a number.",
        remedy="Mostly the learning rate is too high: try a third of it. Training then begins anew; no answer is asked "
        "for again.",
    )


_WATCHED = ("sft", "dpo")  # the others write while they train: a look at validation rows would take as long again


def measure_lengths(made: Sequence[TrainingRow], tokenizer: Any, limit: int) -> Lengths:
    """Count the tokens of rows, and which do not fit, before anything is trained.

    Args:
        made: rows of any method.
        tokenizer: the student's, with a chat template.
        limit: tokens that fit.
    """
    tokens, cut, lost = [], 0, 0
    for row in made:
        asked = len(_ids(tokenizer, _as_the_teacher_sees(row), True))
        answers = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
        whole = max((len(_ids(tokenizer, [*row["prompt"], *answer], False)) for answer in answers), default=asked)
        tokens.append(whole)
        lost += asked >= limit
        cut += asked < limit < whole
    return Lengths(tuple(tokens), cut, lost)


def _as_the_teacher_sees(row: TrainingRow) -> list[Any]:
    """The prompt, after the profile where the student's own base is shown that too: both must fit."""
    told = row.get("privileged_context")
    *before, last = row["prompt"]
    return [*before, {**last, "content": f"{told}\n\n{last['content']}"}] if told else [*before, last]


def train(
    student: Student,
    made: Sequence[TrainingRow],
    recipe: Recipe,
    folder: Path,
    *,
    validation: Sequence[TrainingRow] = (),
    teacher: Student | None = None,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train an adapter in a folder; run again after a stop, it goes on, and what is through is not trained again.

    Another recipe, other rows or another student begin anew: what the folder holds of an earlier training goes.

    Args:
        student: the model that learns.
        made: rows to train on, of the recipe's method.
        recipe: how.
        folder: of this run: checkpoints, losses, weights.
        validation: rows to watch.
        teacher: judges the student's own words in ``on-policy``.
        hardware: where; what is found, if None.
        progress: told after each step.

    Raises:
        InputError: there are no rows, or none fits.
        MissingExtraError: the 'train' extra is not installed.
        ModelError: the student does not load.
        StorageError: the disk is full or not writable.
        TrainingError: a loss is not a number, or memory does not suffice.
    """
    if not made:
        raise InputError("There is nothing to train on.", remedy="Give more prompts, or a lower --threshold.")
    hardware = hardware or find_hardware()
    peft, transformers = _libraries()
    done = RunState.of(folder, student, teacher, recipe, made, validation)
    if (before := done.through()) is not None:
        return before
    began = time.perf_counter()
    model, tokenizer = load_student(student)
    lengths = measure_lengths(made, tokenizer, recipe.max_length)
    # Before anything is trained: trainers cut and drop rows without a word.
    counted = {"rows": len(made), "tokens": sum(lengths.tokens), "cut": lengths.cut, "lost": lengths.lost}
    write_whole(folder / "lengths.json", json.dumps(counted))
    if lengths.lost == len(made):
        raise InputError(
            f"No prompt fits into {recipe.max_length} tokens.", remedy="Shorten the prompts, or raise --max-length."
        )
    watched = list(validation) if recipe.method in _WATCHED else []
    callbacks = [watcher(folder, progress)]
    if watched and recipe.patience:
        callbacks.append(transformers.EarlyStoppingCallback(early_stopping_patience=recipe.patience))
    lora = peft.LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    checkpoints = folder / "checkpoints"
    prepared = Prepared(
        model=model,
        tokenizer=tokenizer,
        rows=made,
        validation=watched,
        recipe=recipe,
        arguments=_arguments(recipe, hardware, checkpoints, watched=bool(watched)),
        lora=lora,
        callbacks=callbacks,
        teacher=load_student(teacher)[0] if teacher else None,
    )
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        try:
            trainer = BUILDERS[recipe.method](prepared)
            trainer.remove_callback(transformers.PrinterCallback)
            trainer.train(resume_from_checkpoint=_last_checkpoint(checkpoints))
            weights = _save(trainer, tokenizer, folder / "weights")
        except (OSError, RuntimeError, torn()) as error:
            if isinstance(error, HyperalignError):
                raise
            if full := unwritten(error, folder):
                raise full from error
            if "memory" not in str(error).lower():
                raise
            raise TrainingError(
                "The memory does not suffice for this training.",
                remedy="Take a smaller student, or a smaller --max-length (in Python also a smaller micro_batch_size).",
            ) from error
    first, last, seen = _ends(folder)
    seconds, memory = time.perf_counter() - began, peak_memory(hardware)
    found = Trained(weights, lengths, trainer.state.global_step, first, last, seen, seconds, memory)
    done.end(found)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return found


def _arguments(recipe: Recipe, hardware: Hardware, checkpoints: Path, *, watched: bool) -> dict[str, Any]:
    """What all of TRL's configurations take."""
    return {
        "output_dir": str(checkpoints),
        "per_device_train_batch_size": min(recipe.micro_batch_size, recipe.batch_size),
        "per_device_eval_batch_size": min(recipe.micro_batch_size, recipe.batch_size),
        "gradient_accumulation_steps": recipe.steps_added,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.max_steps or -1,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.05,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": recipe.eval_steps,
        "save_total_limit": 2,
        "eval_strategy": "steps" if watched else "no",
        "eval_steps": recipe.eval_steps if watched else None,
        "load_best_model_at_end": watched,
        # How long nothing better was found counts on, too.
        "restore_callback_states_from_checkpoint": watched,
        "metric_for_best_model": "eval_loss" if watched else None,
        "greater_is_better": False if watched else None,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "bf16": recipe.bf16,
        "use_cpu": hardware.device == "cpu",
        "dataloader_pin_memory": hardware.device != "cpu",
        "seed": recipe.seed,
        "report_to": [],
        "disable_tqdm": True,
        **({"accelerator_config": dict(recipe.accelerate)} if recipe.accelerate else {}),
    }


def _last_checkpoint(checkpoints: Path) -> str | None:
    """The newest checkpoint that is whole: its state is what is written last."""
    found = [path for path in checkpoints.glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
    return str(max(found, key=lambda path: int(path.name.partition("-")[2]))) if found else None


def _save(trainer: Any, tokenizer: Any, weights: Path) -> Path:
    shutil.rmtree(weights, ignore_errors=True)
    trainer.save_model(str(weights))
    # Together, so that whoever loads the adapter asks it as it was trained.
    tokenizer.save_pretrained(str(weights))
    # A pickle, and of no use to anybody.
    (weights / "training_args.bin").unlink(missing_ok=True)
    return weights


def _ends(folder: Path) -> tuple[float, float, float | None]:
    """The first loss, the last, and the best on validation rows."""
    entries = losses(folder)
    trained = [float(entry["loss"]) for entry in entries if "loss" in entry]
    seen = [float(entry["eval_loss"]) for entry in entries if "eval_loss" in entry]
    if not trained:
        raise TrainingError("Training made no step.", remedy="Give more rows or epochs.")
    return trained[0], trained[-1], min(seen, default=None)


def _ids(tokenizer: Any, messages: Sequence[Any], generate: bool) -> list[int]:
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generate)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the libraries' own logs and bars while they train; what matters comes as errors, losses and progress."""
    logging, datasets = import_module("transformers.utils.logging"), import_module("datasets")
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        datasets.enable_progress_bars()
        if bars:
            logging.enable_progress_bar()


def _libraries() -> tuple[Any, Any]:
    # No look at a hub, whatever a configuration names.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import_module("trl")
        return import_module("peft"), import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("Training an adapter", "train") from error
