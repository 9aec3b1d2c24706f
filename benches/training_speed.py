"""What each choice of a recipe gives in speed, beside ``SFTTrainer`` as it comes: an epoch over the same rows.

It begins with TRL's own defaults and makes one choice after the other, so that each row of the table has all choices
above it; a choice that changes nothing here is left out. All have the same LoRA, learning rate, seed and rows a step;
the held-out loss is on the same validation rows in the same order, and the last row is run with two further seeds to
tell how much of a difference in it is noise. Each has a process of its own, so that what it held at most is its own
as well. What a device could do is what a large matrix product reaches on it, in bfloat16 where it computes in that;
what is counted as done are four operations a parameter and token, forward and back, since frozen weights have no
gradients. It prints Markdown. Run it from the repository's folder with: python -m benches.training_speed
adapters/letters/training
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from hyperalign.backends.distill.dataset import Scope, TrainingRow, assign_split, build_rows, to_dataset
from hyperalign.backends.distill.recipe import Hardware, find_hardware, peak_memory, suggest_recipe
from hyperalign.backends.distill.student import count_parameters, load_student, open_student
from hyperalign.backends.distill.traces import TraceFilter, read_traces
from hyperalign.backends.distill.train import measure_lengths
from hyperalign.backends.distill.trainers import score_completions_only

BATCH = 8
RATE = 1e-3
ANSWERS_ALONE = "answers_alone"  # of the trainer; all else are settings of TRL's


@dataclass(frozen=True)
class Epoch:
    """What an epoch took.

    Attributes:
        seconds: without loading the student.
        loss: on the validation rows, after it; where there are none, of training.
        memory: bytes that the device held at most.
    """

    seconds: float
    loss: float
    memory: int


def choices(at_once: int) -> dict[str, dict[str, Any]]:
    """What is changed, one after the other; each name has what it changes."""
    emulated, on_cpu = not find_hardware().bf16, find_hardware().device == "cpu"
    in_parts = {"per_device_train_batch_size": at_once, "gradient_accumulation_steps": BATCH // at_once}
    return {
        "TRL's defaults": {},
        **({"computes in float32 (no emulated bfloat16)": {"bf16": False}} if emulated else {}),
        "activations are kept, not computed twice": {"gradient_checkpointing": False},
        **({f"{at_once} rows at once, steps added up": in_parts} if at_once < BATCH else {}),
        "of a step's rows those of like length at once": {"train_sampling_strategy": "batch_rebalance"},
        # On a GPU TRL's own loss leaves out the other tokens.
        **({"only the answers' tokens are scored": {ANSWERS_ALONE: True}} if on_cpu else {}),
    }


def run(student: str, train: list[TrainingRow], watched: list[TrainingRow], changed: dict[str, Any]) -> Epoch:
    """Train an epoch of a student with what is changed, and look at the held-out loss."""
    model, tokenizer = load_student(open_student(student))
    return train_epoch(model, tokenizer, train, watched, changed)[0]


def train_epoch(
    model: Any, tokenizer: Any, train: list[TrainingRow], watched: list[TrainingRow], changed: dict[str, Any]
) -> tuple[Epoch, Any]:
    """Train an epoch of a loaded model.

    Args:
        model: of transformers, without an adapter.
        tokenizer: with a chat template.
        train: training rows.
        watched: validation rows; without any, the loss is that of training.
        changed: what differs from TRL's defaults.

    Returns:
        What it took, and the model, to which an adapter was added.
    """
    import peft
    import trl

    hardware = find_hardware()
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
            "use_cpu": hardware.device == "cpu",
            **{name: value for name, value in changed.items() if name != ANSWERS_ALONE},
        }
        trainer = (score_completions_only(trl.SFTTrainer) if ANSWERS_ALONE in changed else trl.SFTTrainer)(
            model=model,
            processing_class=tokenizer,
            args=trl.SFTConfig(**settings),
            train_dataset=to_dataset(train),
            eval_dataset=to_dataset(watched) if watched else None,
            peft_config=peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        began = time.perf_counter()
        trained = trainer.train()
        seconds, memory = time.perf_counter() - began, peak_memory(hardware)
        # A batch's mean counts once, however full it is: in order of length the last one would weigh otherwise.
        trainer.args.train_sampling_strategy = "random"
        loss = trainer.evaluate()["eval_loss"] if watched else trained.training_loss
        return Epoch(seconds, float(loss), memory), trainer.model


def product_speed(hardware: Hardware) -> float:
    """Operations a second of a large matrix product, in the type that training computes in."""
    import torch

    on_card = hardware.device == "cuda"
    size, times = (8192, 50) if on_card else (2048, 5)
    kind = torch.bfloat16 if hardware.bf16 else torch.float32
    left, right = (torch.randn(size, size, device=hardware.device, dtype=kind) for _ in range(2))
    took = 0.0
    for count in (3, times):  # the first to warm up
        began = time.perf_counter()
        for _ in range(count):
            left @ right
        if on_card:
            torch.cuda.synchronize()
        took = time.perf_counter() - began
    return 2 * size**3 * times / took


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path, help="the 'training' folder of an adapter: its traces are the rows")
    parser.add_argument("--student", default="local:smollm2-135m-instruct")
    parser.add_argument("--rows", type=int, default=96, help="of the training part, evenly taken")
    asked = parser.parse_args()
    kept = TraceFilter()(read_traces(asked.training / "traces.jsonl")).traces
    made = {
        part: build_rows([trace for trace in kept if assign_split(trace.prompt) == part], Scope("tag"), "sft")
        for part in ("train", "validation")
    }
    everybody, watched = made["train"], made["validation"]
    count = min(asked.rows, len(everybody))
    train = [everybody[i * len(everybody) // count] for i in range(count)]
    student = open_student(asked.student)
    _, tokenizer = load_student(student)
    tokens = sum(measure_lengths(train, tokenizer, 1024).tokens)
    hardware, parameters = find_hardware(), count_parameters(student)
    at_once = suggest_recipe("sft", parameters, hardware).micro_batch_size
    able = product_speed(hardware)
    print(
        f"{len(train)} rows, {tokens:,} tokens, {len(watched)} validation rows, {hardware.device}; a matrix product in "
        f"{'bfloat16' if hardware.bf16 else 'float32'} reaches {able / 1e12:.2f} TFLOP/s.\n"
    )
    print("| | seconds | tokens a second | times as fast | held-out loss | memory, GB | of a matrix product's speed |")
    print("|---|---|---|---|---|---|---|")
    changed: dict[str, Any] = {}
    first = 0.0
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as alone:
        for name, change in choices(at_once).items():
            changed |= change
            epoch = alone.submit(run, asked.student, train, watched, dict(changed)).result()
            first = first or epoch.seconds
            done = 4 * parameters * tokens / epoch.seconds
            cells = [
                name,
                f"{epoch.seconds:.0f}",
                f"{tokens / epoch.seconds:.0f}",
                f"{first / epoch.seconds:.2f}",
                f"{epoch.loss:.3f}",
                f"{epoch.memory / 1e9:.1f}",
                f"{done / able:.0%}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
        again = [alone.submit(run, asked.student, train, watched, {**changed, "seed": seed}) for seed in (1, 2)]
        seen = ", ".join(f"{each.result().loss:.3f}" for each in again)
        print(f"\nThe last row's held-out loss with two other seeds: {seen}.")


if __name__ == "__main__":
    main()
