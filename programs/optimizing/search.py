"""Better prompts for a program, from people's judged answers: split, search, check for leaks, decide.

What is kept is better for people that it was not searched on, gives nobody away, and is hardly longer. A search that
was stopped goes on: its model calls are remembered in its folder, and come again at no cost. This file is the order of
the steps; each step is a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.errors import BudgetExceededError
from hyperalign.records import Record, other_text, own_text, prompt_of

from ..score import Progress
from .artifact import Artifact, apply, prompts_of, same_prompts
from .faults import Ended, Faults
from .leaks import LeakCheck
from .optimizers import check_wants, searched
from .people import split_people
from .proposing import all_written
from .setting import Found, Setting
from .spending import purse_of
from .verdict import decide, example_by_example, nothing
from .watched import Metric, Watched

__all__ = ["check_search", "optimize", "search"]

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
    rounds: int = 8,
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
        rounds: how many candidates are tried, at most.
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
    purse = purse_of(budget, lm or dspy.settings.lm)
    budget = purse.budget
    reflection = purse.model(reflection or lm or dspy.settings.lm)
    lm = purse.model(lm or dspy.settings.lm)
    metered = purse.program(program)
    parts = split_people(trainset, seed=seed)
    leaks = LeakCheck(_records(trainset), known=_known(program, demos), more=_texts(trainset))
    watched = Watched(metric, expected=len(parts.train) * (rounds + 1), progress=progress)
    with dspy.context(lm=lm) if lm is not None else dspy.context():
        with budget.step("validation"):
            before = watched.measure(metered, parts.validation)
        setting = Setting(
            program=metered,
            train=parts.train,
            metric=watched,
            reflection=reflection,
            leaks=leaks,
            demos=demos,
            rounds=rounds,
            seed=seed,
            over=lambda: _over(budget) or watched.constant,
        )
        found = _searched(optimizer, setting, budget)
        told = [f"{leak} in {name}" for name, text in _prompts(found.program) for leak in leaks(text)]
        same = same_prompts(prompts_of(found.program), prompts_of(program))
        with budget.step("validation"):
            after = before if same else watched.measure(found.program, parts.validation)
    verdict = nothing(before, _why_nothing(found)) if same else decide(before, after, told)
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
        validation=example_by_example(before, after),
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


def _searched(optimizer: str | Any, setting: Setting, budget: Budget) -> Found:
    watched = setting.metric
    try:
        with budget.step("search"), dspy.context(callbacks=[*dspy.settings.callbacks, Faults(watched.tell)]):
            found = searched(optimizer, setting)
    except (Exception, Ended):
        # What ended the search says more than what an optimizer makes of it.
        watched.check()
        budget.check()
        raise
    watched.check()
    budget.check()
    watched.check_varied()
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
    return [*told, *all_written(), *shown, *_texts(demos)]


def _prompts(program: dspy.Module) -> list[tuple[str, str]]:
    """All words that a program's predictors say by themselves, by predictor."""
    return [
        (name, "\n".join([prompt.instructions, *(json.dumps(demo, ensure_ascii=False) for demo in prompt.demos)]))
        for name, prompt in prompts_of(program).items()
    ]
