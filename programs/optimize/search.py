"""Whose answers a search may learn from, and whose decide whether it found anything: people apart, once and for all.

This file runs no program.

One budget for all models of a search, however they were connected.

By shape: a model with a method ``metered`` can be given another budget; any other spends what it spends. This file
knows no runtime.

Better prompts for a program, from people's judged answers: split, search, check for leaks, decide.

What is kept is better for people that it was not searched on, gives nobody away, and is hardly longer. A search that
was stopped goes on: its model calls are remembered in its folder, and come again at no cost. This file is the order of
the steps; each step is a file of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import BudgetExceededError, InputError
from hyperalign.records import Record, other_text, own_text, prompt_of

from .artifact import Artifact, apply, prompts_of, same_prompts
from .instructions import load_written_instructions
from .leaks import LeakCheck
from .metric import FailureCallback, GuardedMetric, Metric, SearchEnded
from .optimizers import Found, SearchConfig, check_wants, run_optimizer
from .verdict import compare_examples, decide, decide_unchanged

__all__ = ["SharedBudget", "Splits", "check_search", "optimize", "search", "shared_budget", "split_people"]

_LEAST_PEOPLE = 4
_VALIDATION = 0.5


@dataclass(frozen=True)
class Splits:
    """Examples by part; nobody is in both.

    Attributes:
        train: what prompts are searched on.
        validation: what decides whether the one that was found is kept; looked at twice, before and after.
    """

    train: list[dspy.Example]
    validation: list[dspy.Example]

    def users(self) -> dict[str, list[str]]:
        """Who is in which part."""
        return {
            name: sorted({str(example.user) for example in examples})
            for name, examples in (("train", self.train), ("validation", self.validation))
        }


def split_people(examples: Sequence[dspy.Example], *, seed: int = 0) -> Splits:
    """Split examples by their ``user``, half of the people each.

    Args:
        examples: each with ``user``.
        seed: of who goes where.

    Raises:
        InputError: there is no example, one has no user, or there are fewer than four people.
    """
    if not examples:
        raise InputError("There is nothing to optimize on: the training set is empty.", remedy="Give it examples.")
    for number, example in enumerate(examples, start=1):
        if not str(example.get("user", "")).strip():
            raise InputError(
                f"Example {number} of the training set has no 'user'.",
                remedy="People are kept apart by it: say whose each example is.",
            )
    users = sorted({str(example.user) for example in examples}, key=lambda user: _place(user, seed))
    if len(users) < _LEAST_PEOPLE:
        raise InputError(
            f"The training set is of {len(users)} {'person' if len(users) == 1 else 'people'}.",
            remedy=f"Give at least {_LEAST_PEOPLE}: some to search on, others to see whether it helps anybody else.",
        )
    guarded = set(users[: max(2, round(len(users) * _VALIDATION))])
    return Splits(
        [example for example in examples if str(example.user) not in guarded],
        [example for example in examples if str(example.user) in guarded],
    )


def _place(user: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\x00{user}".encode()).hexdigest()


class SharedBudget:
    """Hands out models that spend one budget.

    Args:
        budget: what they book in.
        strict: whether models that have another budget are given this one instead.
    """

    def __init__(self, budget: Budget, *, strict: bool) -> None:
        self.budget = budget
        self._strict = strict
        # The same model in two places stays one: its journal tells repeated requests apart.
        self._metered: dict[int, tuple[Any, Any]] = {}

    def model(self, lm: Any) -> Any:
        """A model that spends the budget; the same one if it does already, or can't be metered."""
        if not self._wants(lm):
            return lm
        if id(lm) not in self._metered:
            journal = getattr(getattr(getattr(lm, "engine", None), "meter", None), "journal", None)
            self._metered[id(lm)] = (lm, lm.metered(budget=self.budget, journal=journal))
        return self._metered[id(lm)][1]

    def program(self, program: dspy.Module) -> dspy.Module:
        """A program whose own models spend the budget; the same one if there is none that does not."""
        own = [
            (name, attribute, value)
            for name, module in program.named_sub_modules()
            for attribute, value in vars(module).items()
            if self._wants(value)
        ]
        if not own:
            return program
        copied = program.deepcopy()
        modules = dict(copied.named_sub_modules())
        for name, attribute, value in own:
            setattr(modules[name], attribute, self.model(value))
        return copied

    def _wants(self, value: Any) -> bool:
        if isinstance(value, type) or not callable(getattr(value, "metered", None)):
            return False
        theirs = getattr(value, "budget", None)
        return theirs is not self.budget and (self._strict or theirs is None)


