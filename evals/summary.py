"""Scores of outcomes as tables: by condition, metric and unit. This file runs nothing and judges nothing.

Whom a strategy helps and whom it harms: the same mean can hide both (WikiPersona, section 5, asks for equity).

People weigh the same, however many cases they have. This file reads scores; it runs nothing.

The summary of a run: each figure with its interval over clusters, whom it serves, and what is a finding.

``summary.json`` is a published format (``summary.schema.json`` beside this file): ``strategies`` holds, by name and
metric, ``mean``, ``low``, ``high``, ``n_clusters`` and ``n_cases``. This file runs nothing; it reads outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hyperalign.budget import Usage

from .cases import CaseKind, Task
from .conditions import BEATEN, CONTROLS, GOLD, NONE, WRONG_USER, kind_of_condition, main_of
from .runner import Outcome
from .statistics import Estimate, clusters_needed, difference, estimate, holm, mcnemar, ratio, sign_flip_p

__all__ = ["SURE", "Equity", "Scores", "Tables", "equity", "figures", "is_share", "sizes", "summarize", "tables_of"]

Scores = dict[str, list[float]]
"""One metric's values, by cluster."""
Tables = dict[str, dict[str, Scores]]
"""Scores by condition and metric."""

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
        for condition, metrics in outcome.found["scores"].items():
            for metric, value in metrics.items():
                tables.setdefault(condition, {}).setdefault(metric, {}).setdefault(unit(outcome), []).append(value)
    return tables


def sizes(scores: Scores) -> dict[str, int]:
    """How many values each cluster has: equal for two conditions that were scored on the same cases."""
    return {cluster: len(values) for cluster, values in scores.items()}


def figures(found: Estimate) -> dict[str, Any]:
    """An estimate as JSON has it: an interval that does not exist is null."""
    return {
        name: (None if isinstance(value, float) and math.isnan(value) else value)
        for name, value in asdict(found).items()
    }


@dataclass(frozen=True, slots=True)
class Equity:
    """How a strategy treats people.

    Attributes:
        n_users: how many.
        spread: standard deviation over people of their mean score.
        worst_decile: mean score of the tenth of people it serves worst, at least one of them.
        made_worse: share of people whose mean score lies below what they have without a profile; equal counts as not.
    """

    n_users: int
    spread: float
    worst_decile: float
    made_worse: float


def equity(scores: Mapping[str, Sequence[float]], without: Mapping[str, Sequence[float]] | float) -> Equity:
    """Equity of a strategy.

    Args:
        scores: by person.
        without: what they have without a profile, by person; or one value for all.
    """
    means = {user: float(np.mean(values)) for user, values in scores.items() if len(values)}
    ordered = np.sort(np.array(list(means.values()), dtype=np.float64))
    base = {
        user: without if isinstance(without, float | int) else float(np.mean(without[user]))
        for user in means
        if isinstance(without, float | int) or user in without
    }
    worse = [means[user] < value for user, value in base.items()]
    return Equity(
        n_users=len(means),
        spread=float(ordered.std(ddof=1)) if len(ordered) > 1 else 0.0,
        worst_decile=float(ordered[: max(1, math.ceil(len(ordered) / 10))].mean()) if len(ordered) else math.nan,
        made_worse=float(np.mean(worse)) if worse else math.nan,
    )


SURE = 0.05
"""The highest p of a win."""
_PRIMARY: Mapping[CaseKind, str] = {"choice": "accuracy", "writing": "author_logprob", "request": "handled"}
_YES_OR_NO = ("refused_safe", "complied_unsafe")
_BY_CHANCE_HALF = ("accuracy", "own_over_other", "pick")
_OWN_OVER_OTHER = {"accuracy": "own_over_other", "pick": "pick_own_over_other"}


