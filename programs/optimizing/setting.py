"""What an optimizer is handed, and what it hands back. This file runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy

from .leaks import LeakCheck
from .watched import Watched

__all__ = ["Found", "Setting", "instructions_of"]


@dataclass(frozen=True)
class Setting:
    """What an optimizer is handed.

    Attributes:
        program: what is made better; it is not changed.
        train: examples to search on.
        metric: what scores an answer.
        reflection: the model that writes instructions; None where there is none.
        leaks: what no prompt may hold.
        demos: examples of people who may be shown.
        rounds: how many candidates are tried, at most.
        seed: of whatever is drawn.
        over: whether the search must end, such as when a cap was reached.
    """

    program: dspy.Module
    train: Sequence[dspy.Example]
    metric: Watched
    reflection: Any
    leaks: LeakCheck
    demos: Sequence[dspy.Example]
    rounds: int
    seed: int
    over: Callable[[], bool]


@dataclass(frozen=True)
class Found:
    """What an optimizer came to.

    Attributes:
        program: its best.
        tried: each candidate: its instructions by predictor, and its mean ``score`` on the training people where
            known. One that did no better on a few examples has ``few`` and ``few_before`` instead, its mean there and
            that of the prompts it was to replace; one that was never run, ``refused``, the reason.
        refused: proposals that were not run, by reason.
        ended: why the search ended before its last round, in words; empty if it did not.
    """

    program: dspy.Module
    tried: list[dict[str, Any]] = field(default_factory=list)
    refused: Mapping[str, int] = field(default_factory=dict)
    ended: str = ""


def instructions_of(program: dspy.Module) -> dict[str, str]:
    """What a program's predictors are told, by name."""
    return {name: predictor.signature.instructions for name, predictor in program.named_predictors()}
