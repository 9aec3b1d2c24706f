"""The choice table: how well a personal reward, and strategies that ask a model, predict what people choose.

Every task whose data are in one folder is asked, beside the same controls. Scores of every condition become
probabilities by one slope, which is learned on people of the split ``dev`` and never on those who are reported.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError
from hyperalign.files import lock_folder, write_whole
from hyperalign.programs.reward.features import Encoder
from hyperalign.programs.reward.population import RewardPopulation, load_population
from hyperalign.runs import Journal, track_cost

from .cases import Case, Split, Task, case_id, fingerprint
from .conditions import FEW_SHOT, INVERTED, NONE, WRONG_USER, votes, wrong_users
from .metrics.calibration import (
    Calibration,
    calibrate,
    cluster_weights,
    expected_calibration_error,
    expected_error_if_calibrated,
    log_loss,
    reliability,
    to_log_odds,
)
from .metrics.choice import win
from .plan import Plan, sample_cases
from .runner import EvalFolder, Outcome
from .solvers.reward import CollaborativeSolver, RewardSolver
from .summary import summarize

__all__ = [
    "COLLABORATIVE",
    "REWARD",
    "REWARD_STATEMENTS",
    "STACKED",
    "ChoicePlan",
    "ChoiceScore",
    "ChoiceSource",
    "SampledTask",
    "Scores",
    "evaluate_choices",
]

REWARD, COLLABORATIVE = "reward", "collaborative"
REWARD_STATEMENTS = "reward+statements"
"""The reward that also reads statements; a ``ChoiceSource`` scores it, since a model reads every text."""
STACKED = f"{REWARD_STATEMENTS}+{FEW_SHOT}"
"""Both readings together, where both were asked for."""
_TIE = 1e-9  # log-odds; rounding must not make a pick


@dataclass(frozen=True, slots=True)
class ChoiceScore:
    """What a condition says of one case.

    Attributes:
        own: above zero where it picks the preferred answer; log-odds if it gives probabilities.
        other: the same with another person's profile; None without one.
    """

    own: float
    other: float | None = None


Scores = dict[str, dict[str, ChoiceScore]]
"""Scores by condition and case id; a case that a condition cannot score is left out."""


@dataclass(frozen=True)
class SampledTask:
    """What is asked of one task.

    Attributes:
        label: its name in the table.
        task: the task.
        reported: the cases that figures are about.
        dev: dev people's cases, which probabilities are calibrated on.
        strangers: for each case id, a case of another user of the same split.
    """

    label: str
    task: Task
    reported: Sequence[Case]
    dev: Sequence[Case]
    strangers: Mapping[str, Case]

    @property
    def cases(self) -> list[Case]:
        """All cases, each once."""
        return list({case.id: case for case in [*self.dev, *self.reported]}.values())


class ChoiceSource(Protocol):
    """Scores more strategies, such as those that ask a model."""

    def __call__(self, sampled: SampledTask, folder: EvalFolder) -> Scores:
        """Score the cases of a task; what is slow is kept in the folder, so that a stopped run continues."""
        ...


@dataclass(frozen=True)
class ChoicePlan:
    """What a choice table is made of.

    Attributes:
        split: ``dev`` to choose settings on, ``test`` to report on.
        tasks: names or labels of tasks; all if empty.
        users: at most this many users of each task, sampled; all if None.
        dev_users: at most this many dev users, sampled, are asked to calibrate figures of the split ``test``.
        seed: of all sampling.
    """

    split: Split = "test"
    tasks: Collection[str] = ()
    users: int | None = None
    dev_users: int = 60
    seed: int = 0


def evaluate_choices(
    tasks: Mapping[str, Task],
    plan: ChoicePlan,
    *,
    population: RewardPopulation | None = None,
    encoder: Encoder | None = None,
    source: ChoiceSource | None = None,
    config: Mapping[str, Any] | None = None,
    out: Path | None = None,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], EvalFolder]:
    """Make the choice table.

    Args:
        tasks: choice tasks by label.
        plan: what to run.
        population: has the features; the one that ships if None.
        encoder: reads texts beside measured style, where the population has axes for it.
        source: scores more strategies.
        config: what decides the results of ``source``; it identifies the run.
        out: the run's folder; one in the data folder if None.
        budget: counts what the encoder and ``source`` use.
        progress: called after each task.

    Returns:
        The data of ``summary.json``, and the run's folder.

    Raises:
        InputError: the data are malformed, or the folder holds another run.
        StorageError: the folder cannot be written.
    """
    base = population or load_population()
    if encoder is None or base.space.encoder_axes is None:
        base, encoder = base.without_encoder(), None
    sampled = [_sample(label, task, plan) for label, task in tasks.items()]
    whole = {
        "task": "choices",
        "cases": {each.label: fingerprint(each.cases) for each in sampled},
        **asdict(replace(plan, tasks=sorted(plan.tasks))),
        "population": f"{base.name} {case_id(base.to_json())}",
        "encoder": encoder.name if encoder is not None else "",
        **(config or {}),
    }
    folder = EvalFolder(out, whole)
    kept = Journal(folder.path / "rewards.jsonl")
    found: dict[str, Any] = {}
    outcomes: dict[str, list[Outcome]] = {}
    with lock_folder(folder.path), track_cost(folder.path, budget or Budget()):
        for number, each in enumerate(sampled, start=1):
            scores = _score_without_model(each, base, encoder, kept)
            if source is not None:
                scores |= source(each, folder)
            scores |= _score_votes(each)
            found[each.label], outcomes[each.label] = _tabulate(each, scores, plan.seed)
            if progress is not None:
                progress("tasks", number, len(sampled))
        summary = {**{name: value for name, value in whole.items() if name != "cases"}, "tasks": found}
        summary["overall"] = _average(found, outcomes)
        lines = (json.dumps(vars(outcome)) + "\n" for theirs in outcomes.values() for outcome in theirs)
        write_whole(folder.cases, "".join(lines))
        write_whole(folder.path / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary, folder


def _sample(label: str, task: Task, plan: ChoicePlan) -> SampledTask:
    reported = sample_cases(task, Plan(split=plan.split, users=plan.users, seed=plan.seed))
    if not reported:
        raise InputError(f"The task '{task.name}' has no case.", remedy="Check its data.")
    dev: Sequence[Case] = reported
    if plan.split != "dev":
        dev = sample_cases(task, Plan(split="dev", users=plan.dev_users, seed=plan.seed))
    strangers: dict[str, Case] = {}
    for cases in (dev, reported):
        if len({case.person for case in cases}) > 1:
            strangers |= wrong_users(cases, plan.seed)
    return SampledTask(label, task, reported, dev, strangers)


def _score_without_model(
    sampled: SampledTask, base: RewardPopulation, encoder: Encoder | None, kept: Journal
) -> Scores:
    """Scores of the reward and of other people's choices; a task that was finished before is not computed again."""
    known = kept.get(sampled.label)
    if known is None:
        scores = _score_rewards(sampled, base, encoder) | _score_collaborative(sampled)
        known = {
            condition: {case: [score.own, score.other] for case, score in theirs.items()}
            for condition, theirs in scores.items()
        }
        kept.put(sampled.label, known)
    return {
        condition: {case: ChoiceScore(*values) for case, values in theirs.items()}
        for condition, theirs in known.items()
    }


