"""What the examples and the metrics of all steps share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy

from hyperalign.errors import InputError

from ..cases import Case

__all__ = ["judged", "some"]


def judged(score: float, feedback: str, trace: Any, name: Any) -> Any:
    """A score with its feedback; for a trace, whether it is good enough to learn from.

    Args:
        score: from 0 to 1.
        feedback: in words.
        trace: given where DSPy collects demonstrations.
        name: of the predictor that feedback is for.
    """
    if trace is not None and name is None:
        return score > 0.5
    return dspy.Prediction(score=score, feedback=feedback)


def some(found: Sequence[Case], kind: str) -> None:
    """Refuse a task that has no case for a step.

    Raises:
        InputError: there is none.
    """
    if not found:
        raise InputError(
            f"This task has no cases of {kind}.", remedy="'hyperalign eval list' says what tasks there are."
        )
