"""DITTO: a person's own texts are preferred to the student's samples, in rounds (Shaikh et al. 2024).

A little supervised training on the demonstrations gives the first policy, which is also the reference of all DPO. Each
round samples the current policy on the demonstrations' prompts and draws comparisons from the ranking that this
induces: demonstration over samples, and samples of a later policy over those of an earlier one. Unlike in the paper,
the optimizer starts anew each round, so that an interrupted run resumes at its round.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, TrainingError
from hyperalign.files import append_line, read_journal, write_whole

from .dataset import TrainingRow, write_rows
from .probe import SAMPLED, attach_adapter, generate_answers
from .recipe import Ditto, Hardware, Recipe, find_hardware
from .run_state import LOSSES, TrainingResult, weights_hash
from .student import Student, load_student
from .train import read_losses, train

__all__ = ["draw_comparisons", "train_rounds"]

Samples = Sequence[Sequence[str]]
"""Of one round: the student's samples for each demonstration, in the order of the demonstrations."""

_SAMPLES, _ROWS = "samples.jsonl", "rows.jsonl"


def draw_comparisons(
    demonstrations: Sequence[TrainingRow], rounds: Sequence[Samples], recipe: Recipe
) -> list[TrainingRow]:
    """Draw the comparisons of the last round: the rows of its DPO.

    Args:
        demonstrations: rows with ``prompt`` and the person's ``completion``.
        rounds: the samples of each round up to now, the earliest first.
        recipe: ``ditto`` has the shares of the three kinds; there are ``steps`` times ``batch_size`` comparisons. A
            kind that is not there yet, as in the first round, leaves its share to demonstrations over current samples.

    Returns:
        Rows with ``prompt``, ``chosen`` and ``rejected``, in random order. No text is compared with itself or with
        nothing.

    Raises:
        TrainingError: the student repeats the demonstrations word by word, or writes nothing.
    """
    ditto, count = recipe.ditto, recipe.ditto.steps * recipe.batch_size
    *earlier, current = rounds
    drawn = random.Random(f"{recipe.seed} {len(rounds)}")
    replayed = _draw(drawn, _over_samples(demonstrations, earlier), round(ditto.replay * count))
    between = _draw(drawn, _between_rounds(demonstrations, rounds), round(ditto.between_rounds * count))
    own = _draw(drawn, _over_samples(demonstrations, [current]), count - len(replayed) - len(between))
    if not own:
        raise TrainingError(
            "No sample of the student differs from the person's texts.",
            remedy="It knows them by heart: lower the learning rate or the rounds, or give more texts.",
        )
    rows = [*own, *replayed, *between]
    drawn.shuffle(rows)
    return rows


def _draw(drawn: random.Random, candidates: Iterator[TrainingRow], count: int) -> list[TrainingRow]:
    """Draw rows without repeating any before all were drawn; none if there are no candidates."""
    shuffled = list(candidates)
    drawn.shuffle(shuffled)
    return list(islice(cycle(shuffled), count)) if shuffled else []


def _over_samples(demonstrations: Sequence[TrainingRow], rounds: Sequence[Samples]) -> Iterator[TrainingRow]:
    """A demonstration over each of the samples for its prompt."""
    for samples in rounds:
        for row, texts in zip(demonstrations, samples, strict=True):
            own = row["completion"][-1]["content"]
            yield from (_compare(row, own, text) for text in texts if _differ(own, text))


def _between_rounds(demonstrations: Sequence[TrainingRow], rounds: Sequence[Samples]) -> Iterator[TrainingRow]:
    """A sample of a later round over each of an earlier one."""
    for later, samples in enumerate(rounds):
        for before in rounds[:later]:
            for row, newer, older in zip(demonstrations, samples, before, strict=True):
                yield from (_compare(row, new, old) for new in newer for old in older if _differ(new, old))


def _differ(chosen: str, rejected: str) -> bool:
    return bool(chosen.strip() and rejected.strip()) and chosen.split() != rejected.split()


def _compare(row: TrainingRow, chosen: str, rejected: str) -> TrainingRow:
    said = {"chosen": chosen, "rejected": rejected}
    answers = {name: [{"role": "assistant", "content": text}] for name, text in said.items()}
    return {"prompt": row["prompt"], **answers}


