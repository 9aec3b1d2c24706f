"""DSPy's optimizers by name, each set up for one search. None of them is ours.

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
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from hyperalign.errors import InputError, MissingExtraError, ModelOutputError

from .leaks import LeakCheck
from .proposing import Reflected, Written, written_for
from .watched import Watched

__all__ = ["OPTIMIZERS", "Found", "Setting", "searched"]

_MINIBATCH = 4
_DEMOS = 2


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
    reflection: dspy.LM | None
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
        tried: each candidate: its instructions by predictor, and its mean score on the training people where known.
        refused: proposals that were not run, by reason.
    """

    program: dspy.Module
    tried: list[dict[str, Any]]
    refused: Mapping[str, int]


def searched(name: str | Any, setting: Setting) -> Found:
    """Run an optimizer.

    Args:
        name: of ``OPTIMIZERS``; or any of DSPy's optimizers, set up by the caller.
        setting: what it is handed.

    Raises:
        InputError: there is no such optimizer, or it lacks what it needs.
        MissingExtraError: it wants a package that is not installed.
        ModelError: the model that reflects can't be used.
    """
    if not isinstance(name, str):
        return Found(name.compile(setting.program.deepcopy(), trainset=list(setting.train)), [], {})
    if name not in OPTIMIZERS:
        raise InputError(f"There is no optimizer {name!r}.", remedy=f"Choose one of: {', '.join(OPTIMIZERS)}.")
    try:
        with _quiet():
            return OPTIMIZERS[name](setting)
    except AdapterParseError as error:
        raise ModelOutputError(
            f"The model that writes instructions does not answer in the form that {name} asks for.",
            remedy="Give a larger --reflection model, or --optimizer variants, which needs none.",
        ) from error


def _gepa(setting: Setting) -> Found:
    if setting.reflection is None:
        raise InputError("GEPA wants a model that reflects.", remedy="Give --reflection, or --optimizer variants.")
    return _evolved(setting, Reflected(setting.reflection, setting.leaks), setting.rounds)


def _variants(setting: Setting) -> Found:
    written = Written(written_for(setting.program))
    if not written.count:
        names = ", ".join(each.signature.__name__ for _, each in setting.program.named_predictors())
        raise InputError(
            f"No written instructions ship for this program ({names}).", remedy="Take --optimizer gepa or bootstrap."
        )
    return _evolved(setting, written, min(setting.rounds, written.count))


def _evolved(setting: Setting, proposer: Reflected | Written, rounds: int) -> Found:
    """GEPA's search: a candidate that does no worse on a few examples is run on all of them."""
    few = min(_MINIBATCH, len(setting.train))

    def ended(state: Any) -> bool:
        return setting.over() or setting.metric.fault is not None or proposer.fault is not None

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
        gepa_kwargs={"stop_callbacks": [_Rounds(rounds), ended]},
    )
    train = list(setting.train)
    best = optimizer.compile(setting.program.deepcopy(), trainset=train, valset=train)
    # GEPA goes on after what a proposer raises.
    if proposer.fault is not None:
        raise proposer.fault
    result = best.detailed_results
    tried = [
        {"instructions": _instructions_of(candidate), "score": float(score)}
        for candidate, score in zip(result.candidates, result.val_aggregate_scores, strict=True)
    ]
    del best.detailed_results
    return Found(best, tried, proposer.refused)


class _Rounds:
    """Ends GEPA's search after so many proposals."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, state: Any) -> bool:
        return int(state.i) + 1 >= self._most


def _bootstrap(setting: Setting) -> Found:
    if not setting.demos:
        raise InputError(
            "There is nobody whose examples may be shown as demonstrations.",
            remedy="Give demos= of people who agreed to it; those of the training set are never shown.",
        )
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=setting.metric,
        max_bootstrapped_demos=_DEMOS,
        max_labeled_demos=0,
        num_candidate_programs=setting.rounds,
        num_threads=1,
    )
    best = optimizer.compile(setting.program.deepcopy(), trainset=list(setting.demos), valset=list(setting.train))
    tried = [
        {
            "instructions": _instructions_of(each["program"]),
            "demos": _demo_count(each["program"]),
            "score": each["score"],
        }
        for each in best.candidate_programs
    ]
    del best.candidate_programs
    return Found(best, tried, {})


def _mipro(setting: Setting) -> Found:
    try:
        importlib.import_module("optuna")
    except ImportError as error:
        raise MissingExtraError("MIPROv2", "mipro") from error
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
    return Found(best, [{"instructions": _instructions_of(best), "score": float(best.score)}], {})


OPTIMIZERS: Mapping[str, Callable[[Setting], Found]] = {
    "gepa": _gepa,
    "variants": _variants,
    "bootstrap": _bootstrap,
    "mipro": _mipro,
}
"""By name, as the command line has them."""


def _instructions_of(program: dspy.Module) -> dict[str, str]:
    return {name: predictor.signature.instructions for name, predictor in program.named_predictors()}


def _demo_count(program: dspy.Module) -> int:
    return sum(len(predictor.demos) for _, predictor in program.named_predictors())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the optimizers' own bars and logs: progress is told by whoever started the search."""
    engine: Any = importlib.import_module("gepa.core.engine")

    loggers = [logging.getLogger(name) for name in ("dspy", "gepa")]
    levels = [each.level for each in loggers]
    bar = engine.tqdm
    for each in loggers:
        each.setLevel(logging.ERROR)
    # Neither GEPA's bar nor those of DSPy, on standard output, can be switched off from outside.
    engine.tqdm = functools.partial(bar, disable=True)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        engine.tqdm = bar
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
