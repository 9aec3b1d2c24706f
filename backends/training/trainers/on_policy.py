"""Training on the student's own words, judged token by token by a larger model of the same vocabulary: on-policy
distillation (Agarwal et al. 2024, generalized knowledge distillation)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hyperalign.errors import InputError

from .prepared import Prepared

__all__ = ["build"]


def build(prepared: Prepared) -> Any:
    """TRL's ``DistillationTrainer`` on prompts alone.

    Raises:
        InputError: there is no teacher, or it has another vocabulary.
    """
    if prepared.teacher is None:
        raise InputError("'on-policy' needs a teacher with weights.", remedy="Give --teacher local:NAME.")
    own, theirs = prepared.model.config.vocab_size, prepared.teacher.config.vocab_size
    if own != theirs:
        raise InputError(
            f"The teacher has {theirs:,} tokens in its vocabulary, the student {own:,}.",
            remedy="Take a teacher and a student of one family, or --method sft.",
        )
    trl = import_module("trl")
    config = trl.DistillationConfig(**prepared.arguments, max_completion_length=prepared.recipe.max_new)
    return trl.DistillationTrainer(args=config, teacher_model=prepared.teacher, **prepared.parts)
