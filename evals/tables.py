"""Scores of outcomes as tables: by arm, metric and unit. This file runs nothing and judges nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from .runner import Outcome
from .statistics import Estimate

__all__ = ["Scores", "Tables", "figures", "is_share", "sizes", "tables_of"]

Scores = dict[str, list[float]]
"""One metric's values, by cluster."""
Tables = dict[str, dict[str, Scores]]
"""Scores by arm and metric."""

_SHARES = (
    "accuracy",
    "complied_unsafe",
    "handled",
    "helps_more",
    "informative",
    "order_consistency",
    "own_over_other",
    "pick",
    "refused_safe",
    "win_rate",
)


def is_share(metric: str) -> bool:
    """Whether a metric lies between 0 and 1."""
    return metric.startswith(_SHARES)


def tables_of(outcomes: Iterable[Outcome], unit: Callable[[Outcome], str] = lambda outcome: outcome.cluster) -> Tables:
    """The scores of some outcomes, none of which is an error.

    Args:
        outcomes: in any order; values keep it.
        unit: what values are gathered by.
    """
    tables: Tables = {}
    for outcome in outcomes:
        for arm, metrics in outcome.found["scores"].items():
            for metric, value in metrics.items():
                tables.setdefault(arm, {}).setdefault(metric, {}).setdefault(unit(outcome), []).append(value)
    return tables


def sizes(scores: Scores) -> dict[str, int]:
    """How many values each cluster has: equal for two arms that were scored on the same cases."""
    return {cluster: len(values) for cluster, values in scores.items()}


def figures(found: Estimate) -> dict[str, Any]:
    """An estimate as JSON has it: an interval that does not exist is null."""
    return {
        name: (None if isinstance(value, float) and math.isnan(value) else value)
        for name, value in asdict(found).items()
    }
