"""Runs independent pieces of work side by side, in order of the input, and stops all of them together.

Every piece sees the context of the caller: DSPy's settings, the step that a budget books under, and who listens to
answers. An interrupt lets the calls that are under way end, so that what was paid for is kept, and begins no other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

__all__ = ["DEFAULT_CONCURRENCY", "calls_at_once", "is_stopping", "run_concurrently"]

Item = TypeVar("Item")
Result = TypeVar("Result")

DEFAULT_CONCURRENCY = 8
"""Calls at once to a hosted model that does not say how many it takes."""

_stops: ContextVar[tuple[threading.Event, ...]] = ContextVar("hyperalign_stops", default=())


def run_concurrently(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    concurrency: int = 1,
    *,
    done: Callable[[int], None] | None = None,
) -> list[Result]:
    """Do a piece of work for each item.

    Args:
        work: called once an item, in threads where there is more than one item and ``concurrency`` is above 1.
        items: what to work on.
        concurrency: how many pieces are under way at once, at most.
        done: told in the calling thread how many pieces are finished.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: whatever the first failing piece raised, once the pieces under way have ended.
        CancelledError: the work around this one is being stopped.
    """
    todo = list(items)
    if concurrency <= 1 or len(todo) <= 1:
        results = []
        for number, item in enumerate(todo, start=1):
            results.append(work(item))
            if done is not None:
                done(number)
        return results
    stop = threading.Event()
    token = _stops.set((*_stops.get(), stop))
    pool = ThreadPoolExecutor(min(concurrency, len(todo)), thread_name_prefix="hyperalign")
    try:
        # A context can be entered by one thread at a time: each piece has a copy of its own.
        futures = [pool.submit(copy_context().run, work, item) for item in todo]
    finally:
        _stops.reset(token)
    try:
        _wait_for(futures, done)
        return [future.result() for future in futures]
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _wait_for(futures: list[Future[Any]], done: Callable[[int], None] | None) -> None:
    pending = set(futures)
    while pending:
        # Short waits, so that an interrupt is heard at once, and the end of the work around this one, too.
        finished, pending = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
        for future in finished:
            future.result()
        if done is not None and finished:
            done(len(futures) - len(pending))
        if pending and is_stopping():
            raise CancelledError


def is_stopping() -> bool:
    """Whether the work around the caller was interrupted or failed elsewhere, so that no new call should begin."""
    return any(stop.is_set() for stop in _stops.get())


def calls_at_once(lm: Any) -> int:
    """How many calls a model takes at once.

    Args:
        lm: a model; one from ``connect`` says it itself, and any other that can be reached over a network by DSPy's
            ``LM`` takes ``DEFAULT_CONCURRENCY``. Anything else, such as a scripted model of a test, takes one.
    """
    said = getattr(lm, "concurrency", None)
    if isinstance(said, int) and not isinstance(said, bool):
        return max(1, said)
    return DEFAULT_CONCURRENCY if any(kind.__name__ == "LM" for kind in type(lm).__mro__) else 1
