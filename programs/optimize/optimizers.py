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
from .instructions import Reflected, Written, written_for
from .leaks import LeakCheck
from .metric import Watched

__all__ = ["OPTIMIZERS", "Found", "Setting", "check_wants", "evolved", "instructions_of", "searched"]


@dataclass(frozen=True)
class Setting:
    """What an optimizer is handed.

    Attributes:
        program: what is made better; it is not changed.
        train: examples to search on.
        metric: what scores an answer.
        reflection: the model that writes instructions; None where there is none.
        leaks: what no prompt may hold.
        demos: examples of people who may be shown.
        rounds: how many candidates are tried, at most.
        seed: of whatever is drawn.
        over: whether the search must end, such as when a cap was reached.
    """

    program: dspy.Module
    train: Sequence[dspy.Example]
    metric: Watched
    reflection: Any
    leaks: LeakCheck
    demos: Sequence[dspy.Example]
    rounds: int
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


def evolved(setting: Setting, proposer: Reflected | Written, rounds: int) -> Found:
    """Search over what a proposer proposes.

    Args:
        setting: of the search.
        proposer: gives new instructions.
        rounds: how often it is asked, at most.

    Raises:
        HyperalignError: the model that the proposer asks can't be used.
    """
    few = min(_MINIBATCH, len(setting.train))
    heard = _Heard()

    def ended(state: Any) -> bool:
        over = setting.over() or setting.metric.fault is not None
        return over or proposer.fault is not None or proposer.exhausted

    optimizer = dspy.GEPA(
        metric=setting.metric,
        # The program as it is on all, then by round a few under the old prompt and under the new, and perhaps all.
        max_metric_calls=len(setting.train) + rounds * (2 * few + len(setting.train)),
        reflection_minibatch_size=few,
        instruction_proposer=proposer,
        reflection_lm=setting.reflection,
        use_merge=False,
        skip_perfect_score=False,
        track_stats=True,
        num_threads=1,
        warn_on_score_mismatch=False,
        seed=setting.seed,
        # What was answered on the few is not asked again among all.
        gepa_kwargs={"stop_callbacks": [_Rounds(rounds), ended], "cache_evaluation": True, "callbacks": [heard]},
    )
    train = list(setting.train)
    best = optimizer.compile(setting.program.deepcopy(), trainset=train, valset=train)
    if proposer.fault is not None:
        raise proposer.fault
    result = best.detailed_results
    scored = [
        {"instructions": instructions_of(candidate), "score": float(score)}
        for candidate, score in zip(result.candidates, result.val_aggregate_scores, strict=True)
    ]
    del best.detailed_results
    return Found(best, [*scored, *heard.rejected, *proposer.turned_down], proposer.refused, _why(proposer))


def _why(proposer: Reflected | Written) -> str:
    if not proposer.exhausted:
        return ""
    counts = ", ".join(f"{count} {why}" for why, count in proposer.refused.items())
    return f"the model that reflects proposed nothing of use any more ({counts})"


class _Rounds:
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
    if name == "variants" and not any(written_for(program).values()):
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


def searched(name: str | Any, setting: Setting) -> Found:
    """Run an optimizer.

    Args:
        name: of ``OPTIMIZERS``; or any of DSPy's optimizers, set up by the caller.
        setting: what it is handed; ``check_wants`` has found nothing wanting.

    Raises:
        ModelError: the model that reflects can't be used.
    """
    if not isinstance(name, str):
        return Found(name.compile(setting.program.deepcopy(), trainset=list(setting.train)))
    try:
        with _quiet():
            return OPTIMIZERS[name](setting)
    except AdapterParseError as error:
        raise ModelOutputError(
            f"The model that writes instructions does not answer in the form that {name} asks for.",
            remedy="Give a larger --reflection model, or --optimizer variants, which needs none.",
        ) from error


def _gepa(setting: Setting) -> Found:
    originals = instructions_of(setting.program)
    return evolved(setting, Reflected(setting.reflection, setting.leaks, setting.seed, originals), setting.rounds)


def _variants(setting: Setting) -> Found:
    written = Written(written_for(setting.program))
    return evolved(setting, written, min(setting.rounds, written.count))


def _bootstrap(setting: Setting) -> Found:
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=setting.metric,
        max_bootstrapped_demos=_DEMOS,
        max_labeled_demos=0,
        num_candidate_programs=setting.rounds,
        num_threads=1,
    )
    best = optimizer.compile(setting.program.deepcopy(), trainset=list(setting.demos), valset=list(setting.train))
    tried = [
        _entry(setting, each["program"], each["score"]) | {"demos": _demo_count(each["program"])}
        for each in best.candidate_programs
    ]
    del best.candidate_programs
    return Found(best, tried)


def _mipro(setting: Setting) -> Found:
    optimizer = dspy.MIPROv2(
        metric=setting.metric,
        prompt_model=setting.reflection,
        auto=None,
        num_candidates=max(2, setting.rounds // 2),
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        num_threads=1,
        seed=setting.seed,
    )
    train = list(setting.train)
    best = optimizer.compile(
        setting.program.deepcopy(), trainset=train, valset=train, num_trials=setting.rounds, minibatch=False,
        seed=setting.seed, data_aware_proposer=False, program_aware_proposer=False, fewshot_aware_proposer=False,
    )  # fmt: skip
    tried = [_entry(setting, each["program"], each["score"]) for each in best.candidate_programs]
    for kept in ("candidate_programs", "mb_candidate_programs", "trial_logs"):
        if hasattr(best, kept):
            delattr(best, kept)
    return Found(best, tried)


OPTIMIZERS: Mapping[str, Callable[[Setting], Found]] = {
    "gepa": _gepa,
    "variants": _variants,
    "bootstrap": _bootstrap,
    "mipro": _mipro,
}
"""By name, as the command line has them."""


def _entry(setting: Setting, program: dspy.Module, percent: float) -> dict[str, Any]:
    """A candidate for the artifact, without its words if they give somebody away: these were run unseen."""
    told = instructions_of(program)
    leaking = any(setting.leaks(text) for text in told.values())
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
