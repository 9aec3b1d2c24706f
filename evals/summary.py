"""The summary of a run: every metric with its interval over clusters, equity, comparisons, and which strategies help.

``compare`` puts two runs of one task side by side, paired by case.

``summary.json`` is a published format; ``summary.schema.json`` beside this file describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperalign.budget import Usage
from hyperalign.errors import InputError

from .cases import CaseKind, Task
from .conditions import (
    CONTROLS,
    CONTROLS_TO_BEAT,
    FEW_SHOT,
    GOLD,
    NONE,
    OWN_TEXT,
    WRONG_USER,
    condition_kind,
    main_strategy,
)
from .metrics import is_share
from .metrics.authorship import CONTENT, JUDGES, RIVALS, is_judged, nearness
from .runner import Outcome, read_json, read_outcomes
from .statistics import (
    as_json,
    clusters_needed,
    difference,
    equity,
    estimate,
    holm,
    mcnemar,
    ratio,
    share_of_way,
    sign_flip_p,
)

__all__ = ["ALPHA", "Scores", "Tables", "compare", "summarize"]

Scores = dict[str, list[float]]
"""One metric's values, by cluster."""
Tables = dict[str, dict[str, Scores]]
"""Scores by condition and metric."""

ALPHA = 0.05
"""A strategy helps if its adjusted p is at most this."""
OTHER_PROFILE = "another user's profile"
_PRIMARY: Mapping[CaseKind, str] = {"choice": "accuracy", "writing": "author_logprob", "request": "handled"}
_YES_OR_NO = ("refused_safe", "complied_unsafe")
_CHANCE_IS_HALF = ("accuracy", "own_over_other", "pick")
_OWN_OVER_OTHER = {"accuracy": "own_over_other", "pick": "pick_own_over_other"}


def _tabulate(outcomes: Iterable[Outcome], unit: Callable[[Outcome], str] = lambda outcome: outcome.cluster) -> Tables:
    """The scores of outcomes without errors, by condition, metric and unit, whose values keep the outcomes' order."""
    tables: Tables = {}
    for outcome in outcomes:
        for condition, metrics in outcome.result["scores"].items():
            for metric, value in metrics.items():
                tables.setdefault(condition, {}).setdefault(metric, {}).setdefault(unit(outcome), []).append(value)
    return tables


def _cluster_sizes(scores: Scores) -> dict[str, int]:
    """How many values each cluster has; equal for two conditions that were scored on the same cases."""
    return {cluster: len(values) for cluster, values in scores.items()}


