"""What an optimizer is handed, and what it hands back. This file runs nothing.

GEPA's search (Agrawal et al. 2025): what does better on a few examples is run on all of them.

Where new instructions come from, and what is kept in the end, is the business of others.

DSPy's optimizers by name, each set up for one search. None of them is ours.

- ``gepa``: a model reflects on judged answers and writes better instructions (Agrawal et al. 2025).
- ``variants``: the same search, over instructions that people wrote; needs no model that reflects.
- ``bootstrap``: solved examples as demonstrations, by random search (Khattab et al. 2024); drawn from people who may
  be shown, not from those of the training set.
- ``mipro``: instructions proposed by a model and searched by a Bayesian optimizer (Opsahl-Ong et al. 2024).

This file decides nothing about what is kept.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import dspy

from hyperalign.errors import InputError, MissingExtraError, ModelOutputError

from ..dspy_internals import AdapterParseError, bootstrap
from .instructions import ReflectiveProposer, WrittenProposer, written_instructions_for
from .leaks import LeakCheck
from .metric import GuardedMetric

__all__ = ["OPTIMIZERS", "Found", "SearchConfig", "check_wants", "instructions_of", "run_gepa", "run_optimizer"]


@dataclass(frozen=True)
class SearchConfig:
    """What an optimizer is handed.

    Attributes:
        program: what is made better; it is not changed.
        train: examples to search on.
        metric: what scores an answer.
        reflection: the model that writes instructions; None where there is none.
        leaks: what no prompt may hold.
        demos: examples of people who may be shown.
        max_steps: how many candidates are tried, at most.
        seed: of whatever is drawn.
        over: whether the search must end, such as when a cap was reached.
    """

    program: dspy.Module
    train: Sequence[dspy.Example]
    metric: GuardedMetric
    reflection: Any
    leaks: LeakCheck
    demos: Sequence[dspy.Example]
    max_steps: int
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


_MINIBATCH = 4


def run_gepa(config: SearchConfig, proposer: ReflectiveProposer | WrittenProposer, max_steps: int) -> Found:
    """Search over what a proposer proposes.

    Args:
        setting: of the search.
        proposer: gives new instructions.
        max_steps: how often it is asked, at most.

    Raises:
        HyperalignError: the model that the proposer asks can't be used.
    """
    few = min(_MINIBATCH, len(config.train))
    heard = _Heard()

    def ended(state: Any) -> bool:
        over = config.over() or config.metric.fault is not None
        return over or proposer.fault is not None or proposer.exhausted

    optimizer = dspy.GEPA(
        metric=config.metric,
        # The program as it is on all, then by round a few under the old prompt and under the new, and perhaps all.
        max_metric_calls=len(config.train) + max_steps * (2 * few + len(config.train)),
        reflection_minibatch_size=few,
        instruction_proposer=proposer,
        reflection_lm=config.reflection,
        use_merge=False,
        skip_perfect_score=False,
        track_stats=True,
        num_threads=1,
        warn_on_score_mismatch=False,
        seed=config.seed,
        # What was answered on the few is not asked again among all.
        gepa_kwargs={"stop_callbacks": [_MaxSteps(max_steps), ended], "cache_evaluation": True, "callbacks": [heard]},
    )
    train = list(config.train)
    best = optimizer.compile(config.program.deepcopy(), trainset=train, valset=train)
    if proposer.fault is not None:
        raise proposer.fault
    result = best.detailed_results
    scored = [
        {"instructions": instructions_of(candidate), "score": float(score)}
        for candidate, score in zip(result.candidates, result.val_aggregate_scores, strict=True)
    ]
    del best.detailed_results
    return Found(best, [*scored, *heard.rejected, *proposer.turned_down], proposer.refused, _why(proposer))


def _why(proposer: ReflectiveProposer | WrittenProposer) -> str:
    if not proposer.exhausted:
        return ""
    counts = ", ".join(f"{count} {why}" for why, count in proposer.refused.items())
    return f"the model that reflects proposed nothing of use any more ({counts})"


class _MaxSteps:
    """Ends GEPA's search after so many proposals."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, state: Any) -> bool:
        return int(state.i) + 1 >= self._most


class _Heard:
    """Keeps what GEPA tells of candidates that it drops, by the names of its callbacks.

    Attributes:
        rejected: their instructions and their mean score on a few examples, beside that of what they were to replace.
    """

    def __init__(self) -> None:
        self.rejected: list[dict[str, Any]] = []
        self._proposed: dict[str, str] = {}
        self._before: list[float] = []
        self._after: list[float] = []

    def on_proposal_end(self, event: Any) -> None:
        """A new candidate."""
        self._proposed = dict(event["new_instructions"])

    def on_evaluation_end(self, event: Any) -> None:
        """A few examples were run: with a candidate of the pool first, then with the new one, which has no number."""
        scores = [float(score) for score in event["scores"]]
        if event["candidate_idx"] is None:
            self._after = scores
        else:
            self._before = scores

    def on_candidate_rejected(self, event: Any) -> None:
        """The new one is dropped."""
        del event
        self.rejected.append(
            {"instructions": self._proposed, "few": fmean(self._after), "few_before": fmean(self._before)}
        )


_DEMOS = 2