def _score_rewards(sampled: SampledTask, base: RewardPopulation, encoder: Encoder | None) -> Scores:
    solver = RewardSolver(sampled.task, sampled.cases, sampled.strangers, base=base, encoder=encoder)
    found: Scores = {REWARD: {}, NONE: {}, WRONG_USER: {}, INVERTED: {}}
    for case in sampled.cases:
        read = solver(case)
        other = None if read.other is None else to_log_odds(read.other)
        found[REWARD][case.id] = ChoiceScore(to_log_odds(read.own), other)
        found[NONE][case.id] = ChoiceScore(to_log_odds(read.everybody))
        found[INVERTED][case.id] = ChoiceScore(to_log_odds(read.inverted))
        if other is not None:
            found[WRONG_USER][case.id] = ChoiceScore(other)
    return found


def _score_collaborative(sampled: SampledTask) -> Scores:
    """Empty where others seldom chose between the same items."""
    solver = CollaborativeSolver(sampled.task)
    scored = {case.id: odds for case in sampled.cases if (odds := solver(case)) is not None}
    if 2 * len(scored) < len(sampled.cases):
        return {}
    return {COLLABORATIVE: {case.id: ChoiceScore(scored.get(case.id, 0.0)) for case in sampled.cases}}


def _score_votes(sampled: SampledTask) -> Scores:
    found: Scores = {}
    for case in sampled.cases:
        for condition, metrics in votes(case).items():
            found.setdefault(condition, {})[case.id] = ChoiceScore(metrics["accuracy"] - 0.5)
    return found


