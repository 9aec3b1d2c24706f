"""Which failures end a search.

DSPy and its optimizers turn what a program or a model raises into a score of zero and go on, so that a server that died
would be told of as prompts that did not help. An answer that is none is one example's failure; a model that can't be
used is everybody's. This file knows no optimizer.

The user's metric, held to what a search needs: a finite number for every answer, and not the same one for all.

Optimizers turn what a metric raises into a score of zero and go on; here the first fault ends the search and is told.
This file knows no optimizer.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import dspy

from hyperalign.concurrency import Progress
from hyperalign.errors import ContextLengthError, HyperalignError, InputError, ModelError, ModelOutputError

from ..dspy_internals import ACTIVE_CALL_ID, BaseCallback, ContextWindowExceededError, LMError

__all__ = ["ExampleScore", "FailureCallback", "GuardedMetric", "Metric", "SearchEnded", "find_fatal_error", "in_metric"]

_judging: ContextVar[bool] = ContextVar("hyperalign_judging", default=False)


class SearchEnded(BaseException):
    """Leaves an optimizer at once; not an ``Exception``, which optimizers would take for a low score."""


def find_fatal_error(error: BaseException) -> HyperalignError | None:
    """What a failure ends a search with; None where it is one example's alone.

    Args:
        error: what a program raised.
    """
    if isinstance(error, HyperalignError):
        return None if isinstance(error, ModelOutputError | ContextLengthError) else error
    if isinstance(error, LMError) and not isinstance(error, ContextWindowExceededError):
        # Of a model that did not come from ``connect``, which would have said so itself.
        found = ModelError(f"The model could not be used: {error}", remedy="Run the same again when it answers.")
        found.__cause__ = error
        return found
    return None


@contextmanager
def in_metric() -> Iterator[None]:
    """While a metric judges: what its own modules raise is the metric's business."""
    token = _judging.set(True)
    try:
        yield
    finally:
        _judging.reset(token)