def check_wants(name: str | Any, program: dspy.Module, *, reflects: bool, demos: Sequence[dspy.Example]) -> None:
    """Whether an optimizer has what it needs, before anything is spent.

    Args:
        name: as ``searched`` takes it.
        program: what is to be made better.
        reflects: whether there is a model that writes instructions.
        demos: examples of people who may be shown.

    Raises:
        InputError: there is no such optimizer, or it lacks what it needs.
        MissingExtraError: it wants a package that is not installed.
    """
    if not isinstance(name, str):
        return
    if name not in OPTIMIZERS:
        raise InputError(f"There is no optimizer {name!r}.", remedy=f"Choose one of: {', '.join(OPTIMIZERS)}.")
    if name == "gepa" and not reflects:
        raise InputError("GEPA wants a model that reflects.", remedy="Give --reflection, or --optimizer variants.")
    if name == "variants" and not any(written_instructions_for(program).values()):
        names = ", ".join(each.signature.__name__ for _, each in program.named_predictors())
        raise InputError(
            f"No written instructions ship for this program ({names}).", remedy="Take --optimizer gepa or bootstrap."
        )
    if name == "bootstrap" and not demos:
        raise InputError(
            "There is nobody whose examples may be shown as demonstrations.",
            remedy="Give demos= of people who agreed to it; those of the training set are never shown.",
        )
    if name == "mipro":
        try:
            importlib.import_module("optuna")
        except ImportError as error:
            raise MissingExtraError("MIPROv2", "mipro") from error


def run_optimizer(name: str | Any, config: SearchConfig) -> Found:
    """Run an optimizer.

    Args:
        name: of ``OPTIMIZERS``; or any of DSPy's optimizers, set up by the caller.
        setting: what it is handed; ``check_wants`` has found nothing wanting.

    Raises:
        ModelError: the model that reflects can't be used.
    """
    if not isinstance(name, str):
        return Found(name.compile(config.program.deepcopy(), trainset=list(config.train)))
    try:
        with _quiet():
            return OPTIMIZERS[name](config)
    except AdapterParseError as error:
        raise ModelOutputError(
            f"The model that writes instructions does not answer in the form that {name} asks for.",
            remedy="Give a larger --reflection model, or --optimizer variants, which needs none.",
        ) from error


def _gepa(config: SearchConfig) -> Found:
    originals = instructions_of(config.program)
    return run_gepa(
        config, ReflectiveProposer(config.reflection, config.leaks, config.seed, originals), config.max_steps
    )


def _variants(config: SearchConfig) -> Found:
    written = WrittenProposer(written_instructions_for(config.program))
    return run_gepa(config, written, min(config.max_steps, written.count))


def _bootstrap(config: SearchConfig) -> Found:
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=config.metric,
        max_bootstrapped_demos=_DEMOS,
        max_labeled_demos=0,
        num_candidate_programs=config.max_steps,
        num_threads=1,
    )
    best = optimizer.compile(config.program.deepcopy(), trainset=list(config.demos), valset=list(config.train))
    tried = [
        _entry(config, each["program"], each["score"]) | {"demos": _demo_count(each["program"])}
        for each in best.candidate_programs
    ]
    del best.candidate_programs
    return Found(best, tried)


def _mipro(config: SearchConfig) -> Found:
    optimizer = dspy.MIPROv2(
        metric=config.metric,
        prompt_model=config.reflection,
        auto=None,
        num_candidates=max(2, config.max_steps // 2),
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        num_threads=1,
        seed=config.seed,
    )
    train = list(config.train)
    best = optimizer.compile(
        config.program.deepcopy(), trainset=train, valset=train, num_trials=config.max_steps, minibatch=False,
        seed=config.seed, data_aware_proposer=False, program_aware_proposer=False, fewshot_aware_proposer=False,
    )  # fmt: skip
    tried = [_entry(config, each["program"], each["score"]) for each in best.candidate_programs]
    for kept in ("candidate_programs", "mb_candidate_programs", "trial_logs"):
        if hasattr(best, kept):
            delattr(best, kept)
    return Found(best, tried)


OPTIMIZERS: Mapping[str, Callable[[SearchConfig], Found]] = {
    "gepa": _gepa,
    "variants": _variants,
    "bootstrap": _bootstrap,
    "mipro": _mipro,
}
"""By name, as the command line has them."""


def _entry(config: SearchConfig, program: dspy.Module, percent: float) -> dict[str, Any]:
    """A candidate for the artifact, without its words if they give somebody away: these were run unseen."""
    told = instructions_of(program)
    leaking = any(config.leaks(text) for text in told.values())
    return {"score": percent / 100} | ({"refused": "leaking"} if leaking else {"instructions": told})


def _demo_count(program: dspy.Module) -> int:
    return sum(len(predictor.demos) for _, predictor in program.named_predictors())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the optimizers' own bars and logs: progress is told by whoever started the search."""
    # Neither GEPA's bar nor those of DSPy, on standard output and error, can be switched off from outside.
    engine: Any = importlib.import_module("gepa.core.engine")
    no_bar = functools.partial(engine.tqdm, disable=True)

    loggers = [logging.getLogger(name) for name in ("dspy", "gepa")]
    levels = [each.level for each in loggers]
    bars = engine.tqdm, bootstrap.tqdm
    for each in loggers:
        each.setLevel(logging.ERROR)
    engine.tqdm, bootstrap.tqdm = no_bar, SimpleNamespace(tqdm=no_bar)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        engine.tqdm, bootstrap.tqdm = bars
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