def summarize(
    task: Task,
    outcomes: Sequence[Outcome],
    *,
    model: str,
    seed: int,
    controls: Sequence[str] = CONTROLS,
    not_asked: Sequence[str] = (),
    personas: Mapping[str, str] | None = None,
    divergent: Sequence[str] = (),
    usage: Mapping[str, Usage] | None = None,
    authorship: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """What a run found.

    Args:
        task: what was asked.
        outcomes: one a case; those that ended in an error count as errors, never as scores.
        model: the name of the model that answered or scored.
        seed: of the draws.
        controls: which of ``CONTROLS`` were on.
        not_asked: those of them that such a program is not asked.
        personas: the persona of each user, where people have one: equity is over those.
        divergent: ids of cases about which people differ.
        usage: what each step spent.
        instruments: accuracy of each classifier that judged, where there are some.

    Returns:
        Data for ``summary.json``.
    """
    scored = [outcome for outcome in outcomes if not outcome.error]
    tables = tables_of(scored, lambda outcome: outcome.cluster)
    primary = _primary(task, tables)
    curves = {condition: table for condition, table in tables.items() if "@" in condition}
    conditions = {condition: table for condition, table in tables.items() if "@" not in condition}
    people = tables_of(scored, lambda outcome: (personas or {}).get(outcome.user) or outcome.user)
    summary = {
        "task": task.name,
        "kind": task.kind,
        "primary": primary,
        "model": model,
        "seed": seed,
        "cluster": {"unit": task.unit, "n": len({outcome.cluster for outcome in scored})},
        "cases": {"scored": len(scored), "errors": len(outcomes) - len(scored)},
        "note": task.note(),
        "controls": [condition for condition in conditions if kind_of_condition(condition) != "strategy"],
        "switched_off": [control for control in CONTROLS if control not in controls],
        "not_asked": list(not_asked),
        "strategies": _figures_of(conditions),
        "against": _against(conditions, primary),
        "wins": _wins(conditions, primary),
        "equity": _equity(people, primary),
        "curves": _curves(curves, conditions),
        "cost": {step: spent.as_json() for step, spent in (usage or {}).items()},
    }
    if answers := _answers(outcomes):
        summary["answers"] = answers
    if covered := _covered(tables):
        summary["covered"] = covered
    chosen = set(divergent)
    parts = {
        "divergent": [outcome for outcome in scored if outcome.case in chosen],
        "personal": [outcome for outcome in scored if outcome.case not in chosen],
    }
    if all(parts.values()):
        summary["questions"] = {
            name: _figures_of(tables_of(part, lambda outcome: outcome.cluster)) for name, part in parts.items()
        }
    if task.kind == "request":
        summary["changes"] = _changes(scored)
    if authorship:
        summary["instruments"] = dict(authorship)
    return summary


def _answers(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many questions a model was asked, and how many stayed undecided; nothing where none was asked."""
    told = [outcome.found.get("questions") or {} for outcome in outcomes]
    counts = {name: sum(int(each.get(name, 0)) for each in told) for name in ("asked", "undecided")}
    return counts if counts["asked"] else {}


def _primary(task: Task, tables: Tables) -> str:
    """The task's own, where this run has it: what is asked by letter alone has no other metric than accuracy."""
    own = str(getattr(task, "primary", ""))
    return own if any(own in metrics for metrics in tables.values()) else _PRIMARY[task.kind]


def _figures_of(tables: Tables) -> dict[str, dict[str, Any]]:
    return {
        condition: {metric: figures(_estimated(metric, scores)) for metric, scores in metrics.items()}
        for condition, metrics in tables.items()
    }


def _estimated(metric: str, scores: Scores) -> Estimate:
    return estimate(scores, share=is_share(metric))


def _against(conditions: Tables, primary: str) -> dict[str, Any]:
    """Each strategy against each control: the paired difference, p adjusted over strategies, what would settle it."""
    found: dict[str, Any] = {}
    for control in (
        condition
        for condition in conditions
        if kind_of_condition(condition) != "strategy" and primary in conditions[condition]
    ):
        theirs = conditions[control][primary]
        ours = _compared(conditions, primary, theirs)
        adjusted = holm({condition: sign_flip_p(scores, theirs) for condition, scores in ours.items()})
        differences = {condition: difference(scores, theirs) for condition, scores in ours.items()}
        found[control] = {
            condition: {
                **figures(differences[condition]),
                "p_holm": round(adjusted[condition], 5),
                "clusters_needed": clusters_needed(differences[condition], adjusted[condition], claims=len(ours)),
            }
            for condition in ours
        }
    return found


def _wins(conditions: Tables, primary: str) -> dict[str, Any]:
    """A strategy wins if it beats every control that there is, and its own profile beats a stranger's.

    Of what is written, a stranger's answer is there under the main strategy alone: no other one can win. The p of all
    of them at once is the largest (Berger 1982), and is adjusted over strategies (Holm 1979).
    """
    beaten = {control: conditions[control][primary] for control in BEATEN if primary in conditions.get(control, {})}
    tests: dict[str, dict[str, float]] = {}
    for control, theirs in beaten.items():
        for condition, scores in _compared(conditions, primary, theirs).items():
            tests.setdefault(condition, {})[control] = sign_flip_p(scores, theirs)
    held = _OWN_OVER_OTHER.get(primary, "")
    for condition, metrics in conditions.items():
        if kind_of_condition(condition) == "strategy" and held in metrics:
            own = metrics[held]
            chance = {cluster: [0.5] * len(values) for cluster, values in own.items()}
            tests.setdefault(condition, {})["another's profile"] = sign_flip_p(own, chance)
    main = main_of([condition for condition in conditions if kind_of_condition(condition) == "strategy"])
    unmet = {
        condition
        for condition in tests
        if WRONG_USER in beaten and condition != main and held not in conditions[condition]
    }
    adjusted = holm({condition: max(found.values()) for condition, found in tests.items()})
    return {
        condition: {
            "p_holm": round(adjusted[condition], 5),
            "won": adjusted[condition] <= SURE and condition not in unmet,
            "weakest_against": max(found, key=lambda control: found[control]),
            **({"stranger_under": main} if condition in unmet else {}),
        }
        for condition, found in tests.items()
    }


def _covered(tables: Tables) -> dict[str, dict[str, Any]]:
    """How much of the way from chance to gold each strategy covers, at every number of records."""
    found: dict[str, dict[str, Any]] = {}
    for metric, gold in tables.get(GOLD, {}).items():
        way = _above_chance(gold)
        if not metric.startswith(_BY_CHANCE_HALF) or estimate(way).mean <= 0:
            continue
        for condition, table in tables.items():
            if kind_of_condition(condition) == "strategy" and metric in table and sizes(table[metric]) == sizes(gold):
                found.setdefault(condition, {})[metric] = figures(ratio(_above_chance(table[metric]), way))
    return found


def _above_chance(scores: Scores) -> Scores:
    return {cluster: [value - 0.5 for value in values] for cluster, values in scores.items()}


def _compared(conditions: Tables, metric: str, theirs: Scores) -> dict[str, Scores]:
    """The strategies that have a metric on the same cases."""
    return {
        condition: table[metric]
        for condition, table in conditions.items()
        if kind_of_condition(condition) == "strategy" and metric in table and sizes(table[metric]) == sizes(theirs)
    }


def _equity(people: Tables, primary: str) -> dict[str, Any]:
    bare = people.get(NONE, {}).get(primary)
    # A gain is counted from no profile: there half is what nobody's profile does.
    without: Scores | float = bare if bare is not None else 0.5
    return {
        condition: {
            name: (None if math.isnan(value) else value)
            for name, value in asdict(equity(table[primary], without)).items()
        }
        for condition, table in people.items()
        if "@" not in condition and primary in table and condition != NONE and not condition.startswith("vote-")
    }


def _changes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """By condition and yes-or-no metric: what changed against answering without anything, counted case by case."""
    found: dict[str, Any] = {}
    for metric in _YES_OR_NO:
        rows = [outcome.found["scores"] for outcome in outcomes]
        for condition in dict.fromkeys(condition for row in rows for condition in row if condition != NONE):
            both = [
                (row[condition][metric] > 0.5, row[NONE][metric] > 0.5)
                for row in rows
                if metric in row.get(condition, {}) and metric in row.get(NONE, {})
            ]
            if both:
                found.setdefault(condition, {})[metric] = asdict(
                    mcnemar([ours for ours, _ in both], [was for _, was in both])
                )
    return found


def _curves(points: Tables, conditions: Tables) -> dict[str, dict[str, Any]]:
    """By strategy and number of records; ``all`` is the whole history."""
    found: dict[str, dict[str, Any]] = {}
    for condition, table in points.items():
        name, _, count = condition.partition("@")
        found.setdefault(name, {})[count] = {m: figures(_estimated(m, scores)) for m, scores in table.items()}
    for name, curve in found.items():
        curve["all"] = {m: figures(_estimated(m, scores)) for m, scores in conditions.get(name, {}).items()}
    return found