class FailureCallback(BaseCallback):
    """Hears what programs raise, and ends the search.

    Args:
        tell: is given the fault.
    """

    def __init__(self, tell: Callable[[HyperalignError], None]) -> None:
        self._tell = tell
        self._running: set[str] = set()
        self._outermost: set[str] = set()
        self._lock = threading.Lock()

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Note whether a module was called by another: what that one catches is no fault."""
        del instance, inputs
        with self._lock:
            if ACTIVE_CALL_ID.get() not in self._running and not _judging.get():
                self._outermost.add(call_id)
            self._running.add(call_id)

    def on_module_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        """End the search if a program failed for want of its model.

        Raises:
            Ended: it did.
        """
        del outputs
        with self._lock:
            self._running.discard(call_id)
            outermost = call_id in self._outermost
            self._outermost.discard(call_id)
        if outermost and exception is not None and (fault := find_fatal_error(exception)) is not None:
            self._tell(fault)
            raise SearchEnded


Metric = Callable[..., Any]
"""As DSPy calls it: ``metric(gold, pred, trace, pred_name, pred_trace)``, the last ones where it takes them."""

_MOST_ARGUMENTS = 5
_CONSTANT_AFTER = 0.5  # of what a search asks


@dataclass(frozen=True)
class ExampleScore:
    """One example's answer, scored.

    Attributes:
        user: whose it was.
        score: of the metric; more is better.
        feedback: in words; may be empty.
        tokens: that the model read and wrote for it; 0 where it does not say.
    """

    user: str
    score: float
    feedback: str
    tokens: int = 0


class GuardedMetric:
    """A metric that remembers the first fault of a search, its own or the program's.

    Args:
        metric: the user's.
        expected: how often it will be asked, for progress.
        progress: told after each answer.
    """

    def __init__(self, metric: Metric, *, expected: int = 0, progress: Progress | None = None) -> None:
        self._metric = metric
        self._arguments = _taken(metric)
        self._expected = expected
        self._progress = progress
        self._asked = 0
        self._lock = threading.Lock()
        self._scores: set[float] = set()
        self.fault: HyperalignError | None = None

    @property
    def constant(self) -> bool:
        """Whether all answers so far had one score, and there were as many as a few candidates give."""
        return len(self._scores) == 1 and self._asked > _CONSTANT_AFTER * max(1, self._expected)

    def __call__(
        self, gold: dspy.Example, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        """What DSPy's optimizers call; nought after a fault."""
        if self.fault is not None:
            return dspy.Prediction(score=0.0, feedback="")
        try:
            said = self._said(gold, pred, trace, pred_name, pred_trace)
        except HyperalignError as error:
            self.tell(error)
            return dspy.Prediction(score=0.0, feedback="")
        if self._progress is not None and self._asked <= self._expected:
            self._progress("search", self._asked, self._expected)
        return said

    def measure(self, program: dspy.Module, examples: Sequence[dspy.Example]) -> list[ExampleScore]:
        """Run a program on examples, one after the other, and score it; what it can't answer scores nought.

        Raises:
            InputError: the metric raises, or gives what is no number.
            HyperalignError: the model can't be used, or a cap was reached.
        """
        found = []
        for number, example in enumerate(examples, start=1):
            try:
                with dspy.context(track_usage=True):
                    answer = program(**example.inputs())
            except Exception as error:
                if (fault := find_fatal_error(error)) is not None:
                    raise fault from fault.__cause__
                found.append(ExampleScore(str(example.user), 0.0, f"The program failed: {type(error).__name__}."))
                continue
            said = self._said(example, answer, None, None, None)
            score = float(said.score) if hasattr(said, "score") else float(said)
            found.append(ExampleScore(str(example.user), score, str(getattr(said, "feedback", "")), _tokens(answer)))
            if self._progress is not None:
                self._progress("measure", number, len(examples))
        return found

    def tell(self, fault: HyperalignError) -> None:
        """Remember a fault; the first is the one that is raised."""
        with self._lock:
            self.fault = self.fault or fault

    def check(self) -> None:
        """Raise the first fault, if there was one.

        Raises:
            HyperalignError: that fault.
        """
        if self.fault is not None:
            raise self.fault

    def check_varied(self) -> None:
        """Refuse a metric that gave the same to all answers, of a few candidates at least.

        Raises:
            InputError: it did.
        """
        if self.constant:
            raise InputError(
                f"The metric gave {next(iter(self._scores)):g} to each of {self._asked} answers: nothing can be told "
                "apart.",
                remedy="Give a finer metric, or examples that are neither all solved nor all failed.",
            )

    def _said(self, gold: dspy.Example, *rest: Any) -> Any:
        try:
            with in_metric():
                said = self._metric(*(gold, *rest)[: self._arguments])
        except HyperalignError:
            raise
        except Exception as error:
            raise InputError(
                f"The metric raised {type(error).__name__} on an example of {gold.get('user', '?')!r}: {error}",
                remedy="It must give a number, or a prediction with 'score', for any answer.",
            ) from error
        score = getattr(said, "score", said)
        if not isinstance(score, int | float) or not math.isfinite(score):
            raise InputError(
                f"The metric gave {score!r} on an example of {gold.get('user', '?')!r}.",
                remedy="It must give a finite number for any answer, also for a bad one.",
            )
        with self._lock:
            self._asked += 1
            self._scores.add(float(score))
        return said


def _tokens(answer: Any) -> int:
    # Of the answer itself, so that what a metric reads does not count, and neither does it matter who paid for it.
    used = answer.get_lm_usage() if isinstance(answer, dspy.Prediction) else None
    return sum(
        int(each.get("prompt_tokens") or 0) + int(each.get("completion_tokens") or 0) for each in (used or {}).values()
    )


def _taken(metric: Metric) -> int:
    try:
        kinds = [each.kind for each in inspect.signature(metric).parameters.values()]
    except (TypeError, ValueError):
        return _MOST_ARGUMENTS
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return _MOST_ARGUMENTS
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(_MOST_ARGUMENTS, sum(kind in positional for kind in kinds))