def shared_budget(budget: Budget | None, lm: Any) -> SharedBudget:
    """The purse of a search.

    Args:
        budget: that was asked for; that of the model if None.
        lm: the model that the program runs on.
    """
    theirs = getattr(lm, "budget", None)
    return SharedBudget(budget or (theirs if isinstance(theirs, Budget) else Budget()), strict=budget is not None)


_TEXTS = ("prompt", "chosen", "rejected", "reference")


def optimize(program: dspy.Module, **asked: Any) -> dspy.Module:
    """A program with better prompts, if there are any.

    Args:
        program: is not changed.
        asked: as ``search`` takes it.

    Returns:
        A copy with what was kept; its ``optimization`` is the ``Artifact`` that says what was tried and found.

    Raises:
        HyperalignError: as ``search``.
    """
    artifact = search(program, **asked)
    better = program.deepcopy()
    apply(better, artifact.prompts)
    better.optimization = artifact
    return better


def search(
    program: dspy.Module,
    *,
    trainset: Sequence[dspy.Example],
    metric: Metric,
    optimizer: str | Any = "gepa",
    lm: dspy.LM | None = None,
    reflection: dspy.LM | None = None,
    demos: Sequence[dspy.Example] = (),
    max_steps: int = 8,
    seed: int = 0,
    budget: Budget | None = None,
    step: str = "",
    task: str = "",
    progress: Progress | None = None,
) -> Artifact:
    """Search for better prompts.

    Args:
        program: what is made better; it is not changed.
        trainset: examples, each with ``user`` beside its inputs; half of the people are kept from the search.
        metric: scores an answer as DSPy's metrics do; for ``gepa`` it also says in words what was wrong.
        optimizer: ``gepa``, ``variants``, ``bootstrap`` or ``mipro``, or one of DSPy's, set up by the caller.
        lm: the model that the program runs on; DSPy's configured one, or the program's own, if None.
        reflection: the model that writes instructions; ``lm`` if None.
        demos: examples of people who may be shown in prompts; nobody of the training set ever is.
        max_steps: how many candidates are tried, at most.
        seed: of the split and the search.
        budget: caps what the search spends: all models from ``connect`` book in it, whatever budget they have
            otherwise. If None it is that of ``lm``.
        step: for the artifact: which step of the loop this is.
        task: for the artifact: what it is tuned on.
        progress: told of the search.

    Raises:
        InputError: the training set is empty or of fewer than four people; the metric raises, gives no number, or the
            same one for all; the optimizer lacks what it needs.
        ModelError: a model can't be used.
        BudgetExceededError: a cap was reached.
    """
    check_search(program, trainset=trainset, optimizer=optimizer, lm=lm, reflection=reflection, demos=demos, seed=seed)
    shared = shared_budget(budget, lm or dspy.settings.lm)
    budget = shared.budget
    reflection = shared.model(reflection or lm or dspy.settings.lm)
    lm = shared.model(lm or dspy.settings.lm)
    metered = shared.program(program)
    parts = split_people(trainset, seed=seed)
    leaks = LeakCheck(_records(trainset), known=_known(program, demos), more=_texts(trainset))
    guarded = GuardedMetric(metric, expected=len(parts.train) * (max_steps + 1), progress=progress)
    with dspy.context(lm=lm) if lm is not None else dspy.context():
        with budget.step("validation"):
            before = guarded.measure(metered, parts.validation)
        config = SearchConfig(
            program=metered,
            train=parts.train,
            metric=guarded,
            reflection=reflection,
            leaks=leaks,
            demos=demos,
            max_steps=max_steps,
            seed=seed,
            over=lambda: _over(budget) or guarded.constant,
        )
        found = _searched(optimizer, config, budget)
        told = [f"{leak} in {name}" for name, text in _prompts(found.program) for leak in leaks(text)]
        same = same_prompts(prompts_of(found.program), prompts_of(program))
        with budget.step("validation"):
            after = before if same else guarded.measure(found.program, parts.validation)
    verdict = decide_unchanged(before, _why_nothing(found)) if same else decide(before, after, told)
    return Artifact(
        step=step,
        optimizer=optimizer if isinstance(optimizer, str) else type(optimizer).__name__,
        model=str(getattr(lm, "model", "")),
        reflection=str(getattr(reflection, "model", "")) if optimizer in ("gepa", "mipro") else "",
        task=task,
        seed=seed,
        users={name: tuple(users) for name, users in parts.users().items()},
        versions={name: version(name) for name in ("hyperalign", "dspy", "gepa")},
        verdict=verdict,
        validation=compare_examples(before, after),
        tried=tuple(found.tried),
        refused=dict(found.refused),
        spent={name: usage.as_json() for name, usage in budget.by_step.items()},
        prompts=prompts_of(found.program if verdict.kept else program),
        found=prompts_of(found.program),
        before=prompts_of(program),
    )


