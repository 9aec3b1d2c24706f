"""Training on the teacher's answers without the profile in the prompt: prompt distillation (Askell et al. 2021, section
2.1, there called context distillation). Any teacher will do. The loss is on the answer alone."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .answer_loss import scoring_answers_alone
from .prepared import Prepared

__all__ = ["build"]


def build(prepared: Prepared) -> Any:
    """TRL's ``SFTTrainer`` on prompt-completion rows."""
    trl = import_module("trl")
    config = trl.SFTConfig(
        **prepared.arguments,
        max_length=prepared.recipe.max_length,
        completion_only_loss=True,
        # Not "group_by_length": its steps are of one length each, and so mostly of one person.
        train_sampling_strategy="batch_rebalance" if prepared.recipe.group_by_length else "random",
        # Packed rows would see each other without an attention that respects their boundaries.
        packing=False,
    )
    return scoring_answers_alone(trl.SFTTrainer)(args=config, **prepared.parts)
