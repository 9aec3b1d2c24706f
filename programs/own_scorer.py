"""Which scorer tests: one that was handed in, the model's own, or none.

By shape: a model with a method ``scorer()`` offers log-probabilities by the same weights, any other offers none.
"""

from __future__ import annotations

import threading
from typing import Any, Literal

import dspy

from hyperalign.scores import Scorer

__all__ = ["ChosenScorer", "OpenScorer", "resolve_scorer"]

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


class OpenScorer:
    """A scorer that is opened when it is first needed, and kept open: it may hold the model's weights.

    It is saved as the choice alone; one that was handed in is replaced by the model's own.

    Args:
        chosen: which one.
    """

    def __init__(self, chosen: ChosenScorer) -> None:
        self._chosen = chosen
        self._opened: tuple[Any, Scorer | None] | None = None
        self._lock = threading.Lock()

    def of(self, model: Any) -> Scorer | None:
        """The scorer itself.

        Args:
            model: whose own it is, where that was chosen; with another model another one is opened.
        """
        if not isinstance(self._chosen, str):
            return self._chosen
        with self._lock:
            if self._opened is None or self._opened[0] is not model:
                self._opened = (model, resolve_scorer(self._chosen, model))
            return self._opened[1]

    def __reduce__(self) -> tuple[type[OpenScorer], tuple[ChosenScorer]]:
        return OpenScorer, (None if self._chosen is None else "own",)
