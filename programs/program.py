"""The base class of programs, whose steps are written once and run synchronously or asynchronously.

Steps are a generator. It yields what it waits for (a ``Call``, a ``Compute`` or a ``Parallel``), receives the result,
and returns its own.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import dspy

from hyperalign.concurrency import is_stopping, run_concurrently

from .reward import Encoder

__all__ = ["Call", "Compute", "Parallel", "Program", "Steps", "resolve_model", "run_steps", "run_steps_async"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Call:
    """A call of a module or a model.

    Attributes:
        module: the module or model.
        inputs: its inputs by name.
        settings: DSPy settings for this call alone, such as ``adapter``.
    """

    module: dspy.Module | dspy.BaseLM
    inputs: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Compute:
    """Slow work that calls no module, such as scoring texts; run in a thread where the steps are asynchronous."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Parallel:
    """Independent steps; their results come in order.

    Attributes:
        steps: the steps.
        concurrency: how many run at once, at most.
        done: called with the number of finished steps.
    """

    steps: Sequence[Steps[Any]]
    concurrency: int
    done: Callable[[int], None] | None = None


Steps = Generator[Call | Compute | Parallel, Any, Result]


def run_steps(steps: Steps[Result]) -> Result:
    """Run steps to the end.

    Raises:
        Exception: whatever the steps raise, or do not catch of what they wait for.
    """
    try:
        request = next(steps)
        while True:
            try:
                found = _run(request)
            except Exception as error:
                request = steps.throw(error)
            else:
                request = steps.send(found)
    except StopIteration as end:
        result: Result = end.value
        return result


async def run_steps_async(steps: Steps[Result]) -> Result:
    """``run_steps``, asynchronously."""
    try:
        request = next(steps)
        while True:
            try:
                found = await _run_async(request)
            except Exception as error:
                request = steps.throw(error)
            else:
                request = steps.send(found)
    except StopIteration as end:
        result: Result = end.value
        return result


def resolve_model(module: dspy.Module, default: Any = None) -> Any:
    """The model that a module calls.

    Args:
        module: a predictor, or a module whose first predictor decides.
        default: the model that the module was made with.

    Returns:
        The predictor's own, as ``set_lm`` sets it, else ``default``, else DSPy's configured one, which may be None.
    """
    predictors = module.predictors()
    own = predictors[0].lm if predictors else None
    return own or default or dspy.settings.lm


def _run(request: Call | Compute | Parallel) -> Any:
    if is_stopping():
        raise CancelledError
    if isinstance(request, Parallel):
        return run_concurrently(run_steps, request.steps, request.concurrency, done=request.done)
    if isinstance(request, Compute):
        return request.function()
    with dspy.context(**request.settings):
        return request.module(**request.inputs)


async def _run_async(request: Call | Compute | Parallel) -> Any:
    if isinstance(request, Parallel):
        return await _run_parallel(request)
    if isinstance(request, Compute):
        return await asyncio.to_thread(request.function)
    with dspy.context(**request.settings):
        return await request.module.acall(**request.inputs)


async def _run_parallel(request: Parallel) -> list[Any]:
    free = asyncio.Semaphore(request.concurrency)
    finished = itertools.count(1)

    async def run(steps: Steps[Any]) -> Any:
        async with free:
            found = await run_steps_async(steps)
        if request.done is not None:
            request.done(next(finished))
        return found

    tasks = [asyncio.ensure_future(run(steps)) for steps in request.steps]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class Program(dspy.Module):
    """A DSPy module whose copies have their own prompts; ``_steps`` takes what ``forward`` takes.

    ``copy.deepcopy`` copies predictors, modules and containers; copies share models, scorers, budgets and records.
    """

    def _steps(self, *args: Any, **inputs: Any) -> Steps[Any]:
        # Abstract: a module defines either its steps or, as ``Personalizer`` does, an ``aforward`` of its own.
        raise NotImplementedError(f"{type(self).__name__} defines neither _steps nor aforward.")

    async def aforward(self, *args: Any, **inputs: Any) -> Any:
        """``forward``, asynchronously."""
        return await run_steps_async(self._steps(*args, **inputs))

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

    def __getstate__(self) -> dict[str, Any]:
        """A pickle keeps no encoder, which may hold a model's weights and key."""
        state: dict[str, Any] = super().__getstate__()
        return {name: None if isinstance(value, Encoder) else value for name, value in state.items()}

    def save(self, path: Any, save_program: bool = False, modules_to_serialize: list[Any] | None = None) -> None:
        """Save the prompts as JSON, or the whole program as DSPy does.

        Models are saved without keys and history. To load prompts that were saved with a model of ``connect`` (after
        ``set_lm``), call ``load`` with ``allow_unsafe_lm_state=True``.

        Args:
            path: a file for prompts, or a folder for the program.
            save_program: whether to save the whole program.
            modules_to_serialize: see ``dspy.Module.save``.
        """
        saved = self
        if save_program:
            saved = self.deepcopy()
            _clear_models(saved)
        super(Program, saved).save(path, save_program, modules_to_serialize)


def _clear_models(program: dspy.Module) -> None:
    """Replace models by copies without key and history; modules that shared a model share its copy."""
    cleared: dict[int, dspy.BaseLM] = {}
    for _, module in program.named_sub_modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, dspy.BaseLM):
                lm = cleared.setdefault(id(value), value.copy())
                lm.history = []
                lm.kwargs.pop("api_key", None)
                setattr(module, name, lm)
