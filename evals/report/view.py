"""What a report shows, as plain data for the templates, and metrics and estimates in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hyperalign.budget import Usage
from hyperalign.charts import ForestRow, Point

from ..cases import CaseKind
from ..conditions import NONE, VERIFIED, WRONG_USER, condition_kind
from ..metrics import is_share
from ..metrics.authorship import CONTENT, JUDGES, RIVALS, win_rate
from ..metrics.nearness import NEARNESS
from ..runner import Outcome, read_json, read_outcomes
from ..summary import ALPHA

__all__ = [
    "CaseView",
    "JudgeRow",
    "View",
    "condition_name",
    "format_difference",
    "format_estimate",
    "format_money",
    "judge_name",
    "load_view",
    "metric_name",
]

_NAMES = {
    "accuracy": "accuracy",
    "accuracy_sum": "accuracy (summed)",
    "accuracy_letter": "accuracy by letter",
    "author_bits_saved": "bits saved by the author's language model",
    "author_logprob": "author log-probability",
    "author_logprob_characters": "author log-probability (characters)",
    "burrows_delta": "Burrows' Delta",
    "complied_unsafe": "complied (unsafe)",
    "copied_over_limit": "copies over 12 words",
    "copied_words": "longest copied run",
    "handled": "handled correctly",
    "helps_more": "helps more than no profile",
    "informative": "informative (proxy)",
    "length_ratio": "length over the person's",
    "log_loss": "log loss",
    "nearer_characters": "nearer to own (character n-grams)",
    "nearer_style": "nearer to own (measured style)",
    "nearer_words": "nearer to own (edit distance)",
    "on_topic": "on topic",
    "keeps_content": "keeps what the draft says",
    "order_consistency": "order consistency",
    "over_its_drafts": "log-probability above mean of drafts",
    "own_over_other": "own over other",
    "own_over_other_sum": "own over other (summed)",
    "pick": "pick accuracy",
    "pick_own_over_other": "pick own over other",
    "refused": "refused",
    "refused_safe": "refused (safe)",
    "repeated_4grams": "repeated 4-grams",
    "win_rate_vs_few_shot": "win rate vs few-shot",
    "win_rate_vs_none": "win rate vs none",
    "win_rate_vs_wrong_user": "win rate vs wrong-user",
    "words": "words",
}
_JUDGES = {
    "style": "style classifier",
    "characters": "character classifier",
    "language_model": "language model",
    "delta": "Burrows' Delta",
}

_JUDGE_METRICS = (*JUDGES.values(), *(win_rate(judge, rival) for judge in JUDGES for rival in RIVALS))
_EXTREMES = 3
_PLOTTED: Mapping[CaseKind, Sequence[str]] = {
    "choice": ("accuracy", "own_over_other", "pick", "pick_own_over_other", "accuracy_letter"),
    "writing": ("author_logprob", *(win_rate("style", rival) for rival in RIVALS), *NEARNESS.values()),
    "request": ("handled", "refused_safe", "complied_unsafe", "helps_more", "informative"),
}


def metric_name(metric: str) -> str:
    """A metric in words."""
    return _NAMES.get(metric, metric.replace("_", " "))


def judge_name(judge: str) -> str:
    """A judge of authorship in words."""
    return _JUDGES.get(judge, judge.replace("_", " "))


def condition_name(condition: str) -> str:
    """A condition in words, with its number of records."""
    name, _, count = condition.partition("@")
    return f"{name}, {count} record{'s' * (count != '1')}" if count else name


def format_estimate(metric: str, found: Mapping[str, Any] | None) -> str:
    """A mean with its interval; shares in percent."""
    if not found:
        return ""
    scale, digits, unit = (100.0, 0, " %") if is_share(metric) else (1.0, 2, "")
    mean = f"{found['mean'] * scale:.{digits}f}{unit}"
    if found["low"] is None or found["high"] is None:
        return mean
    return f"{mean} ({found['low'] * scale:.{digits}f} to {found['high'] * scale:.{digits}f})"


def format_difference(metric: str, found: Mapping[str, Any] | None) -> str:
    """A difference with its interval; of shares in percentage points, cut at 100."""
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


def format_money(spent: Mapping[str, Any]) -> str:
    """The money that a step of a summary's ``cost`` took."""
    return Usage.from_json(spent).money()


