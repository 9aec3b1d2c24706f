"""Run independent pieces of work in threads, and stop them together.

Every piece runs in a copy of the caller's context (DSPy's settings, the budget's step, listeners). After a failure or
an interrupt no new piece starts, and pieces under way are waited for, so that nothing is paid for twice.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from .errors import InputError

__all__ = [
    "DEFAULT_CONCURRENCY",
    "Progress",
    "concurrency_of",
    "is_stopping",
    "processor_threads",
    "run_concurrently",
    "under_way",
]

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[str, int, int], None]
"""Called as ``progress(step, done, total)``; a total of 0 means that it is not known."""

DEFAULT_CONCURRENCY = 8
"""Concurrent calls to a model that does not say how many it takes."""
_POLL_SECONDS = 0.1
_INTERRUPTED_SECONDS = 10.0
_LEFT_SECONDS = 0.5

_stops: ContextVar[tuple[threading.Event, ...]] = ContextVar("hyperalign_stops", default=())


def run_concurrently(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    concurrency: int = 1,
    *,
    keep: Callable[[Result], None] | None = None,
    done: Callable[[int], None] | None = None,
) -> list[Result]:
    """Call a function for each item.

    Args:
        work: called once per item, in threads if ``concurrency`` is above 1.
        items: the items.
        concurrency: how many calls run at once, at most.
        keep: called in the caller's thread with each result as it arrives, including those that arrive after a failure.
        done: called in the caller's thread with the number of finished calls.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: the first that ``work`` or ``keep`` raised, once the pieces under way have ended; an interrupt
            waits for calls that are ``under_way``, but not longer than ten seconds, and for little else.
        CancelledError: an enclosing ``run_concurrently`` is stopping.
    """
    todo = list(items)
    keep, done = keep or _ignore, done or _ignore
    if concurrency <= 1 or len(todo) <= 1:
        return _run_in_turn(work, todo, keep, done)
    stop, failures = threading.Event(), list[BaseException]()
    token = _stops.set((*_stops.get(), stop))
    pool = ThreadPoolExecutor(min(concurrency, len(todo)), thread_name_prefix="hyperalign")
    try:
        # A context can be entered by one thread at a time: each piece has a copy of its own.
        futures = [pool.submit(copy_context().run, _run_unless_stopped, stop, failures, work, item) for item in todo]
    finally:
        _stops.reset(token)
    pending = set(futures)
    try:
        while pending:
            # Short waits, so that an interrupt is noticed at once, and so is the end of the work around this one.
            finished, _ = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in (future for future in futures if future in finished):
                pending.discard(future)
                keep(future.result())
            if finished:
                done(len(futures) - len(pending))
            if pending and is_stopping():
                raise CancelledError
    except BaseException as error:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        # An interrupt must not wait for a server that hangs; after a failure nothing may be left running.
        left = {future for future in pending if not future.cancelled()}
        if isinstance(error, KeyboardInterrupt):
            _wait_for_calls(left)
        else:
            wait(left)
        for future in (future for future in futures if future in pending and _has_result(future)):
            keep(future.result())
        if failures and not isinstance(error, KeyboardInterrupt):
            # What was under way may have ended by being stopped, and before the piece that failed first.
            raise failures[0] from None
        raise
    pool.shutdown(wait=True)
    return [future.result() for future in futures]


def _wait_for_calls(pieces: set[Future[Any]]) -> None:
    """Wait until all pieces have ended, or all calls and a moment more: what was asked for is paid for and worth
    keeping, and what is computed from it can be computed again."""
    deadline = time.monotonic() + _INTERRUPTED_SECONDS
    quiet = 0.0
    while pieces and time.monotonic() < deadline and quiet < _LEFT_SECONDS:
        _, pieces = wait(pieces, timeout=_POLL_SECONDS)
        quiet = 0.0 if _calls.count else quiet + _POLL_SECONDS


class _Calls:
    """How many calls are under way in this process."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        with self._lock:
            self.count += number


_calls = _Calls()


@contextmanager
def under_way() -> Iterator[None]:
    """A call that costs something, and the keeping of its answer: an interrupt waits for what is inside."""
    _calls.add(1)
    try:
        yield
    finally:
        _calls.add(-1)


def _run_unless_stopped(
    stop: threading.Event, failures: list[BaseException], work: Callable[[Item], Result], item: Item
) -> Result:
    if is_stopping():
        raise CancelledError
    try:
        return work(item)
    except BaseException as error:
        failures.append(error)
        # Set here, so that no piece starts before the caller's thread notices.
        stop.set()
        raise


def _run_in_turn(
    work: Callable[[Item], Result], items: list[Item], keep: Callable[[Result], object], done: Callable[[int], object]
) -> list[Result]:
    results: list[Result] = []
    for item in items:
        if is_stopping():
            raise CancelledError
        results.append(work(item))
        keep(results[-1])
        done(len(results))
    return results


def _ignore(_: object) -> None:
    pass


def _has_result(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def is_stopping() -> bool:
    """Whether the work around the caller failed or was interrupted, so that no new call should start."""
    return any(stop.is_set() for stop in _stops.get())


def concurrency_of(lm: Any) -> int:
    """How many calls a model takes at once.

    Args:
        lm: a model. Its own ``concurrency`` counts, as models from ``connect`` have it; any other ``dspy.LM`` takes
            ``DEFAULT_CONCURRENCY``, and anything else, such as a scripted model of a test, takes one.
    """
    concurrency = getattr(lm, "concurrency", None)
    if isinstance(concurrency, int):
        return max(1, concurrency)
    return DEFAULT_CONCURRENCY if any(kind.__name__ == "LM" for kind in type(lm).__mro__) else 1


def processor_threads() -> int:
    """The threads of an embedded model: ``HYPERALIGN_THREADS``, else one for each processor this process may use.

    Raises:
        InputError: ``HYPERALIGN_THREADS`` is not a number from 1.
    """
    wanted = os.environ.get("HYPERALIGN_THREADS", "")
    if wanted:
        if not wanted.isdecimal() or int(wanted) < 1:
            raise InputError(f"HYPERALIGN_THREADS is {wanted!r}.", remedy="Set it to a number of threads, such as 2.")
        return int(wanted)
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
