"""What surrounds every call: a pace that adapts to rate limits, the budget, and the journal of a run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import httpx

from hyperalign.budget import Budget, Usage, add_price
from hyperalign.concurrency import is_stopping

__all__ = ["Journal", "Meter", "Pace", "Slot", "price"]

_LOOK_SECONDS = 0.05
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
# One request more is prepared for so many that may be under way.
_AHEAD = 4
# So many answers in a row without a refusal, for each request that may be under way, let one more be.
_ANSWERS_TO_RECOVER = 2


class Pace:
    """Shared by all requests to a model: at most ``limit`` are under way, and a rate limit slows all of them down.

    A refusal halves how many may be under way and lets none begin before a pause is over; answers let it grow back:
    additive increase, multiplicative decrease, as in TCP (Chiu and Jain, 1989).

    Args:
        limit: requests under way at once, at most.
        patience: pauses in a row without an answer between them after which it is given up.
    """

    def __init__(self, limit: int, patience: int) -> None:
        self.limit = max(1, limit)
        self._patience = patience
        self._allowed = float(self.limit)
        self._under_way = 0
        self._sent = 0
        self._not_before = 0.0
        self._paused = 0.0
        self._pauses = 0
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)
        self._returned = threading.Condition(self._lock)
        self._here = threading.local()

    @contextmanager
    def turn(self, *, ahead: bool = False) -> Iterator[None]:
        """Wait until a request may begin; it is under way inside.

        Args:
            ahead: whether a few more may be prepared and read meanwhile, since ``sending`` holds back what is sent: a
                client library takes milliseconds of a processor for each, in which the server would wait for us.

        Raises:
            CancelledError: the work around the caller is being stopped.
        """
        if is_stopping():
            raise CancelledError
        with self._lock:
            while (wait := self._try(ahead=ahead)) > 0:
                # Woken by one that leaves: many that look again and again would take the processor from the others.
                self._freed.wait(wait)
                if is_stopping():
                    raise CancelledError
        # Told to the same thread's transport: one whose turn counts already must not wait for itself.
        self._here.ahead = ahead
        try:
            yield
        finally:
            self._here.ahead = False
            self._leave(ahead=ahead)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Wait until a request of this thread's ``turn`` may be sent, if it was ahead; it is with the server inside.

        Raises:
            ConnectError: the work around the caller is stopped while it waits: nothing more is sent.
        """
        if not getattr(self._here, "ahead", False):
            yield
            return
        is_sent = False
        try:
            with self._lock:
                while self._sent >= int(self._allowed) or self._not_before > time.monotonic():
                    self._returned.wait(_LOOK_SECONDS)
                    # One that need not wait is under way, like those that a cap or an interrupt lets end.
                    if is_stopping():
                        # A client library passes on its own kind of error alone.
                        raise httpx.ConnectError("stopped")
                self._sent, is_sent = self._sent + 1, True
            self._here.sent_at = time.monotonic()
            yield
        finally:
            if is_sent:
                with self._lock:
                    self._sent -= 1
                    self._returned.notify()

    @property
    def sent_at(self) -> float:
        """When this thread last sent a request, by ``time.monotonic``; 0 if none."""
        return float(getattr(self._here, "sent_at", 0.0))

    @asynccontextmanager
    async def aturn(self) -> AsyncIterator[None]:
        """The same, asynchronously."""
        while (wait := self._try_soon()) > 0:
            await asyncio.sleep(wait)
        try:
            yield
        finally:
            self._leave(ahead=False)

    def answered(self) -> None:
        """Note an answer: a little more may be under way again."""
        with self._lock:
            self._pauses = 0
            self._allowed = min(float(self.limit), self._allowed + 1.0 / (_ANSWERS_TO_RECOVER * self._allowed))

    def refused(self, began: float, wait: float | None) -> bool:
        """Note that a request was refused as one too many: all of them pause.

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

    def _try(self, *, ahead: bool = False) -> float:
        """Begin a request, or say for how many seconds to wait before trying again; the lock is held."""
        pause = self._not_before - time.monotonic()
        allowed = int(self._allowed) + (int(self._allowed) // _AHEAD if ahead else 0)
        if pause <= 0 and self._under_way < allowed and (ahead or self._sent < allowed):
            self._under_way += 1
            self._sent += not ahead
            return 0.0
        return min(max(pause, 0.001), _LOOK_SECONDS) if pause > 0 else _LOOK_SECONDS

    def _try_soon(self) -> float:
        # Nobody wakes what waits in an event loop.
        with self._lock:
            return min(self._try(), _LOOK_SECONDS / 10)

    def _leave(self, *, ahead: bool) -> None:
        with self._lock:
            self._under_way -= 1
            self._sent -= not ahead
            self._freed.notify()
            self._returned.notify()


class Journal(Protocol):
    """Remembers the answers of a run, as JSON values, by the request's key."""

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer to a request, if it was given before."""
        ...

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Remember an answer; it must be on the disk when this returns."""
        ...


