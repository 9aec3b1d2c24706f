"""DSPy's optimizers by name, each set up for one search.

- ``gepa``: a model reflects on judged answers and writes better instructions (Agrawal et al. 2025).
- ``variants``: the same search over instructions that people wrote, without a model that reflects.
- ``bootstrap``: solved examples as demonstrations, by random search (Khattab et al. 2024), from people who agreed to be
  shown, not from the training set.
- ``mipro``: a model proposes instructions, and a Bayesian optimizer searches them (Opsahl-Ong et al. 2024).
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
from .instructions import Proposer, ReflectiveProposer, WrittenProposer, written_instructions_for
from .leaks import LeakCheck
from .metric import GuardedMetric

__all__ = ["OPTIMIZERS", "OptimizerResult", "SearchConfig", "check_requirements", "run_gepa", "run_optimizer"]

_DEMOS = 2
_MINIBATCH = 4
# What NumPy's older generator takes, which MIPRO and its sampler use.
_NUMPY_SEEDS = 2**32


@dataclass(frozen=True)
class SearchConfig:
    """The input of an optimizer.

    Attributes:
        program: the program to improve; it is not changed.
        train: examples to search on.
        metric: scores an answer.
        reflection: the model that writes instructions; may be None.
        leaks: finds what a prompt leaks.
        demos: examples of people who agreed to be shown.
        max_steps: at most so many candidates.
        seed: of the search.
        should_stop: whether the search must end, such as when a budget is spent.
    """

    program: dspy.Module
    train: Sequence[dspy.Example]
    metric: GuardedMetric
    reflection: Any
    leaks: LeakCheck
    demos: Sequence[dspy.Example]
    max_steps: int
    seed: int
    should_stop: Callable[[], bool]


@dataclass(frozen=True)
class OptimizerResult:
    """The output of an optimizer.

    Attributes:
        program: the best candidate.
        tried: each candidate: its instructions by predictor, and its mean ``score`` on the training people where known.
            One that was dropped after a minibatch has ``few`` and ``few_before`` instead, its mean score there and that
            of its parent; one that was never run has ``refused``, the reason.
        refused: how many proposals were not run, by reason.
        ended: why the search ended early, in words; empty if it did not.
    """

    program: dspy.Module
    tried: list[dict[str, Any]] = field(default_factory=list)
    refused: Mapping[str, int] = field(default_factory=dict)
    ended: str = ""


def _instructions_of(program: dspy.Module) -> dict[str, str]:
    return {name: predictor.signature.instructions for name, predictor in program.named_predictors()}


def run_gepa(config: SearchConfig, proposer: Proposer, max_steps: int) -> OptimizerResult:
    """Run GEPA: a candidate that does better on a minibatch is scored on all training examples.

    Args:
        config: of the search.
        proposer: gives new instructions.
        max_steps: at most so many proposals.

    Raises:
        HyperalignError: the proposer's model can't be used.
    """
    few = min(_MINIBATCH, len(config.train))
    rejected = _RejectedCandidates()

    def should_stop(state: Any) -> bool:
        if int(state.i) + 1 >= max_steps or proposer.fault is not None or proposer.exhausted:
            return True
        return config.should_stop() or config.metric.fault is not None

    optimizer = dspy.GEPA(
        metric=config.metric,
        # The old prompts on all examples; then for each step old and new ones on a minibatch, and the new ones on all.
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
        # With the cache, a candidate's answers on the minibatch are not asked for again.
        gepa_kwargs={"stop_callbacks": [should_stop], "cache_evaluation": True, "callbacks": [rejected]},
    )
    train = list(config.train)
    best = optimizer.compile(config.program.deepcopy(), trainset=train, valset=train)
    if proposer.fault is not None:
        raise proposer.fault
    result = best.detailed_results
    scored = [
        {"instructions": _instructions_of(candidate), "score": float(score)}
        for candidate, score in zip(result.candidates, result.val_aggregate_scores, strict=True)
    ]
    del best.detailed_results
    ended = ""
    if proposer.exhausted:
        counts = ", ".join(f"{count} {why}" for why, count in proposer.refused.items())
        ended = f"the model that reflects proposed nothing of use any more ({counts})"
    return OptimizerResult(best, [*scored, *rejected.candidates, *proposer.turned_down], proposer.refused, ended)


class _RejectedCandidates:
    """Callbacks that keep the candidates that GEPA drops after a minibatch."""

    def __init__(self) -> None:
        self.candidates: list[dict[str, Any]] = []
        self._proposed: dict[str, str] = {}
        self._before: list[float] = []
        self._after: list[float] = []

    def on_proposal_end(self, event: Any) -> None:
        """Keep the instructions of a new candidate."""
        self._proposed = dict(event["new_instructions"])

    def on_evaluation_end(self, event: Any) -> None:
        """Keep the scores of a minibatch: of a candidate of the pool, or of the new one, which has no index yet."""
        scores = [float(score) for score in event["scores"]]
        if event["candidate_idx"] is None:
            self._after = scores
        else:
            self._before = scores

    def on_candidate_rejected(self, event: Any) -> None:
        """Add the new candidate."""
        del event
        self.candidates.append(
            {"instructions": self._proposed, "few": fmean(self._after), "few_before": fmean(self._before)}
        )


def check_requirements(name: str | Any, program: dspy.Module, *, reflects: bool, demos: Sequence[dspy.Example]) -> None:
    """Check that an optimizer has what it needs, before anything is spent; ``reflects`` if a model writes instructions.

    Raises:
        InputError: there is no such optimizer, or it lacks something.
        MissingExtraError: it needs a package that is not installed.
    """
    if not isinstance(name, str):
        return
    if name not in OPTIMIZERS:
        raise InputError(f"There is no optimizer {name!r}.", remedy=f"Choose one of: {', '.join(OPTIMIZERS)}.")
    if name == "gepa" and not reflects:
        raise InputError("GEPA needs a model that reflects.", remedy="Give --reflection, or --optimizer variants.")
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


def run_optimizer(name: str | Any, config: SearchConfig) -> OptimizerResult:
    """Run an optimizer.

    Args:
        name: of ``OPTIMIZERS``; or an instance of one of DSPy's optimizers.
        config: its input, which ``check_requirements`` has accepted.

    Raises:
        ModelError: the model that reflects can't be used.
    """
    if not isinstance(name, str):
        return OptimizerResult(name.compile(config.program.deepcopy(), trainset=list(config.train)))
    try:
        with _quiet():
            return OPTIMIZERS[name](config)
    except AdapterParseError as error:
        raise ModelOutputError(
            f"The model that writes instructions does not answer in the form that {name} asks for.",
            remedy="Give a larger --reflection model, or --optimizer variants, which needs none.",
        ) from error


def _gepa(config: SearchConfig) -> OptimizerResult:
    originals = _instructions_of(config.program)
    return run_gepa(
        config, ReflectiveProposer(config.reflection, config.leaks, config.seed, originals), config.max_steps
    )


def _variants(config: SearchConfig) -> OptimizerResult:
    written = written_instructions_for(config.program)
    return run_gepa(config, WrittenProposer(written), min(config.max_steps, sum(map(len, written.values()))))


def _bootstrap(config: SearchConfig) -> OptimizerResult:
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=config.metric,
        max_bootstrapped_demos=_DEMOS,
        max_labeled_demos=0,
        num_candidate_programs=config.max_steps,
        num_threads=1,
    )
    best = optimizer.compile(config.program.deepcopy(), trainset=list(config.demos), valset=list(config.train))
    tried = [
        _entry(config, each["program"], each["score"])
        | {"demos": sum(len(predictor.demos) for predictor in each["program"].predictors())}
        for each in best.candidate_programs
    ]
    del best.candidate_programs
    return OptimizerResult(best, tried)


def _mipro(config: SearchConfig) -> OptimizerResult:
    optimizer = dspy.MIPROv2(
        metric=config.metric,
        prompt_model=config.reflection,
        auto=None,
        num_candidates=max(2, config.max_steps // 2),
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        num_threads=1,
        seed=config.seed % _NUMPY_SEEDS,
    )
    train = list(config.train)
    best = optimizer.compile(
        config.program.deepcopy(), trainset=train, valset=train, num_trials=config.max_steps, minibatch=False,
        seed=config.seed % _NUMPY_SEEDS,
        data_aware_proposer=False, program_aware_proposer=False, fewshot_aware_proposer=False,
    )  # fmt: skip
    tried = [_entry(config, each["program"], each["score"]) for each in best.candidate_programs]
    for kept in ("candidate_programs", "mb_candidate_programs", "trial_logs"):
        if hasattr(best, kept):
            delattr(best, kept)
    return OptimizerResult(best, tried)


OPTIMIZERS: Mapping[str, Callable[[SearchConfig], OptimizerResult]] = {
    "gepa": _gepa,
    "variants": _variants,
    "bootstrap": _bootstrap,
    "mipro": _mipro,
}
"""By name."""


def _entry(config: SearchConfig, program: dspy.Module, percent: float) -> dict[str, Any]:
    """A candidate for the artifact, without its words if they leak: these optimizers do not check proposals."""
    instructions = _instructions_of(program)
    leaking = any(config.leaks(text) for text in instructions.values())
    return {"score": percent / 100} | ({"refused": "leaking"} if leaking else {"instructions": instructions})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the optimizers' own progress bars and logs, which have no option for it."""
    engine: Any = importlib.import_module("gepa.core.engine")
    no_bar = functools.partial(engine.tqdm, disable=True)
    loggers = [logging.getLogger(name) for name in ("dspy", "gepa")]
    levels = [each.level for each in loggers]
    bars = engine.tqdm, bootstrap.tqdm
    for each in loggers:
        # Their errors quote the examples, with people's texts; the search reports its own.
        each.setLevel(logging.CRITICAL)
    engine.tqdm, bootstrap.tqdm = no_bar, SimpleNamespace(tqdm=no_bar)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        engine.tqdm, bootstrap.tqdm = bars
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
