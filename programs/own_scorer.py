"""Which scorer tests: one that was handed in, the model's own, or none.

By shape: a model with a method ``scorer()`` offers log-probabilities by the same weights, any
other offers none. This file knows no runtime.
"""

from __future__ import annotations

from typing import Any, Literal

import dspy

from hyperalign.scores import Scorer

__all__ = ["ChosenScorer", "resolve_scorer"]

ChosenScorer = Scorer | Literal["own"] | None
"""``"own"`` is the model's own, where it offers one; None is none."""


def resolve_scorer(chosen: ChosenScorer, model: dspy.LM | None = None) -> Scorer | None:
    """The scorer itself.

    Args:
        chosen: which one.
        model: whose own scorer to take; DSPy's configured model if None.
    """
    if not isinstance(chosen, str):
        return chosen
    offer: Any = getattr(model or dspy.settings.lm, "scorer", None)
    offered: Scorer | None = offer() if callable(offer) else None
    return offered