@dataclass(frozen=True)
class CaseView:
    """One case.

    Attributes:
        user: of the case.
        prompt: of the case.
        sides: titles and texts that are shown side by side.
        context: what the strategy said of the person.
        effect: what the strategy changed, in words.
    """

    user: str
    prompt: str
    sides: Sequence[tuple[str, str]]
    context: str
    effect: str


@dataclass(frozen=True)
class JudgeRow:
    """What one judge of authorship says of one condition, in words.

    Attributes:
        judge: its name.
        score: mean of its metric.
        wins: by rival, how often it finds the condition nearer to the author; empty where that was not compared.
        way: the share of the way from no profile to the author's own texts.
    """

    judge: str
    score: str
    wins: Mapping[str, str]
    way: str


@dataclass(frozen=True)
class View:
    """Everything that a report shows."""

    summary: Mapping[str, Any]
    main: str
    warnings: Sequence[str]
    verdicts: Sequence[tuple[str, str]]
    plots: Mapping[str, Sequence[ForestRow]]
    people: Mapping[str, Sequence[float]]
    learning_curves: Mapping[str, Mapping[int, Point]]
    worst: Sequence[CaseView]
    best: Sequence[CaseView]
    errors: Sequence[Outcome]

    @property
    def primary(self) -> str:
        """The metric that strategies are compared by."""
        return str(self.summary["primary"])

    @property
    def metrics(self) -> list[str]:
        """All metrics but those that have tables of their own, in order of first appearance."""
        every = dict.fromkeys(metric for found in self.summary["conditions"].values() for metric in found)
        apart = {*_JUDGE_METRICS, *CONTENT} if "judges" in self.summary else set()
        return [metric for metric in every if metric not in apart]

    @property
    def judges(self) -> dict[str, list[JudgeRow]]:
        """What each judge of authorship says of each condition of a writing task."""
        return {
            condition: [
                JudgeRow(
                    judge_name(judge),
                    format_estimate(metric, found[metric]),
                    {rival: format_estimate("win_rate", found.get(win_rate(judge, rival))) for rival in RIVALS},
                    format_estimate("win_rate", self.summary["judges"][judge]["way_to_own_text"].get(condition)),
                )
                for judge, metric in JUDGES.items()
                if metric in found
            ]
            for condition, found in self.summary["conditions"].items()
            if self.summary.get("judges")
        }

    @property
    def agreement(self) -> list[tuple[str, str]]:
        """By strategy: how many judges find it nearer to the author than each rival, in words."""
        counts: dict[str, list[str]] = {}
        for rival in RIVALS:
            judged: dict[str, list[float]] = {}
            for judge in self.summary.get("judges", {}).values():
                for name, apart in judge["differences"].get(rival, {}).items():
                    judged.setdefault(name, []).append(apart["mean"])
            for name, means in judged.items():
                nearer = sum(mean > 0 for mean in means)
                counts.setdefault(name, []).append(f"than {rival} by {nearer} of {len(means)} judges")
        return [(name, f"nearer to the author {', '.join(said)}") for name, said in counts.items()]

    @property
    def content(self) -> dict[str, list[str]]:
        """By condition: the mean of each metric in ``content_metrics``, and its difference from few-shot prompting."""
        apart = self.summary.get("content_differences", {})
        return {
            condition: [
                "; ".join(
                    part
                    for part in (
                        format_estimate(metric, found[metric] | {"low": None}) if metric in found else "",
                        format_difference(metric, apart.get(condition, {}).get(metric)),
                    )
                    if part
                )
                for metric in self.content_metrics
            ]
            for condition, found in self.summary["conditions"].items()
            if self.content_metrics
        }

    @property
    def content_metrics(self) -> list[str]:
        """The metrics of what answers say that the run has."""
        known = {metric for found in self.summary["conditions"].values() for metric in found}
        return [metric for metric in CONTENT if metric in known and "judges" in self.summary]

    @property
    def gap_metrics(self) -> list[str]:
        """The metrics with a fraction of the gap to gold."""
        closed = {metric for found in self.summary.get("gap_closed", {}).values() for metric in found}
        return [metric for metric in self.metrics if metric in closed]


