"""Searches for better prompts on some people's judged answers, and keeps them if they help other people.

New prompts must score better on people they were not found on, leak nothing, and be hardly longer. A search that was
stopped resumes at no cost: its model calls are journaled in its folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import BudgetExceededError, InputError, check_counts, check_seed
from hyperalign.records import Record

from .artifact import Artifact, apply, prompts_of, same_prompts
from .instructions import load_written_instructions
from .leaks import LeakCheck, texts_of
from .metric import FailureCallback, GuardedMetric, Metric, SearchEnded
from .optimizers import OptimizerResult, SearchConfig, check_requirements, run_optimizer
from .verdict import compare_examples, decide, decide_unchanged

__all__ = ["SharedBudget", "check_search", "optimize", "search", "split_people"]

_MIN_PEOPLE = 4
_VALIDATION_SHARE = 0.5
_TEXT_FIELDS = ("prompt", "chosen", "rejected", "reference")


def split_people(examples: Sequence[dspy.Example], *, seed: int = 0) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """Split examples by their ``user``, half of the people in each part.

    Args:
        examples: each with ``user``.
        seed: of the split.

    Returns:
        Training examples, to search on, and validation examples, to decide whether the best prompts are kept.

    Raises:
        InputError: there is no example, one has no user, or there are fewer than four people.
    """
    if not examples:
        raise InputError("There is nothing to optimize on: the training set is empty.", remedy="Give it examples.")
    for number, example in enumerate(examples, start=1):
        if not str(example.get("user", "")).strip():
            raise InputError(
                f"Example {number} of the training set has no 'user'.",
                remedy="Give each example its person's id: the split keeps people apart.",
            )

    def order(user: str) -> str:
        return hashlib.sha256(f"{seed}\x00{user}".encode()).hexdigest()

    users = sorted({str(example.user) for example in examples}, key=order)
    if len(users) < _MIN_PEOPLE:
        raise InputError(
            f"The training set is of {len(users)} {'person' if len(users) == 1 else 'people'}.",
            remedy=f"Give at least {_MIN_PEOPLE}: some to search on, others to validate on.",
        )
    held_out = set(users[: max(2, round(len(users) * _VALIDATION_SHARE))])
    train = [example for example in examples if str(example.user) not in held_out]
    return train, [example for example in examples if str(example.user) in held_out]


class SharedBudget:
    """One budget for all models of a search.

    A model with a method ``metered`` can get another budget; any other keeps its own.

    Args:
        budget: for all models, whatever budget they have; if None it is that of ``lm`` or a new one, for models that
            have none.
        lm: the model that the program runs on.
    """

    def __init__(self, budget: Budget | None, lm: Any) -> None:
        theirs = getattr(lm, "budget", None)
        self.budget = budget or (theirs if isinstance(theirs, Budget) else Budget())
        self._strict = budget is not None
        # One model in two places stays one: its journal numbers repeated requests.
        self._metered: dict[int, tuple[Any, Any]] = {}

    def model(self, lm: Any) -> Any:
        """The model with the shared budget; the same one if it has that already, or can't get it."""
        if not self._needs_budget(lm):
            return lm
        if id(lm) not in self._metered:
            journal = getattr(getattr(getattr(lm, "engine", None), "meter", None), "journal", None)
            self._metered[id(lm)] = (lm, lm.metered(budget=self.budget, journal=journal))
        return self._metered[id(lm)][1]

    def program(self, program: dspy.Module) -> dspy.Module:
        """The program with the shared budget in its own models; a copy if any of them is replaced."""
        own = [
            (name, attribute, value)
            for name, module in program.named_sub_modules()
            for attribute, value in vars(module).items()
            if self._needs_budget(value)
        ]
        if not own:
            return program
        copied = program.deepcopy()
        modules = dict(copied.named_sub_modules())
        for name, attribute, value in own:
            setattr(modules[name], attribute, self.model(value))
        return copied

    def _needs_budget(self, value: Any) -> bool:
        if isinstance(value, type) or not callable(getattr(value, "metered", None)):
            return False
        theirs = getattr(value, "budget", None)
        return theirs is not self.budget and (self._strict or theirs is None)


