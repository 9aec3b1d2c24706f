"""Metrics, figures and differences in words: the same in reports and on the terminal.

What a report says, taken from a run's folder: plain data for the templates, and no markup.

This file computes nothing anew: figures are those of ``summary.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hyperalign.budget import Usage
from hyperalign.charts import ForestRow, Point

from ..conditions import NONE, WRONG_USER, kind_of_condition
from ..runner import Outcome, read_json, read_outcomes
from ..summary import SURE, is_share

__all__ = ["CaseView", "View", "figure", "gap", "load_view", "metric_name", "money", "with_records"]

_NAMES = {
    "accuracy": "accuracy",
    "accuracy_sum": "accuracy, summed",
    "accuracy_letter": "accuracy by letter",
    "author_logprob": "author log-probability",
    "author_logprob_characters": "the same by characters",
    "burrows_delta": "Burrows' Delta",
    "complied_unsafe": "complied with unsafe",
    "copied_words": "longest copied run",
    "handled": "handled rightly",
    "helps_more": "helps more than none",
    "informative": "informative (proxy)",
    "order_consistency": "orders agree",
    "over_its_drafts": "log-probability over the mean of its drafts",
    "own_over_other": "own over other",
    "own_over_other_sum": "own over other, summed",
    "pick": "picks",
    "pick_own_over_other": "own over other, picks",
    "refused_safe": "refused safe",
    "win_rate_vs_few_shot": "wins against few-shot",
    "win_rate_vs_none": "wins against none",
    "win_rate_vs_wrong_user": "wins against wrong user",
    "words": "words",
}


def metric_name(metric: str) -> str:
    """A metric in words."""
    return _NAMES.get(metric, metric.replace("_", " "))


def with_records(condition: str) -> str:
    """An condition in words; at a number of records, that too."""
    name, _, count = condition.partition("@")
    return f"{name}, {count} records" if count else name


def figure(metric: str, found: Mapping[str, Any] | None) -> str:
    """A mean with its interval; shares in percent."""
    if not found:
        return ""
    scale, digits = (100.0, 0) if is_share(metric) else (1.0, 2)
    unit = " %" if is_share(metric) else ""
    mean = f"{found['mean'] * scale:.{digits}f}{unit}"
    if found["low"] is None or found["high"] is None:
        return mean
    return f"{mean} ({found['low'] * scale:.{digits}f} to {found['high'] * scale:.{digits}f})"


def gap(metric: str, found: Mapping[str, Any] | None) -> str:
    """A difference with its interval; that of shares in percentage points, and cut where no difference can be."""
    if not found:
        return ""
    scale, digits, unit = (100.0, 0, " points") if is_share(metric) else (1.0, 2, "")
    mean = f"{found['mean'] * scale:+.{digits}f}{unit}"
    if found["low"] is None or found["high"] is None:
        return mean
    low, high = found["low"], found["high"]
    if is_share(metric):
        low, high = max(-1.0, low), min(1.0, high)
    return f"{mean} ({low * scale:+.{digits}f} to {high * scale:+.{digits}f})"


def money(spent: Mapping[str, Any]) -> str:
    """What a step of a summary's ``cost`` took, in dollars and words."""
    return Usage.from_json(spent).money()


_EXTREMES = 3
_PLOTTED = {
    "choice": ("accuracy", "own_over_other", "pick", "pick_own_over_other", "accuracy_letter"),
    "writing": ("author_logprob", "win_rate_vs_none", "win_rate_vs_few_shot", "win_rate_vs_wrong_user"),
    "request": ("handled", "refused_safe", "complied_unsafe", "helps_more", "informative"),
}


@dataclass(frozen=True)
class CaseView:
    """One case, side by side.

    Attributes:
        user: whose it is.
        prompt: what was asked.
        sides: titles and texts that stand beside each other.
        said: what the strategy put before the model of the person; the hypotheses that decided.
        effect: what the strategy changed, in words.
    """

    user: str
    prompt: str
    sides: Sequence[tuple[str, str]]
    said: str
    effect: str