def check_search(
    program: dspy.Module,
    *,
    trainset: Sequence[dspy.Example],
    optimizer: str | Any,
    lm: dspy.LM | None = None,
    reflection: dspy.LM | None = None,
    demos: Sequence[dspy.Example] = (),
    seed: int = 0,
) -> None:
    """Whether a search can begin, before anything is spent; its arguments are those of ``search``.

    Raises:
        InputError: the training set is empty or of fewer than four people, or the optimizer lacks what it needs.
        MissingExtraError: the optimizer wants a package that is not installed.
    """
    split_people(trainset, seed=seed)
    check_wants(optimizer, program, reflects=(reflection or lm or dspy.settings.lm) is not None, demos=demos)


def _searched(optimizer: str | Any, config: SearchConfig, budget: Budget) -> Found:
    guarded = config.metric
    try:
        with budget.step("search"), dspy.context(callbacks=[*dspy.settings.callbacks, FailureCallback(guarded.tell)]):
            found = run_optimizer(optimizer, config)
    except (Exception, SearchEnded):
        # What ended the search says more than what an optimizer makes of it.
        guarded.check()
        budget.check()
        raise
    guarded.check()
    budget.check()
    guarded.check_varied()
    return found


def _why_nothing(found: Found) -> str:
    if found.ended:
        return (
            f"no improvement found: {found.ended}; give a larger --reflection model, or take --optimizer variants, "
            "which needs none"
        )
    # The first are the prompts as they were.
    if found.refused and sum("refused" not in each for each in found.tried) <= 1:
        counts = ", ".join(f"{count} {why}" for why, count in found.refused.items())
        return f"no improvement found: nothing that was proposed was of use ({counts})"
    return "no improvement found: nothing that was tried did better in the search"


def _over(budget: Budget) -> bool:
    try:
        budget.check()
    except BudgetExceededError:
        return True
    return False


def _records(examples: Iterable[dspy.Example]) -> list[Record]:
    """All records in examples, also those of other people that theirs are held against."""
    held = (value for example in examples for _, value in example.items())
    each = (one for value in held for one in (value if isinstance(value, list | tuple) else (value,)))
    # Of two people with the same ids, both: an id is unique in one person's records.
    return list({(one.user, one.id): one for one in each if isinstance(one, Record)}.values())


def _texts(examples: Iterable[dspy.Example]) -> list[str]:
    return [str(example[name]) for example in examples for name in _TEXTS if name in example]


def _known(program: dspy.Module, demos: Iterable[dspy.Example]) -> list[str]:
    """What was there before the search: the program's own words, written instructions, people who may be shown."""
    told = [text for _, text in _prompts(program)]
    shown = [text for each in _records(demos) for text in (prompt_of(each), own_text(each), other_text(each) or "")]
    return [*told, *load_written_instructions(), *shown, *_texts(demos)]


def _prompts(program: dspy.Module) -> list[tuple[str, str]]:
    """All words that a program's predictors say by themselves, by predictor."""
    return [
        (name, "\n".join([prompt.instructions, *(json.dumps(demo, ensure_ascii=False) for demo in prompt.demos)]))
        for name, prompt in prompts_of(program).items()
    ]