def summarize(
    task: Task,
    outcomes: Sequence[Outcome],
    *,
    model: str,
    seed: int,
    controls: Sequence[str] = CONTROLS,
    unsupported: Sequence[str] = (),
    personas: Mapping[str, str] | None = None,
    divergent: Sequence[str] = (),
    usage: Mapping[str, Usage] | None = None,
    replies: Mapping[str, int] | None = None,
    authorship: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The data of ``summary.json``.

    Args:
        task: of the run.
        outcomes: one a case; errors are counted and have no score.
        model: name of the model that answered or scored.
        seed: of all sampling.
        controls: which of ``CONTROLS`` were enabled.
        unsupported: those of them that such a program cannot be run under.
        personas: the persona of each user, where people have one; equity is over those.
        divergent: ids of cases that different people answer differently.
        usage: by step.
        replies: of fits: how many questions were asked, and how many replies decided nothing.
        authorship: accuracy of each judge of authorship on people's own texts.
    """
    slim = [outcome.without_texts() for outcome in outcomes]
    scored = [outcome for outcome in slim if not outcome.error]
    tables = _tabulate(scored)
    primary = _primary(task, tables)
    conditions = {condition: table for condition, table in tables.items() if "@" not in condition}
    person = {outcome.user: (personas or {}).get(outcome.user) or outcome.user for outcome in scored}
    is_same = all(person[outcome.user] == outcome.cluster for outcome in scored)
    people = tables if is_same else _tabulate(scored, lambda outcome: person[outcome.user])
    summary = {
        "task": task.name,
        "kind": task.kind,
        "primary": primary,
        "model": model,
        "seed": seed,
        "cluster": {"unit": task.unit, "n": len({outcome.cluster for outcome in scored})},
        "cases": {"scored": len(scored), "errors": len(slim) - len(scored)},
        "note": task.note(),
        "controls": [condition for condition in conditions if condition_kind(condition) != "strategy"],
        "disabled_controls": [control for control in CONTROLS if control not in controls],
        "unsupported_controls": list(unsupported),
        "conditions": _estimates(conditions),
        "differences": _differences(conditions, primary),
        "verdicts": _verdicts(conditions, primary),
        "equity": _equity(people, primary),
        "learning_curves": _learning_curves(tables, conditions),
        "cost": {step: spent.as_json() for step, spent in (usage or {}).items()},
    }
    if counts := _replies(slim, replies or {}):
        summary["replies"] = counts
    if closed := _gap_closed(tables):
        summary["gap_closed"] = closed
    names = set(divergent)
    parts = {
        kind: [outcome for outcome in scored if (outcome.case in names) == (kind == "divergent")]
        for kind in ("divergent", "personal")
    }
    if all(parts.values()):
        summary["questions"] = {name: _estimates(_tabulate(part)) for name, part in parts.items()}
    if task.kind == "request":
        summary["changes"] = _changes(scored)
    if task.kind == "writing":
        judged = {metric for table in conditions.values() for metric in table} & set(JUDGES.values())
        summary["judges"] = {judge: _judge(conditions, metric) for judge, metric in JUDGES.items() if judged}
        summary["content_differences"] = _content_differences(conditions)
    if authorship:
        summary["authorship_accuracy"] = dict(authorship)
    return summary


def _replies(outcomes: Sequence[Outcome], fits: Mapping[str, int]) -> dict[str, int]:
    """How many questions the model was asked, and how many replies decided nothing; empty if none was asked."""
    counted = [fits, *(outcome.result.get("replies") or {} for outcome in outcomes)]
    counts = {name: sum(int(each.get(name, 0)) for each in counted) for name in ("asked", "undecided")}
    return counts if counts["asked"] else {}


def _primary(task: Task, tables: Tables) -> str:
    """The first that the run has: the task's own, its kind's, or picks, which are all that a choice table has."""
    wanted = [str(getattr(task, "primary", "")), _PRIMARY[task.kind], "pick"]
    known = {metric for metrics in tables.values() for metric in metrics}
    return next((metric for metric in wanted if metric in known), _PRIMARY[task.kind])


def _estimates(tables: Tables) -> dict[str, dict[str, Any]]:
    return {
        condition: {metric: as_json(estimate(scores, share=is_share(metric))) for metric, scores in metrics.items()}
        for condition, metrics in tables.items()
    }


def _differences(conditions: Tables, primary: str) -> dict[str, Any]:
    """Strategies minus controls, paired by case; p is adjusted over strategies."""
    found: dict[str, Any] = {}
    for control, metrics in conditions.items():
        if condition_kind(control) == "strategy" or primary not in metrics:
            continue
        strategies = _on_same_cases(conditions, primary, metrics[primary])
        adjusted = holm({name: sign_flip_p(scores, metrics[primary]) for name, scores in strategies.items()})
        found[control] = {}
        for name, scores in strategies.items():
            apart = difference(scores, metrics[primary])
            found[control][name] = {
                **as_json(apart),
                "p_holm": round(adjusted[name], 5),
                "clusters_needed": clusters_needed(apart, adjusted[name], claims=len(strategies)),
            }
    return found


def _verdicts(conditions: Tables, primary: str) -> dict[str, Any]:
    """Whether each strategy beats every control, and its own profiles beat other users'.

    A strategy's p is the largest of these tests (Berger 1982), adjusted over strategies (Holm 1979). In writing, only
    the main strategy is compared with the wrong user's profile, so no other strategy can be shown to help.
    """
    strategies = [condition for condition in conditions if condition_kind(condition) == "strategy"]
    controls = {
        control: conditions[control][primary] for control in CONTROLS_TO_BEAT if primary in conditions.get(control, {})
    }
    tests: dict[str, dict[str, float]] = {}
    for control, theirs in controls.items():
        for name, scores in _on_same_cases(conditions, primary, theirs).items():
            tests.setdefault(name, {})[control] = sign_flip_p(scores, theirs)
    own_over_other = _OWN_OVER_OTHER.get(primary, "")
    for name in strategies:
        if own_over_other in conditions[name]:
            own = conditions[name][own_over_other]
            chance = {cluster: [0.5] * len(values) for cluster, values in own.items()}
            tests.setdefault(name, {})[OTHER_PROFILE] = sign_flip_p(own, chance)
    main = main_strategy(strategies)
    untested = {
        name for name in tests if WRONG_USER in controls and name != main and own_over_other not in conditions[name]
    }
    adjusted = holm({name: max(found.values()) for name, found in tests.items()})
    return {
        name: {
            "p_holm": round(adjusted[name], 5),
            "beats_all": adjusted[name] <= ALPHA and name not in untested,
            "closest": max(found, key=lambda control: found[control]),
            **({"wrong_user_strategy": main} if name in untested else {}),
        }
        for name, found in tests.items()
    }


def _gap_closed(tables: Tables) -> dict[str, dict[str, Any]]:
    """The fraction of the gap between chance and gold that each strategy closes, at every number of records."""
    found: dict[str, dict[str, Any]] = {}
    for metric, gold in tables.get(GOLD, {}).items():
        gap = _above_chance(gold)
        if not metric.startswith(_CHANCE_IS_HALF) or estimate(gap).mean <= 0:
            continue
        for name, scores in _on_same_cases(tables, metric, gold).items():
            found.setdefault(name, {})[metric] = as_json(ratio(_above_chance(scores), gap))
    return found


def _above_chance(scores: Scores) -> Scores:
    return {cluster: [value - 0.5 for value in values] for cluster, values in scores.items()}


def _judge(conditions: Tables, metric: str) -> dict[str, Any]:
    """What one judge says: strategies minus rivals, and the share of the way from no profile to the author's texts.

    Positive is nearer to the author, whichever way the metric runs.
    """
    near: Tables = {}
    for condition, table in conditions.items():
        for cluster, values in table.get(metric, {}).items():
            near.setdefault(condition, {metric: {}})[metric][cluster] = [nearness(metric, value) for value in values]
    found: dict[str, Any] = {"metric": metric, "differences": {}, "way_to_own_text": {}}
    for rival in (rival for rival in RIVALS if rival in near):
        theirs = near[rival][metric]
        found["differences"][rival] = {
            name: as_json(difference(scores, theirs))
            for name, scores in _on_same_cases(near, metric, theirs).items()
            if name != rival
        }
    if NONE in near and OWN_TEXT in near:
        for name in near:
            if name not in {NONE, OWN_TEXT} and (
                share := share_of_way(*(near[each][metric] for each in (name, NONE, OWN_TEXT)))
            ):
                found["way_to_own_text"][name] = as_json(share)
    return found


def _content_differences(conditions: Tables) -> dict[str, dict[str, Any]]:
    """By condition and metric of content: the difference from few-shot prompting, paired by case."""
    found: dict[str, dict[str, Any]] = {}
    for metric, base in conditions.get(FEW_SHOT, {}).items():
        for name, scores in _on_same_cases(conditions, metric, base, kinds=("strategy", "control")).items():
            if metric in CONTENT and name != FEW_SHOT:
                found.setdefault(name, {})[metric] = as_json(difference(scores, base))
    return found


def _on_same_cases(
    conditions: Tables, metric: str, reference: Scores, *, kinds: Sequence[str] = ("strategy",)
) -> dict[str, Scores]:
    """Scores of the strategies (or other kinds) that have a metric on the same cases as the reference."""
    sizes = _cluster_sizes(reference)
    return {
        condition: table[metric]
        for condition, table in conditions.items()
        if condition_kind(condition) in kinds and metric in table and _cluster_sizes(table[metric]) == sizes
    }


def _equity(people: Tables, primary: str) -> dict[str, Any]:
    # Likelihood gains are relative to no profile: without a score of its own, it counts as chance.
    without: Scores | float = people.get(NONE, {}).get(primary, 0.5 if is_share(primary) else {})
    return {
        condition: as_json(equity(table[primary], without))
        for condition, table in people.items()
        if "@" not in condition and primary in table and condition != NONE and not condition.startswith("vote-")
    }


def _changes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Changes from no profile, by condition and yes-or-no metric, counted case by case."""
    found: dict[str, Any] = {}
    rows = [outcome.result["scores"] for outcome in outcomes]
    for metric in _YES_OR_NO:
        for condition in dict.fromkeys(condition for row in rows for condition in row if condition != NONE):
            pairs = [
                (row[condition][metric] > 0.5, row[NONE][metric] > 0.5)
                for row in rows
                if metric in row.get(condition, {}) and metric in row.get(NONE, {})
            ]
            if pairs:
                now, before = zip(*pairs, strict=True)
                found.setdefault(condition, {})[metric] = as_json(mcnemar(now, before))
    return found


def _learning_curves(tables: Tables, conditions: Tables) -> dict[str, dict[str, Any]]:
    """Estimates by strategy and number of records; ``all`` stands for all records."""
    found: dict[str, dict[str, Any]] = {}
    for condition, estimates in _estimates({name: table for name, table in tables.items() if "@" in name}).items():
        name, _, count = condition.partition("@")
        found.setdefault(name, {})[count] = estimates
    for name, curve in found.items():
        curve["all"] = _estimates({name: conditions.get(name, {})})[name]
    return found


def compare(first: Path, second: Path) -> dict[str, Any]:
    """The difference between two runs, on the cases that both have.

    Args:
        first: the folder of a run; it may be unfinished.
        second: the folder of another run of the same task.

    Returns:
        ``task``, ``cases`` (how many both have) and ``conditions``: by name and metric, the estimates ``first`` and
        ``second``, their paired ``difference`` (second minus first) with its interval, a two-sided sign-flip ``p``,
        ``clusters_needed`` for a finding, and of strategies with all records ``p_holm`` (adjusted over those). What
        judges of authorship say is left out if those of the two runs learned from other texts, and ``judges`` is False.

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
    is_alike = configs[0].get("judges", "") == configs[1].get("judges", "")
    tables = [_tabulate([run[case] for case in shared]) for run in (left, right)]
    found: dict[str, dict[str, Any]] = {}
    for condition, metrics in tables[0].items():
        for metric, ours in metrics.items():
            theirs = tables[1].get(condition, {}).get(metric) if is_alike or not is_judged(metric) else None
            if theirs is not None and _cluster_sizes(ours) == _cluster_sizes(theirs):
                found.setdefault(condition, {})[metric] = _row(metric, ours, theirs)
    _adjust(found)
    return {"task": configs[0]["task"], "cases": len(shared), "judges": is_alike, "conditions": found}


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
