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
from types import SimpleNamespace
from typing import Any

import dspy

from hyperalign.errors import InputError, MissingExtraError, ModelOutputError

from ..dspy_internals import AdapterParseError, bootstrap
from .evolving import evolved
from .proposing import Reflected, Written, written_for
from .setting import Found, Setting, instructions_of

__all__ = ["OPTIMIZERS", "check_wants", "searched"]

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
