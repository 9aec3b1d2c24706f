"""What each choice of a recipe gives in speed, beside ``SFTTrainer`` as it comes: an epoch over the same rows.

It begins with TRL's own defaults and makes one choice after the other, so that each row of the table has all choices
above it. All have the same LoRA, learning rate, seed and rows a step; the held-out loss is on the same validation rows.
It prints Markdown. Run it from the repository's folder with: python -m benches.training_speed adapters/letters/training
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

from hyperalign.backends.training.recipe import find_hardware, suggest
from hyperalign.backends.training.rows import Row, Scope, dataset, part_of, rows
from hyperalign.backends.training.sieve import Sieve
from hyperalign.backends.training.student import count_parameters, load_student, open_student
from hyperalign.backends.training.traces import read_traces
from hyperalign.backends.training.train import measure_lengths

BATCH = 8
RATE = 1e-3


def choices(at_once: int) -> dict[str, dict[str, Any]]:
    """What is changed, one after the other; each name has what it changes."""
    return {
        "TRL's defaults": {},
        "computes as fast as this machine can (no emulated bfloat16)": {"bf16": find_hardware().bf16},
        "activations are kept, not computed twice": {"gradient_checkpointing": False},
        "rows of like length together": {"train_sampling_strategy": "group_by_length"},
        f"{at_once} rows at once, steps added up": {
            "per_device_train_batch_size": at_once,
            "gradient_accumulation_steps": BATCH // at_once,
        },
    }


def run(student: str, train: list[Row], watched: list[Row], changed: dict[str, Any]) -> tuple[float, float]:
    """Seconds of one epoch, and the held-out loss after it."""
    import peft
    import trl

    model, tokenizer = load_student(open_student(student))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": BATCH,
            "per_device_eval_batch_size": BATCH,
            "num_train_epochs": 1,
            "learning_rate": RATE,
            "max_length": 1024,
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "seed": 0,
            "use_cpu": find_hardware().device == "cpu",
            **changed,
        }
        trainer = trl.SFTTrainer(
            model=model,
            processing_class=tokenizer,
            args=trl.SFTConfig(**settings),
            train_dataset=dataset(train),
            eval_dataset=dataset(watched),
            peft_config=peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        loss = float(trainer.evaluate()["eval_loss"])
    del trainer, model
    gc.collect()
    return seconds, loss


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path, help="the 'training' folder of an adapter: its traces are the rows")
    parser.add_argument("--student", default="local:smollm2-135m-instruct")
    parser.add_argument("--rows", type=int, default=96, help="of the training part, the first of each person in turn")
    asked = parser.parse_args()
    kept = Sieve()(read_traces(asked.training / "traces.jsonl")).traces
    made = {
        part: rows([trace for trace in kept if part_of(trace.prompt) == part], Scope("tag"), "sft")
        for part in ("train", "validation")
    }
    step = max(1, len(made["train"]) // asked.rows)
    train, watched = made["train"][::step][: asked.rows], made["validation"]
    student = open_student(asked.student)
    _, tokenizer = load_student(student)
    tokens = sum(measure_lengths(train, tokenizer, 1024).tokens)
    hardware = find_hardware()
    at_once = suggest("sft", count_parameters(student), hardware).at_once
    print(f"{len(train)} rows, {tokens:,} tokens, {len(watched)} validation rows, {hardware.device}.\n")
    print("| | seconds | tokens a second | times as fast | held-out loss |\n|---|---|---|---|---|")
    changed: dict[str, Any] = {}
    first = 0.0
    for name, change in choices(at_once).items():
        changed |= change
        seconds, loss = run(asked.student, train, watched, changed)
        first = first or seconds
        cells = [name, f"{seconds:.0f}", f"{tokens / seconds:.0f}", f"{first / seconds:.2f}", f"{loss:.3f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
