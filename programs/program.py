"""The steps of a module, written once and run either at once or asynchronously.

Steps are a generator. It yields what it waits for (a question, a piece of work, or several steps side by side), is
given the result, and returns what comes of it.

What all modules of the package share: copies that share models and data, and saved files without either.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import dspy

from hyperalign.concurrency import run_concurrently

__all__ = ["Call", "Compute", "Parallel", "Program", "Steps", "resolve_model", "run_steps", "run_steps_async"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Call:
    """A question to a module or to a model.

    Attributes:
        module: what is called; also a model itself.
        inputs: by name.
        settings: DSPy's, for this call alone, such as ``adapter``.
    """

    module: dspy.Module | dspy.BaseLM
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Compute:
    """Something that takes time and asks no module, such as reading texts with a scorer.

    Attributes:
        do: does it; in a thread where the steps are asynchronous.
    """

    do: Callable[[], Any]


@dataclass(frozen=True)
class Parallel:
    """Steps that do not depend on each other; their results come in order.

    Attributes:
        each: the steps.
        concurrency: how many are under way at once, at most.
        done: told how many have ended.
    """

    each: Sequence[Steps[Any]]
    concurrency: int
    done: Callable[[int], None] | None = None


Steps = Generator[Call | Compute | Parallel, Any, Result]


def run_steps(steps: Steps[Result]) -> Result:
    """Run steps to their end.

    Raises:
        BaseException: what the steps raise, or what they wait for raises and they do not catch.
    """
    try:
        waits_for = next(steps)
        while True:
            try:
                found = _found(waits_for)
            except Exception as error:
                waits_for = steps.throw(error)
            else:
                waits_for = steps.send(found)
    except StopIteration as end:
        result: Result = end.value
        return result


async def run_steps_async(steps: Steps[Result]) -> Result:
    """The same, asynchronously."""
    try:
        waits_for = next(steps)
        while True:
            try:
                found = await _afound(waits_for)
            except Exception as error:
                waits_for = steps.throw(error)
            else:
                waits_for = steps.send(found)
    except StopIteration as end:
        result: Result = end.value
        return result


def resolve_model(module: dspy.Module, given: Any = None) -> Any:
    """The model that a module asks.

    Args:
        module: a predictor, or a module whose first predictor decides.
        given: the model that it was made with.

    Returns:
        The predictor's own, as ``set_lm`` sets it, else ``given``, else DSPy's configured one, which may be None.
    """
    predictors = module.predictors()
    own = predictors[0].lm if predictors else None
    return own or given or dspy.settings.lm


def _found(waits_for: Call | Compute | Parallel) -> Any:
    if isinstance(waits_for, Parallel):
        return run_concurrently(run_steps, waits_for.each, waits_for.concurrency, done=waits_for.done)
    if isinstance(waits_for, Compute):
        return waits_for.do()
    with dspy.context(**waits_for.settings):
        return waits_for.module(**waits_for.inputs)


async def _afound(waits_for: Call | Compute | Parallel) -> Any:
    if isinstance(waits_for, Parallel):
        return await _side_by_side(waits_for)
    if isinstance(waits_for, Compute):
        return await asyncio.to_thread(waits_for.do)
    with dspy.context(**waits_for.settings):
        return await waits_for.module.acall(**waits_for.inputs)


async def _side_by_side(waits_for: Parallel) -> list[Any]:
    free = asyncio.Semaphore(waits_for.concurrency)
    ended = itertools.count(1)

    async def one(steps: Steps[Any]) -> Any:
        async with free:
            found = await run_steps_async(steps)
        if waits_for.done is not None:
            waits_for.done(next(ended))
        return found

    tasks = [asyncio.ensure_future(one(steps)) for steps in waits_for.each]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class Program(dspy.Module):
    """A DSPy module whose copies have prompts of their own.

    ``copy.deepcopy`` copies predictors, modules and containers. What a module was handed is shared: models, scorers,
    budgets and other people's records are connections and ledgers, of which a copy would be another one.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        for _, module in self.named_sub_modules():
            memo |= {id(value): value for value in vars(module).values() if isinstance(value, dspy.BaseLM)}
        copied: Self = type(self).__new__(type(self))
        memo[id(self)] = copied
        own = {name: value for name, value in vars(self).items() if name not in ("history", "callbacks")}
        for name, value in own.items():
            is_own = isinstance(value, dspy.Module | list | dict | set | tuple)
            setattr(copied, name, copy.deepcopy(value, memo) if is_own else value)
        copied.history, copied.callbacks = [], []
        return copied

    def save(self, path: Any, save_program: bool = False, modules_to_serialize: list[Any] | None = None) -> None:
        """Save prompts as JSON, or the whole program as DSPy does.

        Models are saved without their keys and without what was asked of them. DSPy loads prompts that were saved with
        a model of ``connect`` (after ``set_lm``) where ``load`` is told ``allow_unsafe_lm_state=True``.

        Args:
            path: a file for prompts, and a folder for the program.
            save_program: the whole program.
            modules_to_serialize: see ``dspy.Module.save``.
        """
        saved = self
        if save_program:
            saved = self.deepcopy()
            _forget(saved)
        super(Program, saved).save(path, save_program, modules_to_serialize)


def _forget(program: dspy.Module) -> None:
    """Give a program models that remember nothing; those that are one model stay one."""
    forgetful: dict[int, dspy.BaseLM] = {}
    for _, module in program.named_sub_modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, dspy.BaseLM):
                lm = forgetful.setdefault(id(value), value.copy())
                lm.history = []
                lm.kwargs.pop("api_key", None)
                setattr(module, name, lm)