@dataclass(frozen=True, slots=True)
class Slot:
    """One request's place in the journal.

    A request that asks for samples may be made several times on purpose, so each repetition has its own place: the
    first of a resumed run gets the first's answer. One that fixes its answer, by a temperature of 0 or a seed, has one
    place.

    Attributes:
        digest: SHA-256 of the request.
        number: its repetition, from 0.
    """

    digest: str
    number: int

    @property
    def key(self) -> str:
        """What the journal calls it."""
        return self.digest if self.number == 0 else f"{self.digest}-{self.number}"


class Meter:
    """A budget and a journal, either of which may be absent.

    Args:
        budget: asked before a call and told after it.
        journal: answers again what it has answered before.
    """

    def __init__(self, budget: Budget | None = None, journal: Journal | None = None) -> None:
        self.budget = budget
        self.journal = journal
        self._taken: defaultdict[str, set[int]] = defaultdict(set)
        self._asking: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def journaling(self, journal: Journal) -> Iterator[None]:
        """Use a journal inside the ``with`` block, unless there is one."""
        if self.journal is not None:
            yield
            return
        self._taken.clear()
        self.journal = journal
        try:
            yield
        finally:
            self.journal = None

    @contextmanager
    def call(self, *, is_free: bool = False) -> Iterator[None]:
        """Ask before a call, which is under way inside: calls made side by side share the caps.

        Args:
            is_free: whether the call costs no money.

        Raises:
            BudgetExceededError: the call must not be made.
        """
        with self.budget.call(is_free=is_free) if self.budget is not None else nullcontext():
            yield

    def add(self, usage: Usage, usd: float | None) -> None:
        """Book a call that was made; ``usd`` is None where its price is not known."""
        if self.budget is not None:
            self.budget.add(add_price(usage, usd))

    def open(self, request: dict[str, Any], *, is_fixed: bool) -> tuple[Slot, dict[str, Any] | None] | None:
        """Look a request up.

        Args:
            request: what is asked, as JSON data.
            is_fixed: whether it asks for one answer, and not for a sample.

        Returns:
            Its place in the journal, and the answer that is there; None while the same is being asked, and its answer
            will do for this request, too. ``store`` or ``abandon`` must follow.
        """
        journal = self.journal
        if journal is None:
            return Slot("", 0), None
        text = json.dumps(request, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            if is_fixed:
                if digest in self._asking:
                    return None
                self._asking.add(digest)
                slot = Slot(digest, 0)
            else:
                taken = self._taken[digest]
                slot = Slot(digest, next(number for number in range(len(taken) + 1) if number not in taken))
                taken.add(slot.number)
        return slot, journal.get(slot.key)

    def count_replayed(self, tokens: Usage) -> None:
        """Book an answer that came from the journal, and the tokens that it took when it was made."""
        if self.budget is not None:
            self.budget.add_replayed(tokens)

    def store(self, slot: Slot, answer: dict[str, Any]) -> None:
        """Remember the answer to a request."""
        try:
            if slot.digest and self.journal is not None:
                self.journal.put(slot.key, answer)
        finally:
            self.close(slot)

    def close(self, slot: Slot) -> None:
        """End a request that was answered."""
        with self._lock:
            self._asking.discard(slot.digest)

    def abandon(self, slot: Slot) -> None:
        """Free the place of a call that failed for the next attempt."""
        with self._lock:
            self._asking.discard(slot.digest)
            if slot.digest in self._taken:
                self._taken[slot.digest].discard(slot.number)


def price(model: str, tokens_in: int, tokens_out: int, tokens_cached: int) -> float | None:
    """What a call to a hosted model costs in US dollars; None where the price is not known."""
    if not _has_price(model):
        return None
    import litellm

    cost_in, cost_out = litellm.cost_per_token(
        model=model, prompt_tokens=tokens_in, completion_tokens=tokens_out, cache_read_input_tokens=tokens_cached
    )
    return float(cost_in + cost_out)


@cache
def _has_price(model: str) -> bool:
    if model.startswith(("ollama/", "ollama_chat/")):
        # LiteLLM would ask a server, which does not know what a machine costs.
        return False
    import litellm

    try:
        info = litellm.get_model_info(model)
    except Exception:  # noqa: BLE001, RUF100 - LiteLLM raises a plain Exception for a model that its price list lacks
        return False
    return bool(info.get("input_cost_per_token") or info.get("output_cost_per_token"))
