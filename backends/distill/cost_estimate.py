"""Estimates what a distillation takes (calls, tokens, time, memory), and fits its recipe into memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from hyperalign.records import own_text

from .collect import Teacher, build_demonstrations
from .dataset import split_prompts
from .distill import Distillation
from .recipe import ANSWER_METHODS, Hardware, Recipe
from .student import Student, count_parameters, read_shape

__all__ = ["CostEstimate", "estimate_cost", "fit_to_memory"]

_TOKENS_PER_WORD = 1.4
_ANSWER_TOKENS = 200
_MAX_PROFILE_TOKENS = 600
# Forward and backward pass per token and parameter; frozen weights need no gradients of their own.
_FLOPS = 4
# Measured with SmolLM2 135M in float32; GPUs of 2022 and later with small batches.
_CPU_FLOPS_PER_CORE, _GPU_FLOPS = 30e9, 60e12
_WRITTEN = 4  # tokens read in the time of one written
_FLOAT32_BYTES = 4
# Activations that a layer keeps per token for the backward pass, in multiples of its hidden and intermediate size;
# copies of the logits; share of activations left with gradient checkpointing; memory of torch and transformers.
# Checked against a run of SmolLM2 135M.
_HIDDEN, _INTERMEDIATE, _LOGITS, _CHECKPOINTED = 12, 4, 3, 0.3
_LIBRARY_BYTES = 700 * 2**20
# Other processes use memory too, and an estimate may be low.
_USABLE_MEMORY = 0.9


@dataclass(frozen=True)
class CostEstimate:
    """What a distillation takes.

    Attributes:
        prompts: number of prompts, by split.
        calls: of the teacher.
        tokens_in: that the teacher reads.
        tokens_out: that the teacher writes.
        rows: for training.
        tokens: that the student reads in training.
        steps: optimizer steps.
        seconds: of training.
        memory: peak bytes in training.
        sampled: tokens that the student writes before its rounds, at most.
    """

    prompts: dict[str, int]
    calls: int
    tokens_in: int
    tokens_out: int
    rows: int
    tokens: int
    steps: int
    seconds: float
    memory: int
    sampled: int = 0

    def lines(self) -> list[str]:
        """Return the estimate as lines of text."""
        splits = ", ".join(f"{count} for {split}" for split, count in self.prompts.items())
        asked = f"teacher: {self.calls:,} call(s), about {self.tokens_in:,} tokens in, at most {self.tokens_out:,} out"
        return [
            f"prompts: {splits}",
            f"samples: at most {self.sampled:,} tokens of the student's own" if self.sampled else asked,
            f"training: {self.rows:,} rows, {self.steps:,} steps, about {self.tokens:,} tokens, "
            f"{max(1, round(self.seconds / 60)):,} min, {self.memory / 2**30:.1f} GiB",
        ]


def estimate_cost(
    job: Distillation, teacher: Teacher, hardware: Hardware, *, scoring_teacher: Student | None = None
) -> CostEstimate:
    """Estimate what a distillation takes.

    Args:
        job: the distillation.
        teacher: the model that answers.
        hardware: the device that trains.
        scoring_teacher: scores the student's generations in ``on-policy``.
    """
    if job.recipe.method == "ditto":
        return _estimate_rounds(job, teacher, hardware)
    recipe, splits = job.recipe, split_prompts(job.prompts)
    people = len(job.profiles)
    asked = [*splits.train, *splits.validation]
    prompt_tokens = sum(map(_count_tokens, asked))
    profiles = [profile.model_dump_json(include={"hypotheses", "examples"}) for profile in job.profiles]
    profile_tokens = sum(min(_MAX_PROFILE_TOKENS, _count_tokens(profile)) for profile in profiles)
    drafts = teacher.drafts if recipe.method in ANSWER_METHODS else 0
    calls = people * len(asked) * drafts
    rows = people * len(splits.train)
    generated = _ANSWER_TOKENS if drafts else recipe.max_new_tokens
    row_tokens = min(recipe.max_length, prompt_tokens // max(1, len(asked)) + generated)
    # The other methods also run a reference or a teacher, or generate.
    passes = 1 if recipe.method == "sft" else 3
    steps = recipe.max_steps or max(1, -(-rows // recipe.batch_size)) * round(recipe.epochs)
    tokens = steps * min(rows, recipe.batch_size) * row_tokens
    return CostEstimate(
        prompts={
            "training": len(splits.train),
            "validation": len(splits.validation),
            "the test": len(splits.test),
        },
        calls=calls,
        tokens_in=(people * prompt_tokens + len(asked) * profile_tokens) * drafts,
        tokens_out=calls * _ANSWER_TOKENS * 2,
        rows=rows,
        tokens=tokens,
        steps=steps,
        seconds=passes * _FLOPS * count_parameters(job.student) * tokens / _flops(hardware),
        memory=_estimate_memory(job, recipe, scoring_teacher),
    )


def _estimate_rounds(job: Distillation, teacher: Teacher, hardware: Hardware) -> CostEstimate:
    """What ``ditto`` takes: the demonstrations, samples of the student for each, and DPO, in rounds."""
    recipe, ditto, held_out = job.recipe, job.recipe.ditto, split_prompts(job.prompts).test
    demonstrations = build_demonstrations(teacher.strategy, job.profiles, job.records, held_out).traces
    count = len(demonstrations)
    prompts = sum(_count_tokens(trace.prompt) for trace in demonstrations) // max(1, count)
    own = sum(_count_tokens(trace.answer) for trace in demonstrations) // max(1, count)
    row = min(recipe.max_length, prompts + own)
    pair = row + min(recipe.max_length, prompts + recipe.max_new_tokens)
    compared = ditto.rounds * ditto.steps * recipe.batch_size
    taught = ditto.sft_steps * min(recipe.batch_size, count)
    sampled = ditto.rounds * count * ditto.samples * recipe.max_new_tokens
    # The reference reads what the student reads; to write a token costs what it costs to read _WRITTEN.
    work = _FLOPS * (taught * row + compared * pair) + _FLOPS / 2 * (compared * pair + _WRITTEN * sampled)
    return CostEstimate(
        prompts={"the test": len(held_out)},
        calls=0,
        tokens_in=0,
        tokens_out=0,
        rows=count,
        tokens=taught * row + compared * pair,
        steps=ditto.sft_steps + ditto.rounds * ditto.steps,
        seconds=count_parameters(job.student) * work / _flops(hardware),
        memory=_estimate_memory(job, recipe, None),
        sampled=sampled,
    )


def _flops(hardware: Hardware) -> float:
    return _GPU_FLOPS if hardware.device == "cuda" else _CPU_FLOPS_PER_CORE * (os.cpu_count() or 1)


def fit_to_memory(job: Distillation, hardware: Hardware, *, scoring_teacher: Student | None = None) -> Distillation:
    """Reduce a distillation's micro batch size, and turn on gradient checkpointing, until it fits into memory.

    The batch size stays the same. If nothing fits, the smallest recipe is returned; ``estimate_cost`` gives its memory.

    Args:
        job: the distillation.
        hardware: the device that trains.
        scoring_teacher: scores the student's generations in ``on-policy``.
    """
    recipe = job.recipe
    for smaller in _smaller_recipes(recipe):
        if not hardware.memory or _estimate_memory(job, recipe, scoring_teacher) <= _USABLE_MEMORY * hardware.memory:
            break
        recipe = smaller
    return replace(job, recipe=recipe)


def _smaller_recipes(recipe: Recipe) -> Iterator[Recipe]:
    """Yield recipes that need less and less memory; single rows come last, as they use a device worst."""
    while recipe.micro_batch_size > 2:
        recipe = replace(recipe, micro_batch_size=recipe.micro_batch_size // 2)
        yield recipe
    yield (recipe := replace(recipe, gradient_checkpointing=True))
    yield replace(recipe, micro_batch_size=1)


def _estimate_memory(job: Distillation, recipe: Recipe, scoring_teacher: Student | None) -> int:
    """Return the peak bytes: libraries, weights, and the activations of the longest rows."""
    splits, shape = split_prompts(job.prompts), read_shape(job.student)
    own = [own_text(record) for records in job.records.values() for record in records]
    longest = max(map(_count_tokens, [*splits.train, *splits.validation, *own]), default=0)
    generated = 2 * _ANSWER_TOKENS if recipe.method in ANSWER_METHODS else recipe.max_new_tokens
    texts = 2 if recipe.method in ("dpo", "ditto") else 1
    tokens = texts * recipe.micro_batch_size * min(recipe.max_length, longest + generated)
    activations = shape.layers * (_HIDDEN * shape.hidden + _INTERMEDIATE * shape.intermediate)
    kept = (_CHECKPOINTED if recipe.gradient_checkpointing else 1) * (2 if recipe.bf16 else _FLOAT32_BYTES)
    # Weights stay in float32. The reference of 'dpo' and the teacher of 'context' are the student without its adapter.
    models = [job.student, *([scoring_teacher] if scoring_teacher is not None else [])]
    weights = sum(map(count_parameters, models)) * _FLOAT32_BYTES
    logits = _LOGITS * shape.vocabulary * _FLOAT32_BYTES
    return round(_LIBRARY_BYTES + weights + tokens * (activations * kept + logits))


def _count_tokens(text: str) -> int:
    return round(len(text.split()) * _TOKENS_PER_WORD)