def _tabulate(sampled: SampledTask, scores: Scores, seed: int) -> tuple[dict[str, Any], list[Outcome]]:
    """The summary of one task, and an outcome for each of its cases."""
    reported, label = sampled.reported, sampled.label
    learned = {
        condition: calibrate(
            sampled.dev,
            {case: score.own for case, score in theirs.items()},
            are_log_odds=condition in {REWARD, REWARD_STATEMENTS, NONE, COLLABORATIVE},
        )
        for condition, theirs in scores.items()
        if condition not in {WRONG_USER, INVERTED}
    }
    if stacked := _stack(sampled, scores, learned):
        scores = {**scores, STACKED: stacked}
        odds = {case: score.own for case, score in stacked.items()}
        learned[STACKED] = calibrate(sampled.dev, odds, are_log_odds=True)
    # They are the reward with other weights, so its slope is theirs.
    learned |= dict.fromkeys((WRONG_USER, INVERTED), learned[REWARD])
    probabilities = {
        condition: {
            case.id: learned[condition].probability(case, theirs[case.id].own) for case in reported if case.id in theirs
        }
        for condition, theirs in scores.items()
    }
    outcomes = [
        Outcome(
            f"{label}/{case.id}",
            case.user,
            f"{label}/{case.cluster}",
            {
                "prompt": case.prompt,
                "chosen": case.chosen,
                "rejected": case.rejected,
                "probabilities": {
                    condition: round(theirs[case.id], 6)
                    for condition, theirs in probabilities.items()
                    if case.id in theirs
                },
                "scores": dict(_metrics(case, scores, probabilities)),
            },
        )
        for case in reported
    ]
    summary = summarize(
        sampled.task,
        outcomes,
        model="",
        seed=seed,
        personas={case.user: case.persona for case in reported if case.persona},
    )
    summary["calibration"] = {
        condition: {
            **_calibration(reported, theirs),
            "slope": learned[condition].slope,
            "dev": dict(learned[condition].dev),
        }
        for condition, theirs in probabilities.items()
        if theirs
    }
    return summary, outcomes


def _stack(sampled: SampledTask, scores: Scores, learned: Mapping[str, Calibration]) -> dict[str, ChoiceScore]:
    """The sum of the log-odds of two readings, each calibrated: a product of experts (Hinton 2002), which has no weight
    of its own to learn from few dev people. Empty without both readings."""
    parts = (REWARD_STATEMENTS, FEW_SHOT)
    if not all(part in learned for part in parts):
        return {}

    def add(case: Case, values: Sequence[float]) -> float:
        return sum(learned[part].log_odds(case, value) for part, value in zip(parts, values, strict=True))

    found: dict[str, ChoiceScore] = {}
    for case in sampled.cases:
        read = [scores[part].get(case.id) for part in parts]
        both = [score for score in read if score is not None]
        if len(both) == len(parts):
            others = [score.other for score in both if score.other is not None]
            other = add(case, others) if len(others) == len(parts) else None
            found[case.id] = ChoiceScore(add(case, [score.own for score in both]), other)
    return found


def _metrics(
    case: Case, scores: Scores, probabilities: Mapping[str, Mapping[str, float]]
) -> Iterator[tuple[str, dict[str, float]]]:
    for condition, theirs in scores.items():
        if case.id not in theirs:
            continue
        score = theirs[case.id]
        found = {
            "pick": 0.5 if abs(score.own) < _TIE else win(score.own, 0.0),
            "log_loss": log_loss(probabilities[condition][case.id]),
        }
        if score.other is not None:
            found["pick_own_over_other"] = win(score.own, score.other)
        yield condition, found


def _calibration(cases: Sequence[Case], probabilities: Mapping[str, float]) -> dict[str, Any]:
    scored = [case for case in cases if case.id in probabilities]
    given, weights = [probabilities[case.id] for case in scored], cluster_weights(scored)
    return {
        "ece": expected_calibration_error(given, weights),
        "ece_if_calibrated": expected_error_if_calibrated(given, weights),
        "reliability": [asdict(each) for each in reliability(given, weights)],
    }


def _average(tasks: Mapping[str, Any], outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, dict[str, float]]:
    """Means over tasks of each condition that all tasks have, and its calibration error over all of their cases."""
    everywhere = [
        condition
        for condition in next(iter(tasks.values()))["conditions"]
        if all(condition in found["conditions"] for found in tasks.values())
    ]
    found: dict[str, dict[str, float]] = {}
    for condition in everywhere:
        rows = [task["conditions"][condition] for task in tasks.values()]
        metrics = [metric for metric in rows[0] if all(metric in row for row in rows)]
        # All tasks weigh the same, however many cases they have.
        given, weights = zip(
            *(
                (outcome.result["probabilities"][condition], 1.0 / len(theirs))
                for theirs in outcomes.values()
                for outcome in theirs
                if condition in outcome.result["probabilities"]
            ),
            strict=True,
        )
        found[condition] = {
            **{metric: float(np.mean([row[metric]["mean"] for row in rows])) for metric in metrics},
            "ece": expected_calibration_error(given, weights),
            "ece_if_calibrated": expected_error_if_calibrated(given, weights),
        }
    return found
