"""What a distillation will take, before it takes it: calls, tokens, minutes and memory, and how to make it fit.

It runs no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .collect import Teacher
from .distill import Distillation, split_prompts
from .recipe import ANSWERED, Hardware, Recipe
from .student import Student, count_parameters, read_size

__all__ = ["CostEstimate", "estimate_cost", "fit_to_memory"]

_TOKENS_A_WORD = 1.4
_ANSWER_TOKENS = 200
# Forward and backward of one token through one parameter, frozen weights' gradients left out.
_FLOPS = 4
# Seen with SmolLM2 135M in float32, and what cards of 2022 and later do with small batches.
_CPU_FLOPS_A_CORE, _GPU_FLOPS = 30e9, 60e12
_BYTES = {True: 2, False: 4}
# Numbers that a layer keeps for each token until the way back, in units of its channels and of its inner channels;
# copies of the log-probabilities; and what torch and transformers take. Held against a run of SmolLM2 135M.
_CHANNELS, _GATED, _LOGITS = 12, 4, 3
_LIBRARIES = 700 * 2**20
# Others use the memory too, and an estimate is no measurement.
_ROOM = 0.9


@dataclass(frozen=True)
class CostEstimate:
    """What it will take.

    Attributes:
        prompts: by split.
        calls: of the teacher.
        tokens_in: that the teacher reads.
        tokens_out: that it writes.
        rows: to train on.
        tokens: that the student reads while it trains.
        steps: of training.
        seconds: of training.
        memory: bytes while training.
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

    def lines(self) -> list[str]:
        """For people."""
        parts = ", ".join(f"{count} for {part}" for part, count in self.prompts.items())
        return [
            f"prompts: {parts}",
            f"teacher: {self.calls:,} call(s), about {self.tokens_in:,} tokens in, at most {self.tokens_out:,} out",
            f"training: {self.rows:,} rows, {self.steps:,} steps, about {self.tokens:,} tokens, "
            f"{max(1, round(self.seconds / 60)):,} min, {self.memory / 2**30:.1f} GiB",
        ]


def estimate_cost(
    asked: Distillation, teacher: Teacher, hardware: Hardware, *, judge: Student | None = None
) -> CostEstimate:
    """What a distillation will take.

    Args:
        asked: what is asked for.
        teacher: who answers.
        hardware: where the student trains.
        judge: whose weights judge the student's own words, in ``on-policy``.
    """
    recipe, split = asked.recipe, split_prompts(asked.prompts)
    people = len(asked.profiles)
    taught = [*split.train, *split.validation]
    read = [_tokens(prompt) for prompt in taught]
    said = sum(_said(profile.model_dump_json(include={"hypotheses", "examples"})) for profile in asked.profiles)
    answered = recipe.method in ANSWERED
    calls = people * len(taught) * teacher.drafts if answered else 0
    rows = people * len(split.train)
    written = _ANSWER_TOKENS if answered else recipe.max_new_tokens
    each = min(recipe.max_length, (sum(read) // max(1, len(read))) + written)
    passes = 1 if recipe.method == "sft" else 3  # the others also read with the reference or the teacher, or write
    steps = recipe.max_steps or max(1, -(-rows // recipe.batch_size)) * round(recipe.epochs)
    tokens = steps * min(rows, recipe.batch_size) * each
    parameters = count_parameters(asked.student)
    speed = _GPU_FLOPS if hardware.device == "cuda" else _CPU_FLOPS_A_CORE * (os.cpu_count() or 1)
    return CostEstimate(
        prompts={"training": len(split.train), "validation": len(split.validation), "the test": len(split.test)},
        calls=calls,
        tokens_in=(people * sum(read) + len(taught) * said) * teacher.drafts if answered else 0,
        tokens_out=calls * _ANSWER_TOKENS * 2,
        rows=rows,
        tokens=tokens,
        steps=steps,
        seconds=passes * _FLOPS * parameters * tokens / speed,
        memory=_memory(asked, recipe, judge),
    )


def fit_to_memory(asked: Distillation, hardware: Hardware, *, judge: Student | None = None) -> Distillation:
    """The same, with fewer rows in memory at a time, or activations computed twice, where it would not fit otherwise.

    A step adds up as many rows as before, so that it teaches the same. What does not fit at all is left as small as it
    gets: ``estimate`` tells.

    Args:
        asked: what is asked for.
        hardware: where the student trains.
        judge: whose weights judge the student's own words, in ``on-policy``.
    """
    recipe = asked.recipe
    for smaller in _smaller(recipe):
        if not hardware.memory or _memory(asked, recipe, judge) <= _ROOM * hardware.memory:
            break
        recipe = smaller
    return replace(asked, recipe=recipe)


def _smaller(recipe: Recipe) -> Iterator[Recipe]:
    """Recipes that need less and less; single rows come last, as they use a device worst."""
    while recipe.micro_batch_size > 2:
        recipe = replace(recipe, micro_batch_size=recipe.micro_batch_size // 2)
        yield recipe
    yield (recipe := replace(recipe, gradient_checkpointing=True))
    yield replace(recipe, micro_batch_size=1)


def _memory(asked: Distillation, recipe: Recipe, judge: Student | None) -> int:
    """Bytes at most: the libraries, the weights, and what each token of the longest rows leaves in every layer."""
    split, size = split_prompts(asked.prompts), read_size(asked.student)
    longest = max((_tokens(prompt) for prompt in [*split.train, *split.validation]), default=0)
    written = 2 * _ANSWER_TOKENS if recipe.method in ANSWERED else recipe.max_new_tokens
    texts = 2 if recipe.method == "dpo" else 1
    tokens = texts * recipe.micro_batch_size * min(recipe.max_length, longest + written)
    each = _BYTES[recipe.bf16]
    inner = (
        size.layers * (_CHANNELS * size.channels + _GATED * size.inner) * (0.3 if recipe.gradient_checkpointing else 1)
    )
    # Weights lie in float32 whatever is computed with; the reference of 'dpo' and the teacher of 'context' are the
    # student without its adapter, and only a judge comes beside it.
    models = [asked.student, *([judge] if judge is not None else [])]
    weights = sum(map(count_parameters, models)) * _BYTES[False]
    # Log-probabilities are computed in float32, whatever the rest is.
    return round(_LIBRARIES + weights + tokens * (inner * each + _LOGITS * size.vocabulary * 4))


def _said(profile: str) -> int:
    return min(600, _tokens(profile))


def _tokens(text: str) -> int:
    return round(len(text.split()) * _TOKENS_A_WORD)