def load_view(folder: Path) -> View:
    """The view of a run's folder.

    Raises:
        InputError: the folder has no summary.
    """
    summary = read_json(folder / "summary.json")
    outcomes = {outcome.case: outcome for outcome in read_outcomes(folder / "cases.jsonl")}
    scored = [outcome for outcome in outcomes.values() if not outcome.error]
    conditions: Mapping[str, Any] = summary["conditions"]
    primary, kind = summary["primary"], summary["kind"]
    strategies = [condition for condition in conditions if condition_kind(condition) == "strategy"]
    main, ranked = _rank(scored, strategies)
    return View(
        summary=summary,
        main=main,
        warnings=_warnings(summary),
        verdicts=[(name, _verdict(name, summary)) for name in strategies if primary in conditions[name]],
        plots={metric: rows for metric in _PLOTTED[kind] if (rows := _rows(conditions, metric))},
        people=_people(scored, primary),
        learning_curves=_learning_curves(summary, primary),
        worst=[_case(effect, outcome, main, kind) for effect, outcome in ranked[:_EXTREMES] if effect < 0],
        best=[_case(effect, outcome, main, kind) for effect, outcome in ranked[: -_EXTREMES - 1 : -1] if effect > 0],
        errors=[outcome for outcome in outcomes.values() if outcome.error],
    )


def _rank(outcomes: Sequence[Outcome], strategies: Sequence[str]) -> tuple[str, list[tuple[float, Outcome]]]:
    """The strategy whose cases are shown (``verified`` first, if it changed anything), and its cases by effect."""
    for condition in sorted(strategies, key=lambda name: name != VERIFIED):
        effects = [(effect, outcome) for outcome in outcomes if (effect := _effect(outcome, condition))]
        if effects:
            return condition, sorted(effects, key=lambda found: found[0])
    return (strategies or [NONE])[0], []


def _rows(conditions: Mapping[str, Any], metric: str) -> list[ForestRow]:
    order = ("ceiling", "strategy", "control")
    found = {name: metrics[metric] for name, metrics in conditions.items() if metric in metrics}
    return [
        ForestRow(name, condition_kind(name), _point(found[name]), format_estimate(metric, found[name]))
        for name in sorted(found, key=lambda name: order.index(condition_kind(name)))
    ]


def _point(found: Mapping[str, Any]) -> Point:
    return Point(found["mean"], found["low"], found["high"])


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    warnings = []
    if summary["disabled_controls"]:
        warnings.append(f"Disabled controls: {', '.join(summary['disabled_controls'])}.")
    if summary["unsupported_controls"]:
        warnings.append(f"Controls that such a program does not support: {', '.join(summary['unsupported_controls'])}.")
    if summary["cases"]["errors"]:
        warnings.append(f"{summary['cases']['errors']} case(s) ended in an error and have no score.")
    if (replies := summary.get("replies", {})).get("undecided"):
        warnings.append(f"{replies['undecided']:,} of {replies['asked']:,} replies of the model decided nothing.")
    if (clusters := summary["cluster"]["n"]) < 6:
        # With five clusters, the smallest p of a sign-flip test is 1/32; with four, 1/16.
        findings = "hardly any finding is" if clusters == 5 else "no finding is"
        warnings.append(f"Only {clusters} clusters: intervals are wide, and {findings} possible.")
    return warnings


