"""The metric of a search, guarded: the first fault of the metric or of the program ends the search.

DSPy and its optimizers score an exception as zero and go on, so a dead server would look like prompts that do not help.
An unusable answer is one example's failure and scores zero; an unusable model fails all examples, and is a fault.
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

Metric = Callable[..., Any]
"""As DSPy calls it: ``metric(gold, pred, trace, pred_name, pred_trace)``, the last ones where it takes them."""

_MAX_ARGUMENTS = 5
_CONSTANT_AFTER = 0.5
"""The share of a search's answers after which equal scores are a fault."""
_in_metric: ContextVar[bool] = ContextVar("hyperalign_in_metric", default=False)


class SearchEnded(BaseException):
    """Leaves an optimizer at once; not an ``Exception``, which optimizers score as zero."""


def find_fatal_error(error: BaseException) -> HyperalignError | None:
    """The error that a failure ends a search with; None where only one example failed.

    Args:
        error: what a program raised.
    """
    if isinstance(error, HyperalignError):
        return None if isinstance(error, ModelOutputError | ContextLengthError) else error
    if isinstance(error, LMError) and not isinstance(error, ContextWindowExceededError):
        # Models from ``connect`` raise a HyperalignError themselves.
        found = ModelError(f"The model could not be used: {error}", remedy="Run the same again when it answers.")
        found.__cause__ = error
        return found
    return None


@contextmanager
def in_metric() -> Iterator[None]:
    """Keep ``FailureCallback`` from what a metric's own modules raise."""
    token = _in_metric.set(True)
    try:
        yield
    finally:
        _in_metric.reset(token)


class FailureCallback(BaseCallback):
    """Ends the search when a program fails with a fatal error.

    Args:
        report: called with the error.
    """

    def __init__(self, report: Callable[[HyperalignError], None]) -> None:
        self._report = report
        self._running: set[str] = set()
        self._outermost: set[str] = set()
        self._lock = threading.Lock()

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Note whether another module called this one: that one may catch what it raises."""
        del instance, inputs
        with self._lock:
            if ACTIVE_CALL_ID.get() not in self._running and not _in_metric.get():
                self._outermost.add(call_id)
            self._running.add(call_id)

    def on_module_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        """End the search if an outermost module failed with a fatal error.

        Raises:
            SearchEnded: it did.
        """
        del outputs
        with self._lock:
            self._running.discard(call_id)
            outermost = call_id in self._outermost
            self._outermost.discard(call_id)
        if outermost and exception is not None and (fault := find_fatal_error(exception)) is not None:
            self._report(fault)
            raise SearchEnded


@dataclass(frozen=True)
class ExampleScore:
    """The score of one example's answer.

    Attributes:
        user: the person of the example.
        score: of the metric; higher is better.
        feedback: in words; may be empty.
        tokens: of the answer and its prompt; 0 where the model does not report them.
    """

    user: str
    score: float
    feedback: str
    tokens: int = 0


class GuardedMetric:
    """A metric that checks its scores, and keeps the first fault of a search.

    Args:
        metric: the user's.
        expected: the number of answers in a search, for progress.
        progress: called after each answer.

    Attributes:
        fault: the first fault, of the metric or of the program; None if there was none.
    """

    def __init__(self, metric: Metric, *, expected: int = 0, progress: Progress | None = None) -> None:
        self._metric = metric
        self._arguments = _count_arguments(metric)
        self._expected = expected
        self._progress = progress
        self._scored = 0
        self._scores: set[float] = set()
        self._lock = threading.Lock()
        self.fault: HyperalignError | None = None

    @property
    def constant(self) -> bool:
        """Whether all answers so far have one score, and several candidates were scored."""
        return len(self._scores) == 1 and self._scored > _CONSTANT_AFTER * max(1, self._expected)

    def __call__(
        self, gold: dspy.Example, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        """Score an answer for an optimizer; zero after a fault."""
        if self.fault is None:
            try:
                result = self._score(gold, pred, trace, pred_name, pred_trace)
            except HyperalignError as error:
                self.report(error)
            else:
                if self._progress is not None and self._scored <= self._expected:
                    self._progress("search", self._scored, self._expected)
                return result
        return dspy.Prediction(score=0.0, feedback="")

    def measure(self, program: dspy.Module, examples: Sequence[dspy.Example]) -> list[ExampleScore]:
        """Run a program on examples one by one and score the answers; an unusable answer scores zero.

        Raises:
            InputError: the metric raises, or returns no finite number.
            HyperalignError: the model can't be used, or a budget is spent.
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
            result = self._score(example, answer, None, None, None)
            score = float(getattr(result, "score", result))
            feedback = str(getattr(result, "feedback", ""))
            found.append(ExampleScore(str(example.user), score, feedback, _count_tokens(answer)))
            if self._progress is not None:
                self._progress("measure", number, len(examples))
        return found

    def report(self, fault: HyperalignError) -> None:
        """Keep a fault if it is the first."""
        with self._lock:
            self.fault = self.fault or fault

    def check(self) -> None:
        """Raise the first fault, if there was one."""
        if self.fault is not None:
            raise self.fault

    def check_varied(self) -> None:
        """Refuse a metric that gave all answers of several candidates the same score.

        Raises:
            InputError: it did.
        """
        if self.constant:
            (score,) = self._scores
            raise InputError(
                f"The metric gave {score:g} to each of {self._scored} answers: nothing can be told apart.",
                remedy="Give a finer metric, or examples that are neither all solved nor all failed.",
            )

    def _score(self, gold: dspy.Example, *rest: Any) -> Any:
        try:
            with in_metric():
                result = self._metric(*(gold, *rest)[: self._arguments])
        except HyperalignError:
            raise
        except Exception as error:
            raise InputError(
                f"The metric raised {type(error).__name__} on an example of {gold.get('user', '?')!r}: {error}",
                remedy="It must give a number, or a prediction with 'score', for any answer.",
            ) from error
        score = getattr(result, "score", result)
        if not isinstance(score, int | float) or not math.isfinite(score):
            raise InputError(
                f"The metric gave {score!r} on an example of {gold.get('user', '?')!r}.",
                remedy="It must give a finite number for any answer, also for a bad one.",
            )
        with self._lock:
            self._scored += 1
            self._scores.add(float(score))
        return result


def _count_tokens(answer: Any) -> int:
    # Of the answer alone: not what a metric reads, whoever pays for it.
    used = answer.get_lm_usage() if isinstance(answer, dspy.Prediction) else None
    return sum(
        int(each.get("prompt_tokens") or 0) + int(each.get("completion_tokens") or 0) for each in (used or {}).values()
    )


def _count_arguments(metric: Metric) -> int:
    try:
        kinds = [each.kind for each in inspect.signature(metric).parameters.values()]
    except (TypeError, ValueError):
        return _MAX_ARGUMENTS
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return _MAX_ARGUMENTS
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return min(_MAX_ARGUMENTS, sum(kind in positional for kind in kinds))
