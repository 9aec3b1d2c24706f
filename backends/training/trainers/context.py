"""Training a student to be without the profile what its own base is with it: self-distillation, where the teacher is
the student's base and sees the profile as privileged context. It needs no answers of anybody else's, and can get no
better than the student with the profile in its prompt."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from .prepared import Prepared

__all__ = ["build"]


def build(prepared: Prepared) -> Any:
    """TRL's experimental ``SDFTTrainer`` on rows of prompt and privileged context."""
    with warnings.catch_warnings():
        # It says once more that it is experimental.
        warnings.simplefilter("ignore")
        sdft = import_module("trl.experimental.sdft")
    recipe = prepared.recipe
    config = sdft.SDFTConfig(
        **prepared.arguments,
        max_prompt_length=recipe.max_length,
        max_completion_length=recipe.max_new,
        num_generations=1,
        # As strategies have it: what is said of the person, then the prompt.
        teacher_prompt_template="{privileged_context}\n\n{prompt}",
    )
    return sdft.SDFTTrainer(args=config, **prepared.parts)
