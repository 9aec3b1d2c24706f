"""What a run may cost, and what it has cost so far, step by step.

A ``Budget`` is handed to the models that spend it: they ask before a call and tell
after it. Money that is not known is None, never zero. This file knows no model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any

from .errors import BudgetExceededError

__all__ = ["Budget", "Usage"]

_LEAST_SHOWN = 0.0001

_step: ContextVar[str] = ContextVar("hyperalign_step", default="other")
_tallies: ContextVar[tuple[list[Usage], ...]] = ContextVar("hyperalign_tallies", default=())


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent.

    Attributes:
        calls: requests a model really worked on.
        replayed: requests answered from an earlier run's journal, at no cost.
        tokens_in: prompt tokens, the cached ones included.
        tokens_out: generated tokens.
        tokens_cached: prompt tokens the model did not have to read again.
        seconds: time spent waiting for models.
        usd: money, as far as it is known.
        unpriced: calls whose price is not known.
    """

    calls: int = 0
    replayed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    unpriced: int = 0

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        return self.tokens_in + self.tokens_out

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def as_json(self) -> dict[str, Any]:
        """All of it for a file or a program; ``usd`` is None where a call's price is unknown, beside ``usd_known``."""
        return {**asdict(self), "usd": None if self.unpriced else self.usd, "usd_known": self.usd}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Usage:
        """What ``as_json`` gave."""
        return cls(**{name: data[name] for name in cls.__slots__ if name != "usd"}, usd=data["usd_known"])

    def money(self, *, briefly: bool = False) -> str:
        """Dollars in words, with what is unknown of them.

        Args:
            briefly: leave out how many calls have an unknown price, as a table's cell does.
        """
        known = "less than $0.0001" if 0 < self.usd < _LEAST_SHOWN else f"${self.usd:,.4f}"
        if not self.unpriced:
            return known if self.usd else "no money"
        if not self.usd:
            return "unknown"
        calls = f"{self.unpriced:,} {'call' if self.unpriced == 1 else 'calls'} at an unknown price"
        least = f"at least {known}" if self.usd >= _LEAST_SHOWN else "more than nothing"
        return least if briefly else f"{least}; {calls}"


class Budget:
    """Caps on a run, and its ledger.

    Args:
        max_calls: model calls allowed, or None for no cap.
        max_tokens: tokens allowed, in and out together.
        max_usd: money allowed; only known prices count against it.
    """

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_usd: float | None = None,
    ) -> None:
        self.max_calls = max_calls
        self.max_tokens = max_tokens
        self.max_usd = max_usd
        self._by_step: dict[str, Usage] = {}
        self._under_way = 0
        self._lock = threading.Lock()

    @property
    def by_step(self) -> dict[str, Usage]:
        """A copy of the ledger: what each step has spent."""
        with self._lock:
            return dict(self._by_step)

    @property
    def spent(self) -> Usage:
        """All steps together."""
        return sum(self.by_step.values(), Usage())

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Book what is spent inside under a name."""
        token = _step.set(name)
        try:
            yield
        finally:
            _step.reset(token)

    @contextmanager
    def tally(self) -> Iterator[Callable[[], Usage]]:
        """Count what is spent inside, beside the ledger; yields a function that says how much it is so far."""
        spent: list[Usage] = []
        token = _tallies.set((*_tallies.get(), spent))
        try:
            yield lambda: sum(spent, Usage())
        finally:
            _tallies.reset(token)

    def check(self) -> None:
        """Ask before a call.

        Raises:
            BudgetExceededError: a cap is reached, so that the call must not be made.
        """
        with self._lock:
            self._check(0)

    def reserve(self) -> None:
        """Ask before a call that others may be made beside; ``release`` has to follow.

        Calls under way count against the cap on calls; what they will use of tokens and money is not known yet.

        Raises:
            BudgetExceededError: a cap is reached, so that the call must not be made.
        """
        with self._lock:
            self._check(self._under_way)
            self._under_way += 1

    def release(self) -> None:
        """A call that ``reserve`` let begin is over: it was booked, or it failed."""
        with self._lock:
            self._under_way -= 1

    def _check(self, under_way: int) -> None:
        spent = sum(self._by_step.values(), Usage())
        for what, cap, value in (
            ("calls", self.max_calls, spent.calls + under_way),
            ("tokens", self.max_tokens, spent.tokens),
            ("usd", self.max_usd, spent.usd),
        ):
            if cap is not None and value >= cap:
                raise BudgetExceededError(
                    f"The budget of {cap} {what} is used up ({value:g} {what} spent).",
                    remedy=f"What is done is saved: run the same command again with a higher --max-{what}.",
                )

    def add(self, usage: Usage, *, step: str | None = None) -> None:
        """Tell after a call what it used, under the current step unless one is named."""
        name = step or _step.get()
        with self._lock:
            self._by_step[name] = self._by_step.get(name, Usage()) + usage
        for spent in _tallies.get():
            spent.append(usage)

    def remaining_calls(self) -> int | None:
        """Calls left under ``max_calls``, or None without a cap."""
        return None if self.max_calls is None else max(0, self.max_calls - self.spent.calls)

    def copy(self) -> Budget:
        """The same caps with an empty ledger."""
        return Budget(max_calls=self.max_calls, max_tokens=self.max_tokens, max_usd=self.max_usd)


def add_price(usage: Usage, usd: float | None) -> Usage:
    """``usage`` with its price, or marked as unpriced where that is None."""
    if usd is None:
        return replace(usage, unpriced=usage.unpriced + usage.calls)
    return replace(usage, usd=usage.usd + usd)
