"""Work that takes longer than a page may: it goes on in a thread, and the page that waits for it loads itself again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

from hyperalign.errors import HyperalignError, InputError

__all__ = ["Background", "Comparison", "Outcome", "WriteBoth"]

_WORKERS: Final = 2
_MOST_KEPT: Final = 256
_MOST_WAITING: Final = 32


@dataclass(frozen=True, slots=True)
class Comparison:
    """One prompt, answered without the profile and with it.

    Attributes:
        prompt: what was asked.
        without: the model's own answer.
        with_profile: the answer as the person would want it.
        note: what can be said of the difference, in a sentence; may be empty.
    """

    prompt: str
    without: str
    with_profile: str
    note: str = ""


WriteBoth = Callable[[str, str], Comparison]
"""Answers a prompt for a person, without the profile and with it: gets the user's id and the prompt."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of some work.

    Attributes:
        is_known: whether it was started, and is not too long ago.
        is_done: whether it has ended.
        result: what it returned.
        problem: why it failed, in a sentence; empty if it did not.
    """

    is_known: bool = False
    is_done: bool = False
    result: Any = None
    problem: str = ""


class Background:
    """Runs work in threads, and keeps what came of the latest.

    Args:
        workers: how much runs at once.
    """

    def __init__(self, workers: int = _WORKERS) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="hyperalign-page")
        self._begun: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, key: Hashable, work: Callable[[], Any]) -> None:
        """Start work, unless the same was started before.

        Args:
            key: names it.
            work: what to do.

        Raises:
            InputError: too much waits already.
        """
        with self._lock:
            if key in self._begun:
                return
            if sum(not each.done() for each in self._begun.values()) >= _MOST_WAITING:
                raise InputError("Too many people are waiting.", remedy="Try again in a minute.")
            self._begun[key] = self._pool.submit(work)
            while len(self._begun) > _MOST_KEPT:
                self._begun.popitem(last=False)

    def look(self, key: Hashable, seconds: float = 0.0) -> Outcome:
        """What has come of work, which is waited for a little.

        Args:
            key: names it.
            seconds: to wait at most.
        """
        with self._lock:
            found = self._begun.get(key)
        if found is None:
            return Outcome()
        wait([found], timeout=seconds)
        if not found.done():
            return Outcome(is_known=True)
        if found.cancelled():
            return Outcome(is_known=True, is_done=True, problem="The page was shut down.")
        error = found.exception()
        if error is None:
            return Outcome(is_known=True, is_done=True, result=found.result())
        # What was not foreseen may hold anything: its text stays here.
        said = str(error) if isinstance(error, HyperalignError) else "Something went wrong that was not foreseen."
        return Outcome(is_known=True, is_done=True, problem=said)

    def drop(self, key: Hashable) -> None:
        """Forget what came of work."""
        with self._lock:
            self._begun.pop(key, None)

    def close(self) -> None:
        """Start nothing more; what runs is left to end by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