def _verdict(condition: str, summary: Mapping[str, Any]) -> str:
    found = summary["verdicts"].get(condition)
    if not found:
        return "There is no control to compare with."
    closest = found["closest"]
    if found["beats_all"]:
        return f"Helps: it beats every control in this run (p = {found['p_holm']:.3f}, closest: {closest})."
    main = found.get("wrong_user_strategy")
    only = f" Another user's profile was tried with {main} only, so no other strategy can be shown to help."
    untested = only if main else ""
    if main and found["p_holm"] <= ALPHA:
        return f"Beats the other controls (p = {found['p_holm']:.3f}, closest: {closest}).{untested}"
    needed = (summary["differences"].get(closest, {}).get(condition) or {}).get("clusters_needed")
    more = f" About {needed} clusters would show a difference of this size." if needed else ""
    return f"Not shown to help: it does not beat {closest} (p = {found['p_holm']:.2f}).{more}{untested}"


def _people(outcomes: Sequence[Outcome], metric: str) -> dict[str, list[float]]:
    """People's mean scores by condition, strategies first."""
    values: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        for condition, metrics in outcome.result["scores"].items():
            if metric in metrics and "@" not in condition and not condition.startswith("vote-"):
                values.setdefault(condition, {}).setdefault(outcome.user, []).append(metrics[metric])
    return {condition: [fmean(theirs) for theirs in users.values()] for condition, users in values.items()}


def _learning_curves(summary: Mapping[str, Any], metric: str) -> dict[str, dict[int, Point]]:
    return {
        name: {int(n): _point(found[metric]) for n, found in curve.items() if n.isdigit() and metric in found}
        for name, curve in summary["learning_curves"].items()
    }


def _effect(outcome: Outcome, condition: str) -> float | None:
    """A condition minus no profile in one case: nats per token, log-probability of the author, or a score."""
    margins = outcome.result.get("margins") or {}
    if condition in margins and NONE in margins:
        return float(margins[condition]["mean"] - margins[NONE]["mean"])
    scores = outcome.result["scores"]
    own, bare = scores.get(condition, {}), scores.get(NONE, {})
    if "author_logprob" in own and "author_logprob" in bare:
        return float(own["author_logprob"] - bare["author_logprob"])
    if "handled" in own:
        return float(own["handled"] - bare.get("handled", 0.0))
    # Without a condition none, a choice is compared with chance.
    return float(own["accuracy"] - bare.get("accuracy", 0.5)) if "accuracy" in own else None


def _case(effect: float, outcome: Outcome, condition: str, kind: CaseKind) -> CaseView:
    result = outcome.result
    answers = result.get("answers", {})
    if kind == "request":
        reading = result.get("reading", {}).get(condition, {})
        return CaseView(
            user=f"{'a safe' if result['safe'] else 'an unsafe'} prompt",
            prompt=result["prompt"],
            sides=[("no profile", answers.get(NONE, "")), (condition, answers.get(condition, ""))],
            context="\n".join(f"{name}: {value}" for name, value in reading.items()),
            effect=f"handled {'correctly' if effect > 0 else 'wrongly'} now",
        )
    if kind == "writing":
        titles = {NONE: "no profile", condition: condition, WRONG_USER: "another user's profile"}
        sides = [(title, answers[name]) for name, title in titles.items() if name in answers]
        sides.append(("what the person wrote", result.get("reference", "")))
        change = f"author log-probability {effect:+.2f}"
    else:
        sides = [("preferred", result["chosen"]), ("rejected", result["rejected"])]
        by_letter = condition not in (result.get("margins") or {})
        change = f"accuracy {effect:+.1f}" if by_letter else f"margin {effect:+.3f} nats per token"
    turns = result.get("context", {}).get(condition, [])
    context = "\n".join(turn["content"] for turn in turns if turn["content"] not in {"", "…"})
    return CaseView(outcome.user, result["prompt"], sides, context.removesuffix("…").strip(), change)
