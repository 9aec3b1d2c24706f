"""What stands around every call: the budget, and the journal of a run that may be killed.

``Meter`` books calls; ``Journal`` is the seam to the file that remembers answers. This
file does not make calls.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from hyperalign.budget import Budget, Usage, priced

__all__ = ["Journal", "Meter", "Slot", "price"]


class Journal(Protocol):
    """Remembers the answers of a run by the request's key; made of JSON values only."""

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer to a request, if it was given before."""
        ...

    def put(self, key: str, value: dict[str, Any]) -> None:
        """Remember an answer; it must be on the disk when this returns."""
        ...


class Slot:
    """One request's place in the journal.

    The same request may be made several times on purpose (samples at a temperature), so
    each repetition has its own place: the first of a resumed run gets the first's answer.

    Attributes:
        digest: SHA-256 of the request.
        number: its repetition, from 0.
    """

    def __init__(self, digest: str, number: int) -> None:
        self.digest = digest
        self.number = number

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
        self._lock = threading.Lock()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Ask before a call, which is under way inside: calls made side by side share the caps.

        Raises:
            BudgetExceededError: the call must not be made.
        """
        if self.budget is None:
            yield
            return
        self.budget.reserve()
        try:
            yield
        finally:
            self.budget.release()

    def add(self, usage: Usage, usd: float | None) -> None:
        """Book a call that was made; ``usd`` is None where its price is not known."""
        if self.budget is not None:
            self.budget.add(priced(usage, usd))

    def open(self, request: dict[str, Any]) -> tuple[Slot | None, dict[str, Any] | None]:
        """Look a request up: its place in the journal, and the answer that is there."""
        if self.journal is None:
            return None, None
        text = json.dumps(request, sort_keys=True, ensure_ascii=False)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            taken = self._taken[digest]
            slot = Slot(digest, next(number for number in range(len(taken) + 1) if number not in taken))
            taken.add(slot.number)
        answer = self.journal.get(slot.key)
        if answer is not None and self.budget is not None:
            self.budget.add(Usage(replayed=1))
        return slot, answer

    def store(self, slot: Slot | None, answer: dict[str, Any]) -> None:
        """Remember the answer to a request."""
        if slot is not None and self.journal is not None:
            self.journal.put(slot.key, answer)

    def abandon(self, slot: Slot | None) -> None:
        """The call failed: its place is free for the next attempt."""
        if slot is not None:
            with self._lock:
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
        # LiteLLM would ask a server: what one's own machine costs nobody knows.
        return False
    import litellm

    try:
        info = litellm.get_model_info(model)
    except Exception:  # noqa: BLE001, RUF100 - LiteLLM raises a plain Exception for a model that its price list lacks
        return False
    return bool(info.get("input_cost_per_token") or info.get("output_cost_per_token"))
