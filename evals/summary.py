"""The summary of a run: each figure with its interval over clusters, and which differences are findings.

``summary.json`` is a published format: ``strategies`` holds, by name and metric, ``mean``, ``low``, ``high``,
``n_clusters`` and ``n_cases``. This file runs nothing; it reads outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .cases import Task
from .runner import Outcome
from .statistics import Estimate, difference, estimate, holm, sign_flip_p

__all__ = ["summarize"]

Scores = dict[str, list[float]]


def summarize(
    task: Task, outcomes: Sequence[Outcome], *, model: str, seed: int, controls: Sequence[str]
) -> dict[str, Any]:
    """What a run found.

    Args:
        task: what was asked.
        outcomes: one a case; those that ended in an error count as errors, never as scores.
        model: the name of the model that answered or scored.
        seed: of the draws.
        controls: arms that are controls.

    Returns:
        Data for ``summary.json``.
    """
    scored = [outcome for outcome in outcomes if not outcome.error]
    tables: dict[str, dict[str, Scores]] = {}
    for outcome in scored:
        for arm, metrics in outcome.found["scores"].items():
            for metric, value in metrics.items():
                tables.setdefault(arm, {}).setdefault(metric, {}).setdefault(outcome.cluster, []).append(value)
    return {
        "task": task.name,
        "model": model,
        "seed": seed,
        "cluster": {"unit": task.unit, "n": len({outcome.cluster for outcome in scored})},
        "cases": {"scored": len(scored), "errors": len(outcomes) - len(scored)},
        "note": task.note(),
        "controls": list(controls),
        "strategies": {
            arm: {metric: _figures(estimate(scores)) for metric, scores in metrics.items()}
            for arm, metrics in tables.items()
        },
        "against": _comparisons(tables, controls),
    }


def _comparisons(tables: dict[str, dict[str, Scores]], controls: Sequence[str]) -> dict[str, Any]:
    """Each strategy against each control on accuracy: the paired difference, its p, and p adjusted for all of them."""
    found: dict[str, Any] = {}
    ours = {arm: table["accuracy"] for arm, table in tables.items() if arm not in controls and "accuracy" in table}
    for control in controls:
        theirs = tables.get(control, {}).get("accuracy")
        if theirs is None:
            continue
        same = {arm: scores for arm, scores in ours.items() if _counts(scores) == _counts(theirs)}
        adjusted = holm({arm: sign_flip_p(scores, theirs) for arm, scores in same.items()})
        found[control] = {
            arm: {**_figures(difference(scores, theirs)), "p_holm": round(adjusted[arm], 5)}
            for arm, scores in same.items()
        }
    return found


def _counts(scores: Scores) -> dict[str, int]:
    return {cluster: len(values) for cluster, values in scores.items()}


def _figures(found: Estimate) -> dict[str, Any]:
    """An estimate as JSON has it: an interval that does not exist is null."""
    return {
        name: (None if isinstance(value, float) and math.isnan(value) else value)
        for name, value in asdict(found).items()
    }