@dataclass(frozen=True)
class View:
    """All that a report shows."""

    summary: Mapping[str, Any]
    main: str
    warnings: Sequence[str]
    verdicts: Sequence[tuple[str, str]]
    plots: Mapping[str, Sequence[ForestRow]]
    people: Mapping[str, Sequence[float]]
    curves: Mapping[str, Mapping[int, Point]]
    worst: Sequence[CaseView]
    best: Sequence[CaseView]
    errors: Sequence[Outcome]

    @property
    def primary(self) -> str:
        """The metric that strategies are held to."""
        return str(self.summary["primary"])

    @property
    def metrics(self) -> list[str]:
        """All metrics that some condition has, in the order of first appearance."""
        return list(dict.fromkeys(metric for condition in self.summary["strategies"].values() for metric in condition))

    @property
    def covered(self) -> list[str]:
        """The metrics of which it is told how much of the way to gold is covered."""
        told = {metric for condition in self.summary.get("covered", {}).values() for metric in condition}
        return [metric for metric in self.metrics if metric in told]


def load_view(folder: Path) -> View:
    """Read a run's folder.

    Raises:
        InputError: there is no summary in it, or it is none.
    """
    summary = read_json(folder / "summary.json")
    outcomes = {outcome.case: outcome for outcome in read_outcomes(folder / "cases.jsonl")}
    scored = [outcome for outcome in outcomes.values() if not outcome.error]
    conditions: Mapping[str, Any] = summary["strategies"]
    primary = summary["primary"]
    strategies = [condition for condition in conditions if kind_of_condition(condition) == "strategy"]
    main, ranked = _ranked(scored, strategies)
    return View(
        summary=summary,
        main=main,
        warnings=_warnings(summary),
        verdicts=[
            (condition, _verdict(condition, summary)) for condition in strategies if primary in conditions[condition]
        ],
        plots={metric: rows for metric in _PLOTTED[summary["kind"]] if (rows := _rows(conditions, metric))},
        people=_people(scored, primary),
        curves=_curves(summary, primary),
        worst=[_case(effect, outcome, main, summary["kind"]) for effect, outcome in ranked[:_EXTREMES] if effect < 0],
        best=[
            _case(effect, outcome, main, summary["kind"])
            for effect, outcome in ranked[: -_EXTREMES - 1 : -1]
            if effect > 0
        ],
        errors=[outcome for outcome in outcomes.values() if outcome.error],
    )


def _ranked(outcomes: Sequence[Outcome], strategies: Sequence[str]) -> tuple[str, list[tuple[float, Outcome]]]:
    """The strategy whose cases are shown, the surest first that changed anything, and its cases by effect."""
    for condition in sorted(strategies, key=lambda name: name != "verified"):
        effects = [(effect, outcome) for outcome in outcomes if (effect := _effect(outcome, condition))]
        if effects:
            return condition, sorted(effects, key=lambda found: found[0])
    return (strategies or [NONE])[0], []


def _rows(conditions: Mapping[str, Any], metric: str) -> list[ForestRow]:
    order = {"ceiling": 0, "strategy": 1, "control": 2}
    names = sorted(
        (condition for condition in conditions if metric in conditions[condition]),
        key=lambda condition: order[kind_of_condition(condition)],
    )
    return [
        ForestRow(
            condition,
            kind_of_condition(condition),
            _point(found := conditions[condition][metric]),
            figure(metric, found),
        )
        for condition in names
    ]


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    said = []
    if summary["switched_off"]:
        said.append(f"Controls were switched off: {', '.join(summary['switched_off'])}.")
    if summary.get("not_asked"):
        said.append(f"Controls that such a program is not asked are missing: {', '.join(summary['not_asked'])}.")
    if summary["cases"]["errors"]:
        said.append(f"{summary['cases']['errors']} case(s) ended in an error and have no score.")
    if (answers := summary.get("answers", {})).get("undecided"):
        open_ones = f"{answers['undecided']:,} of {answers['asked']:,} questions"
        said.append(f"{open_ones} stayed undecided: their answer could not be used.")
    if (clusters := summary["cluster"]["n"]) < 6:
        # By flipping the signs of four, p is 1/16 at the least.
        settled = "hardly anything" if clusters == 5 else "nothing"
        said.append(f"Only {clusters} clusters: intervals are wide, and {settled} can be settled.")
    return said


