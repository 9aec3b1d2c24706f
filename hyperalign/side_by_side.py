"""Works on many things at a time in threads, and keeps each as it ends, whatever becomes of the others.

This file knows no model and no file.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import TypeVar

__all__ = ["side_by_side"]

Item = TypeVar("Item")
Found = TypeVar("Found")


class _NotBegun:
    """Stands for what was not worked on, as something else had failed by then."""


def side_by_side(
    work: Callable[[Item], Found], items: Iterable[Item], keep: Callable[[Found], None], *, at_once: int = 1
) -> None:
    """Work on items, and keep what comes of each in the order in which they end.

    After the first failure, or an interruption, nothing new is begun; what is in the air is waited for, and kept where
    it ends well, so that nothing is paid for twice.

    Args:
        work: called once for each item, in threads that have the caller's context (DSPy keeps its settings there).
        items: what to work on.
        keep: called in the caller's thread with what ``work`` gave.
        at_once: how many items at a time.

    Raises:
        BaseException: the first that ``work`` or ``keep`` raised.
    """
    failed = threading.Event()

    def one(item: Item) -> Found | _NotBegun:
        if failed.is_set():
            return _NotBegun()
        try:
            return work(item)
        except BaseException:
            failed.set()
            raise

    with ThreadPoolExecutor(max_workers=max(1, at_once)) as pool:
        futures = [pool.submit(contextvars.copy_context().run, one, item) for item in items]
        seen: set[Future[Found | _NotBegun]] = set()
        try:
            for future in as_completed(futures):
                seen.add(future)
                if not isinstance(found := future.result(), _NotBegun):
                    keep(found)
        except BaseException:
            failed.set()
            pool.shutdown(wait=True, cancel_futures=True)
            for future in futures:
                if future in seen or future.cancelled() or future.exception() is not None:
                    continue
                if not isinstance(late := future.result(), _NotBegun):
                    keep(late)
            raise
