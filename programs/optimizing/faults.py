"""Which failures end a search.

DSPy and its optimizers turn what a program or a model raises into a score of zero and go on, so that a server that died
would be told of as prompts that did not help. An answer that is none is one example's failure; a model that can't be
used is everybody's. This file knows no optimizer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hyperalign.errors import ContextLengthError, HyperalignError, ModelError, ModelOutputError

from ..dspy_internals import ACTIVE_CALL_ID, BaseCallback, ContextWindowExceededError, LMError

__all__ = ["Ended", "Faults", "ending", "judging"]

_judging: ContextVar[bool] = ContextVar("hyperalign_judging", default=False)


class Ended(BaseException):
    """Leaves an optimizer at once; not an ``Exception``, which optimizers would take for a low score."""


def ending(error: BaseException) -> HyperalignError | None:
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
def judging() -> Iterator[None]:
    """While a metric judges: what its own modules raise is the metric's business."""
    token = _judging.set(True)
    try:
        yield
    finally:
        _judging.reset(token)


class Faults(BaseCallback):
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
        if outermost and exception is not None and (fault := ending(exception)) is not None:
            self._tell(fault)
            raise Ended