def optimize(program: dspy.Module, **options: Any) -> dspy.Module:
    """Improve the prompts of a program.

    Args:
        program: is not changed.
        options: see ``search``.

    Returns:
        A copy with the prompts that are kept; its attribute ``optimization`` is the ``Artifact``.

    Raises:
        HyperalignError: see ``search``.
    """
    artifact = search(program, **options)
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
        program: the program to improve; it is not changed.
        trainset: examples, each with ``user`` beside its inputs; half of the people are held out of the search.
        metric: scores an answer as DSPy's metrics do; for ``gepa`` it also gives feedback in words.
        optimizer: ``gepa``, ``variants``, ``bootstrap`` or ``mipro``, or an instance of one of DSPy's optimizers.
        lm: the model that the program runs on; DSPy's configured one, or the program's own, if None.
        reflection: the model that writes instructions; ``lm`` if None.
        demos: examples of people who agreed to be shown in prompts; people of the training set never are.
        max_steps: at most so many candidates.
        seed: of the split and the search.
        budget: for all models from ``connect``, whatever budget they have; that of ``lm`` if None.
        step: for the artifact: the step that the program is.
        task: for the artifact: what the prompts are tuned on.
        progress: called during the search.

    Raises:
        InputError: the training set is empty or of fewer than four people; the metric raises, returns no finite number,
            or the same one for all answers; or the optimizer lacks something it needs.
        ModelError: a model can't be used.
        BudgetExceededError: a budget is spent.
    """
    check_search(
        program,
        trainset=trainset,
        optimizer=optimizer,
        lm=lm,
        reflection=reflection,
        demos=demos,
        max_steps=max_steps,
        seed=seed,
    )
    shared = SharedBudget(budget, lm or dspy.settings.lm)
    budget = shared.budget
    reflection = shared.model(reflection or lm or dspy.settings.lm)
    lm = shared.model(lm or dspy.settings.lm)
    metered = shared.program(program)
    train, validation = split_people(trainset, seed=seed)
    leaks = LeakCheck(_find_records(trainset), known=_known_texts(program, demos), more=_texts(trainset))
    guarded = GuardedMetric(metric, expected=len(train) * (max_steps + 1), progress=progress)
    with dspy.context(lm=lm) if lm is not None else dspy.context():
        with budget.step("validation"):
            before = guarded.measure(metered, validation)
        config = SearchConfig(
            program=metered,
            train=train,
            metric=guarded,
            reflection=reflection,
            leaks=leaks,
            demos=demos,
            max_steps=max_steps,
            seed=seed,
            should_stop=lambda: _is_spent(budget) or guarded.constant,
        )
        found = _run(optimizer, config, budget)
        leaked = [f"{leak} in {name}" for name, text in _prompt_texts(found.program) for leak in leaks(text)]
        same = same_prompts(prompts_of(found.program), prompts_of(program))
        with budget.step("validation"):
            after = before if same else guarded.measure(found.program, validation)
    verdict = decide_unchanged(before, _explain_no_change(found)) if same else decide(before, after, leaked)
    return Artifact(
        step=step,
        optimizer=optimizer if isinstance(optimizer, str) else type(optimizer).__name__,
        model=str(getattr(lm, "model", "")),
        reflection=str(getattr(reflection, "model", "")) if optimizer in ("gepa", "mipro") else "",
        task=task,
        seed=seed,
        users={"train": _users_of(train), "validation": _users_of(validation)},
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
    max_steps: int = 8,
    seed: int = 0,
) -> None:
    """Check that a search can begin, before anything is spent; for its arguments see ``search``.

    Raises:
        InputError: the training set is empty or of fewer than four people, the optimizer lacks something it needs, or a
            number is out of range.
        MissingExtraError: the optimizer needs a package that is not installed.
    """
    check_seed(seed)
    check_counts(max_steps=max_steps)
    split_people(trainset, seed=seed)
    check_requirements(optimizer, program, reflects=(reflection or lm or dspy.settings.lm) is not None, demos=demos)


def _run(optimizer: str | Any, config: SearchConfig, budget: Budget) -> OptimizerResult:
    guarded = config.metric
    try:
        with budget.step("search"), dspy.context(callbacks=[*dspy.settings.callbacks, FailureCallback(guarded.report)]):
            found = run_optimizer(optimizer, config)
    except (Exception, SearchEnded):
        # The first fault explains more than the exception that an optimizer makes of it.
        guarded.check()
        budget.check()
        raise
    guarded.check()
    budget.check()
    guarded.check_varied()
    return found


def _explain_no_change(found: OptimizerResult) -> str:
    if found.ended:
        return (
            f"no improvement found: {found.ended}; give a larger --reflection model, or take --optimizer variants, "
            "which needs none"
        )
    # The first candidate is the old prompts.
    if found.refused and sum("refused" not in each for each in found.tried) <= 1:
        counts = ", ".join(f"{count} {why}" for why, count in found.refused.items())
        return f"no improvement found: nothing that was proposed was of use ({counts})"
    return "no improvement found: nothing that was tried did better in the search"


def _users_of(examples: Iterable[dspy.Example]) -> tuple[str, ...]:
    return tuple(sorted({str(example.user) for example in examples}))


def _is_spent(budget: Budget) -> bool:
    try:
        budget.check()
    except BudgetExceededError:
        return True
    return False


def _find_records(examples: Iterable[dspy.Example]) -> list[Record]:
    """All records in examples, also those of other people."""
    values = (value for example in examples for _, value in example.items())
    each = (one for value in values for one in (value if isinstance(value, list | tuple) else (value,)))
    # Ids are unique within one person's records only.
    return list({(one.user, one.id): one for one in each if isinstance(one, Record)}.values())


def _texts(examples: Iterable[dspy.Example]) -> list[str]:
    return [str(example[name]) for example in examples for name in _TEXT_FIELDS if name in example]


def _known_texts(program: dspy.Module, demos: Iterable[dspy.Example]) -> list[str]:
    """Texts that do not leak: the program's prompts, written instructions, and people who agreed to be shown."""
    prompts = [text for _, text in _prompt_texts(program)]
    shown = [text for record in _find_records(demos) for text in texts_of(record)]
    return [*prompts, *load_written_instructions(), *shown, *_texts(demos)]


def _prompt_texts(program: dspy.Module) -> list[tuple[str, str]]:
    """The instructions and demonstrations of a program, by predictor."""
    return [
        (name, "\n".join([prompt.instructions, *(json.dumps(demo, ensure_ascii=False) for demo in prompt.demos)]))
        for name, prompt in prompts_of(program).items()
    ]
