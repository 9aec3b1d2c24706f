"""Runs independent pieces of work side by side in threads, and stops all of them together.

Every piece sees the caller's context: DSPy's settings, the step that a budget books under, and who listens to answers.
After a failure or an interrupt no new piece begins, and what is under way is waited for, so that nothing is paid twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

__all__ = ["DEFAULT_CONCURRENCY", "Progress", "concurrency_of", "is_stopping", "run_concurrently"]

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[str, int, int], None]
"""Called as ``progress(step, done, total)``; a total of 0 means that it is not known."""

DEFAULT_CONCURRENCY = 8
"""Calls at once to a model that does not say how many it takes."""
_LOOK_SECONDS = 0.1
_INTERRUPTED_SECONDS = 10.0

_stops: ContextVar[tuple[threading.Event, ...]] = ContextVar("hyperalign_stops", default=())


def run_concurrently(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    concurrency: int = 1,
    *,
    keep: Callable[[Result], None] | None = None,
    done: Callable[[int], None] | None = None,
) -> list[Result]:
    """Do a piece of work for each item.

    Args:
        work: called once an item, in threads where ``concurrency`` is above 1.
        items: what to work on.
        concurrency: how many pieces are under way at once, at most.
        keep: called in the caller's thread with each result as it comes, also with those that come after a failure.
        done: told in the caller's thread how many pieces are finished.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: the first that ``work`` or ``keep`` raised, once the pieces under way have ended; an interrupt
            waits for them for ten seconds at most.
        CancelledError: the work around this one is being stopped.
    """
    todo = list(items)
    if concurrency <= 1 or len(todo) <= 1:
        results = []
        for item in todo:
            if is_stopping():
                raise CancelledError
            results.append(work(item))
            if keep is not None:
                keep(results[-1])
            if done is not None:
                done(len(results))
        return results
    stop = threading.Event()
    token = _stops.set((*_stops.get(), stop))
    pool = ThreadPoolExecutor(min(concurrency, len(todo)), thread_name_prefix="hyperalign")
    try:
        # A context can be entered by one thread at a time: each piece has a copy of its own.
        futures = [pool.submit(copy_context().run, work, item) for item in todo]
    finally:
        _stops.reset(token)
    pending = set(futures)
    try:
        while pending:
            # Short waits, so that an interrupt is heard at once, and the end of the work around this one, too.
            finished, _ = wait(pending, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            for future in (future for future in futures if future in finished):
                pending.discard(future)
                result = future.result()
                if keep is not None:
                    keep(result)
            if done is not None and finished:
                done(len(futures) - len(pending))
            if pending and is_stopping():
                raise CancelledError
    except BaseException as error:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        # Whoever interrupts does not wait for a server that hangs; what fails by itself leaves nothing behind.
        under_way = [future for future in pending if not future.cancelled()]
        wait(under_way, timeout=_INTERRUPTED_SECONDS if isinstance(error, KeyboardInterrupt) else None)
        _keep_late(futures, pending, keep)
        raise
    pool.shutdown(wait=True)
    return [future.result() for future in futures]


def _keep_late(futures: list[Future[Any]], pending: set[Future[Any]], keep: Callable[[Any], None] | None) -> None:
    for future in futures:
        if (
            keep is not None
            and future in pending
            and future.done()
            and not future.cancelled()
            and future.exception() is None
        ):
            keep(future.result())


def is_stopping() -> bool:
    """Whether the work around the caller was interrupted or failed elsewhere, so that no new call should begin."""
    return any(stop.is_set() for stop in _stops.get())


def concurrency_of(lm: Any) -> int:
    """How many calls a model takes at once.

    Args:
        lm: a model; one from ``connect`` says it itself, and any other that DSPy's ``LM`` reaches over a network takes
            ``DEFAULT_CONCURRENCY``. Anything else, such as a scripted model of a test, takes one.
    """
    said = getattr(lm, "concurrency", None)
    if isinstance(said, int):
        return max(1, said)
    return DEFAULT_CONCURRENCY if any(kind.__name__ == "LM" for kind in type(lm).__mro__) else 1
