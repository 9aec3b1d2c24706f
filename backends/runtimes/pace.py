"""How many requests to one model are under way at once, and how long all of them wait when it says it is too much."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, contextmanager

from hyperalign.concurrency import is_stopping

__all__ = ["Pace"]

_LOOK_SECONDS = 0.05
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# So many answers in a row without a refusal, for each request that may be under way, let one more be.
_ANSWERS_TO_RECOVER = 2


class Pace:
    """Shared by all requests to a model: at most ``limit`` are under way, and a rate limit slows all of them down.

    A refusal halves how many may be under way and lets nobody begin before the pause is over; answers let it grow back
    (additive increase, multiplicative decrease, as TCP has it).

    Args:
        limit: requests under way at once, at most.
        patience: pauses in a row without an answer between them after which it is given up.
    """

    def __init__(self, limit: int, patience: int) -> None:
        self.limit = max(1, limit)
        self._patience = patience
        self._allowed = float(self.limit)
        self._under_way = 0
        self._not_before = 0.0
        self._paused = 0.0
        self._pauses = 0
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until a request may begin; it is under way inside.

        Raises:
            CancelledError: the work around the caller is being stopped.
        """
        if is_stopping():
            raise CancelledError
        while (wait := self._try()) > 0:
            time.sleep(wait)
            if is_stopping():
                raise CancelledError
        try:
            yield
        finally:
            self._leave()

    @asynccontextmanager
    async def aturn(self) -> AsyncIterator[None]:
        """The same, asynchronously."""
        while (wait := self._try()) > 0:
            await asyncio.sleep(wait)
        try:
            yield
        finally:
            self._leave()

    def answered(self) -> None:
        """A request was answered: a little more may be under way again."""
        with self._lock:
            self._pauses = 0
            self._allowed = min(float(self.limit), self._allowed + 1.0 / (_ANSWERS_TO_RECOVER * self._allowed))

    def refused(self, began: float, wait: float | None) -> bool:
        """A request was refused as one too many: all of them pause.

        Args:
            began: when the request began, by ``time.monotonic``.
            wait: seconds that the server asks to wait; None where it does not say.

        Returns:
            Whether to try again, or to give up.
        """
        with self._lock:
            now = time.monotonic()
            # Those that were under way when the first of them was refused are of the same burst.
            if began >= self._paused:
                self._paused = now
                self._pauses += 1
                self._allowed = max(1.0, self._allowed / 2)
            if self._pauses > self._patience:
                return False
            usual = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (self._pauses - 1))
            self._not_before = max(self._not_before, now + (usual if wait is None else wait))
            return True

    def _try(self) -> float:
        """Begin a request, or say for how many seconds to wait before trying again."""
        with self._lock:
            pause = self._not_before - time.monotonic()
            if pause <= 0 and self._under_way < int(self._allowed):
                self._under_way += 1
                return 0.0
            return min(max(pause, 0.001), _LOOK_SECONDS) if pause > 0 else _LOOK_SECONDS / 10

    def _leave(self) -> None:
        with self._lock:
            self._under_way -= 1
