"""Training on the best draft over the worst: direct preference optimization (Rafailov et al. 2023)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .prepared import Prepared

__all__ = ["build"]


def build(prepared: Prepared) -> Any:
    """TRL's ``DPOTrainer`` on rows of prompt, chosen and rejected; the reference is the student without its adapter."""
    trl = import_module("trl")
    config = trl.DPOConfig(**prepared.arguments, max_length=prepared.recipe.max_length)
    return trl.DPOTrainer(args=config, **prepared.parts)
