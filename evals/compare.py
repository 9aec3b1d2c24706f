"""Compares two runs of one task: the same condition in both, paired by case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hyperalign.errors import InputError

from .conditions import condition_kind
from .runner import Outcome, read_json, read_outcomes
from .statistics import as_json, clusters_needed, difference, estimate, holm, sign_flip_p
from .summary import Scores, cluster_sizes, is_share, tabulate

__all__ = ["compare"]


def compare(first: Path, second: Path) -> dict[str, Any]:
    """The difference between two runs, on the cases that both have.

    Args:
        first: the folder of a run; it may be unfinished.
        second: the folder of another run of the same task.

    Returns:
        ``task``, ``cases`` (how many both have) and ``conditions``: by name and metric, the estimates ``first`` and
        ``second``, their paired ``difference`` (second minus first) with its interval, a two-sided sign-flip ``p``,
        ``clusters_needed`` for a finding, and of strategies with all records ``p_holm`` (adjusted over those).

    Raises:
        InputError: a folder holds no run, the tasks differ, or no case is in both.
    """
    configs = [read_json(folder / "eval.json") for folder in (first, second)]
    if configs[0]["task"] != configs[1]["task"]:
        raise InputError(
            f"{first} is a run of '{configs[0]['task']}' and {second} of '{configs[1]['task']}'.",
            remedy="Compare two runs of one task.",
        )
    left, right = _scored(first), _scored(second)
    shared = [case for case in left if case in right]
    if not shared:
        raise InputError(
            f"{first} and {second} have no case in common.",
            remedy="Run both with the same --users, --split and --seed.",
        )
    tables = [tabulate([run[case] for case in shared]) for run in (left, right)]
    found: dict[str, dict[str, Any]] = {}
    for condition, metrics in tables[0].items():
        for metric, ours in metrics.items():
            theirs = tables[1].get(condition, {}).get(metric)
            if theirs is not None and cluster_sizes(ours) == cluster_sizes(theirs):
                found.setdefault(condition, {})[metric] = _row(metric, ours, theirs)
    _adjust(found)
    return {"task": configs[0]["task"], "cases": len(shared), "conditions": found}


def _scored(folder: Path) -> dict[str, Outcome]:
    return {outcome.case: outcome for outcome in read_outcomes(folder / "cases.jsonl") if not outcome.error}


def _row(metric: str, first: Scores, second: Scores) -> dict[str, Any]:
    change = difference(second, first)
    better, worse = sign_flip_p(second, first), sign_flip_p(first, second)
    p = min(1.0, 2 * min(better, worse))
    return {
        "first": as_json(estimate(first, share=is_share(metric))),
        "second": as_json(estimate(second, share=is_share(metric))),
        "difference": as_json(change),
        "p": round(p, 5),
        "clusters_needed": clusters_needed(change, p, sided=2),
    }


def _adjust(found: dict[str, dict[str, Any]]) -> None:
    # Controls, ceilings and points of learning curves are no claims to adjust for.
    claims = {
        condition: metrics
        for condition, metrics in found.items()
        if condition_kind(condition) == "strategy" and "@" not in condition
    }
    for metric in {metric for metrics in claims.values() for metric in metrics}:
        rows = {condition: metrics[metric] for condition, metrics in claims.items() if metric in metrics}
        for condition, p in holm({condition: row["p"] for condition, row in rows.items()}).items():
            rows[condition]["p_holm"] = round(p, 5)