def train_rounds(
    student: Student,
    demonstrations: Sequence[TrainingRow],
    recipe: Recipe,
    folder: Path,
    *,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train an adapter by ``ditto`` in a folder, or go on where a run with the same inputs stopped.

    The folder gets ``sft``, ``round-1`` and so on, each a training run as ``train`` makes them; a round also has the
    student's ``samples.jsonl`` and the ``rows.jsonl`` of its comparisons. More rounds go on from those that are there.

    Args:
        student: the model to train.
        demonstrations: rows with ``prompt`` and the person's ``completion``.
        recipe: hyperparameters, of method ``ditto``.
        folder: of the run.
        hardware: the device that trains; detected if None.
        progress: called after each step and each demonstration that was sampled for.

    Returns:
        The last round's result, with the steps and seconds of all stages; losses are those of DPO.

    Raises:
        InputError: there are no demonstrations, none fits, or the recipe is of another method.
        MissingExtraError: the 'train' extra is not installed.
        ModelError: the student does not load, or its chat template renders rows unlike what is asked later.
        StorageError: the disk is full or not writable.
        TrainingError: a loss is not finite, memory runs out, or the student repeats the demonstrations.
    """
    if recipe.method != "ditto":
        raise InputError(f"Method {recipe.method!r} has no rounds.", remedy="Call train, or take method 'ditto'.")
    hardware, ditto = hardware or find_hardware(), recipe.ditto
    # What a stage is told: no more than it uses, so that another number of rounds goes on from the same files.
    shared = replace(recipe, ditto=Ditto(), patience=0)
    sft = replace(shared, method="sft", learning_rate=ditto.sft_learning_rate, max_steps=ditto.sft_steps)
    dpo = replace(shared, method="dpo", epochs=1.0, max_steps=ditto.steps)
    first = train(
        student,
        demonstrations,
        sft,
        folder / "sft",
        stop_loss=ditto.sft_stop_loss,
        hardware=hardware,
        progress=progress,
        step="demonstrations",
    )
    results, sampled = [first], list[Samples]()
    for number in range(1, ditto.rounds + 1):
        run, policy = folder / f"round-{number}", _Policy(student, results[-1].weights, recipe, hardware)
        sampled.append(policy.sample(demonstrations, run, number, progress))
        rows = draw_comparisons(demonstrations, sampled, recipe)
        write_rows(rows, run / _ROWS)
        made = train(
            student,
            rows,
            dpo,
            run,
            start=policy.weights,
            reference=first.weights,
            hardware=hardware,
            progress=progress,
            step=f"round {number} of {ditto.rounds}",
        )
        results.append(made)
    losses = list(_all_losses(folder, results[1:]))
    write_whole(folder / LOSSES, "".join(f"{json.dumps(entry)}\n" for entry in losses))
    return replace(
        results[-1],
        truncated=first.truncated,
        skipped=first.skipped,
        steps=sum(result.steps for result in results),
        first_loss=results[1].first_loss,
        seconds=round(sum(result.seconds for result in results), 1),
        peak_memory=max(result.peak_memory for result in results),
    )


def _all_losses(folder: Path, rounds: Sequence[TrainingResult]) -> Iterator[Mapping[str, Any]]:
    """The rounds' losses in one series of steps."""
    before = 0
    for number, result in enumerate(rounds, 1):
        for entry in read_losses(folder / f"round-{number}"):
            yield {**entry, "step": before + entry["step"], "round": number}
        before += result.steps


@dataclass(frozen=True)
class _Policy:
    """The student with the adapter of the round before."""

    student: Student
    weights: Path
    recipe: Recipe
    hardware: Hardware

    def sample(
        self, demonstrations: Sequence[TrainingRow], run: Path, number: int, progress: Progress | None
    ) -> Samples:
        """Sample answers to each demonstration's prompt; what the round's file has is not sampled again."""
        recipe = self.recipe
        settings = [
            weights_hash(self.weights),
            self.student.sha256,
            recipe.ditto.samples,
            recipe.max_new_tokens,
            recipe.seed,
            number,
        ]
        keys = [_hash([*settings, row["prompt"]]) for row in demonstrations]
        known = {entry["key"]: entry["samples"] for entry in read_journal(run / _SAMPLES) if isinstance(entry, dict)}
        missing = {key: row["prompt"] for key, row in zip(keys, demonstrations, strict=True) if key not in known}
        model, tokenizer = self._load() if missing else (None, None)
        torch = import_module("torch")
        for done, (key, prompt) in enumerate(missing.items(), len(set(keys)) - len(missing) + 1):
            # Each prompt has a seed of its own: an interrupted round is sampled as a whole one is.
            with torch.random.fork_rng():
                torch.manual_seed(int(key, 16))
                known[key] = generate_answers(
                    model,
                    tokenizer,
                    [prompt] * recipe.ditto.samples,
                    max_new_tokens=recipe.max_new_tokens,
                    decoding=SAMPLED,
                )
            append_line(run / _SAMPLES, json.dumps({"key": key, "prompt": prompt, "samples": known[key]}))
            if progress is not None:
                progress(f"samples of round {number}", done, len(set(keys)))
        return [known[key] for key in keys]

    def _load(self) -> tuple[Any, Any]:
        model, tokenizer = load_student(self.student)
        model = attach_adapter(model, self.weights).to(self.hardware.device)
        return (model.to(import_module("torch").bfloat16) if self.recipe.bf16 else model), tokenizer


def _hash(parts: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:15]
