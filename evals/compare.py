"""Two runs against each other, case by case: the same condition in both, on the cases that both have.

This file reads the folders of finished or unfinished runs, and changes nothing in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hyperalign.errors import InputError

from .conditions import kind_of_condition
from .runner import Outcome, read_json, read_outcomes
from .statistics import clusters_needed, difference, estimate, holm, sign_flip_p
from .summary import Scores, figures, is_share, sizes, tables_of

__all__ = ["compare"]


def compare(first: Path, second: Path) -> dict[str, Any]:
    """How much better the second run does than the first.

    Args:
        first: a run's folder.
        second: another's, of the same task.

    Returns:
        ``task``, ``cases`` (how many both have) and ``strategies``: by name and metric, the ``first``'s and the
        ``second``'s figures, their paired ``difference`` with its interval, a two-sided sign-flip ``p``,
        ``clusters_needed`` to settle it, and of strategies with their whole history ``p_holm`` (adjusted over those).

    Raises:
        InputError: a folder holds no run, the tasks differ, or no case is in both.
    """
    asked = [read_json(folder / "eval.json") for folder in (first, second)]
    if asked[0]["task"] != asked[1]["task"]:
        raise InputError(
            f"{first} is a run of '{asked[0]['task']}' and {second} of '{asked[1]['task']}'.",
            remedy="Compare two runs of one task.",
        )
    left, right = _scored(first), _scored(second)
    shared = [case for case in left if case in right]
    if not shared:
        raise InputError(
            f"{first} and {second} have no case in common.",
            remedy="Run both with the same --users, --split and --seed.",
        )
    tables = [tables_of([run[case] for case in shared]) for run in (left, right)]
    found: dict[str, dict[str, Any]] = {}
    for condition, metrics in tables[0].items():
        for metric, ours in metrics.items():
            theirs = tables[1].get(condition, {}).get(metric)
            if theirs is not None and sizes(ours) == sizes(theirs):
                found.setdefault(condition, {})[metric] = _row(metric, ours, theirs)
    _adjust(found)
    return {"task": asked[0]["task"], "cases": len(shared), "strategies": found}


def _scored(folder: Path) -> dict[str, Outcome]:
    return {outcome.case: outcome for outcome in read_outcomes(folder / "cases.jsonl") if not outcome.error}


def _row(metric: str, first: Scores, second: Scores) -> dict[str, Any]:
    apart = difference(second, first)
    better, worse = sign_flip_p(second, first), sign_flip_p(first, second)
    p = min(1.0, 2 * min(better, worse))
    return {
        "first": figures(estimate(first, share=is_share(metric))),
        "second": figures(estimate(second, share=is_share(metric))),
        "difference": figures(apart),
        "p": round(p, 5),
        "clusters_needed": clusters_needed(apart, p, sided=2),
    }


def _adjust(found: dict[str, dict[str, Any]]) -> None:
    # Controls, ceilings and points of a curve make no claim, and would only water down those that do.
    claims = {
        condition: metrics
        for condition, metrics in found.items()
        if kind_of_condition(condition) == "strategy" and "@" not in condition
    }
    for metric in {metric for metrics in claims.values() for metric in metrics}:
        rows = {condition: metrics[metric] for condition, metrics in claims.items() if metric in metrics}
        for condition, p in holm({condition: row["p"] for condition, row in rows.items()}).items():
            rows[condition]["p_holm"] = round(p, 5)