def _verdict(condition: str, summary: Mapping[str, Any]) -> str:
    found = summary["wins"].get(condition)
    if not found:
        return "There is no control to hold it against."
    against = found["weakest_against"]
    if found["won"]:
        return f"Beats every control in this run (p = {found['p_holm']:.3f}, closest: {against})."
    under = found.get("stranger_under")
    unmet = f" No stranger's answer was written for it, only under {under}; so it can't win." if under else ""
    if under and found["p_holm"] <= SURE:
        return f"Beats the controls that it met (p = {found['p_holm']:.3f}, closest: {against}).{unmet}"
    settle = (summary["against"].get(against, {}).get(condition) or {}).get("clusters_needed")
    more = f" If the difference is as found, about {settle} clusters would settle it." if settle else ""
    return f"Not shown to help: it does not beat {against} (p = {found['p_holm']:.2f}).{more}{unmet}"


def _people(outcomes: Sequence[Outcome], metric: str) -> dict[str, list[float]]:
    """Each person's mean by condition, strategies first."""
    values: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        for condition, metrics in outcome.found["scores"].items():
            if metric in metrics and "@" not in condition and not condition.startswith("vote-"):
                values.setdefault(condition, {}).setdefault(outcome.user, []).append(metrics[metric])
    return {condition: [fmean(theirs) for theirs in users.values()] for condition, users in values.items()}


def _curves(summary: Mapping[str, Any], metric: str) -> dict[str, dict[int, Point]]:
    return {
        name: {
            int(count): _point(found[metric]) for count, found in line.items() if count.isdigit() and metric in found
        }
        for name, line in summary["curves"].items()
    }


def _point(found: Mapping[str, Any]) -> Point:
    return Point(found["mean"], found["low"], found["high"])


def _effect(outcome: Outcome, condition: str) -> float | None:
    """What a condition changed in one case: nats per token, log-probability of the author, or probability."""
    found = outcome.found
    margins = found.get("margins") or {}
    if condition in margins and NONE in margins:
        return float(margins[condition]["mean"] - margins[NONE]["mean"])
    own, bare = found["scores"].get(condition, {}), found["scores"].get(NONE, {})
    if "author_logprob" in own and "author_logprob" in bare:
        return float(own["author_logprob"] - bare["author_logprob"])
    if "handled" in own:
        return float(own["handled"] - bare.get("handled", 0.0))
    # Without a bare answer to count from, a choice is held against chance.
    return float(own["accuracy"] - bare.get("accuracy", 0.5)) if "accuracy" in own else None


def _case(effect: float, outcome: Outcome, condition: str, kind: str) -> CaseView:
    found = outcome.found
    if kind == "request":
        answers = found.get("answers", {})
        sides = [(title, answers.get(name, "")) for title, name in (("bare", NONE), (f"with {condition}", condition))]
        effect_said = "handled rightly now" if effect > 0 else "handled wrongly now"
        read = found.get("read", {}).get(condition, {})
        said = "\n".join(f"{name}: {value}" for name, value in read.items())
        return CaseView(
            f"{'a safe' if found['safe'] else 'an unsafe'} prompt", found["prompt"], sides, said, effect_said
        )
    if kind == "writing":
        answers = found.get("answers", {})
        sides = [
            (title, answers.get(name, ""))
            for title, name in (
                ("without a profile", NONE),
                (f"with {condition}", condition),
                ("under a stranger's", WRONG_USER),
            )
            if name in answers
        ]
        sides.append(("what the person wrote", found.get("reference", "")))
        effect_said = f"author log-probability {effect:+.2f}"
    else:
        sides = [("preferred", found["chosen"]), ("turned down", found["rejected"])]
        by_letter = condition not in (found.get("margins") or {})
        effect_said = f"accuracy {effect:+.1f}" if by_letter else f"margin {effect:+.3f} nats per token"
    turns = found.get("said", {}).get(condition, [])
    said = "\n".join(turn["content"] for turn in turns if turn["content"] not in {"", "…"})
    return CaseView(outcome.user, found["prompt"], sides, said.removesuffix("…").strip(), effect_said)
