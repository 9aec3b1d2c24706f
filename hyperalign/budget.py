"""Caps on the calls, tokens and money of a run, and what each step has spent.

Models make a call inside ``Budget.call`` and book it with ``Budget.add``. A price that is not known is None, never
zero.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from .errors import BudgetExceededError, InputError

__all__ = ["Budget", "Ledger", "Usage"]

_LEAST_SHOWN = 0.0001

_step: ContextVar[str] = ContextVar("hyperalign_step", default="other")
_call: ContextVar[str] = ContextVar("hyperalign_call", default="")
_tallies: ContextVar[tuple[_Tally, ...]] = ContextVar("hyperalign_tallies", default=())


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent.

    Attributes:
        calls: requests that a model worked on.
        replayed: requests answered from the journal of an earlier run, at no cost.
        tokens_in: prompt tokens, cached ones included.
        tokens_out: generated tokens.
        tokens_cached: prompt tokens that the model read from its cache.
        seconds: time spent waiting for models.
        usd: US dollars, as far as prices are known.
        unpriced: calls without a known price.
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
        """All fields as JSON; ``usd`` is None if a call's price is unknown, and ``usd_known`` is the known part."""
        return {**asdict(self), "usd": None if self.unpriced else self.usd, "usd_known": self.usd}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Usage:
        """Read what ``as_json`` returned."""
        return cls(**{name: data[name] for name in cls.__slots__ if name != "usd"}, usd=data["usd_known"])

    def money(self, *, briefly: bool = False) -> str:
        """The money in words, such as ``at least $0.0120; 3 calls at an unknown price``.

        Args:
            briefly: leave out the number of calls without a known price.
        """
        known = "less than $0.0001" if 0 < self.usd < _LEAST_SHOWN else f"${self.usd:,.4f}"
        if not self.unpriced:
            return known if self.usd else "no money"
        if not self.usd:
            return "unknown"
        calls = f"{self.unpriced:,} {'call' if self.unpriced == 1 else 'calls'} at an unknown price"
        least = f"at least {known}" if self.usd >= _LEAST_SHOWN else "more than nothing"
        return least if briefly else f"{least}; {calls}"


class _Tally(list[Usage]):
    def __init__(self, with_replayed: bool) -> None:
        super().__init__()
        self.with_replayed = with_replayed


class Ledger(Protocol):
    """Writes down calls as they begin and end, so that what was spent is known after a kill, too."""

    def begin(self, step: str, *, is_free: bool) -> str:
        """Note that a call begins; returns its id."""
        ...

    def book(self, step: str, usage: Usage, call: str) -> None:
        """Note what was spent, by the call of this id if it is not empty; that call has ended."""
        ...

    def end(self, call: str) -> None:
        """Note that a call has ended that no model worked on."""
        ...


class Budget:
    """Caps on a run, and a ledger of what each step has spent.

    Args:
        max_calls: the most model calls; None for no cap.
        max_tokens: the most tokens, in and out together; None for no cap.
        max_usd: the most US dollars; only known prices count. None for no cap.
        within: a budget that this one is a part of: its caps hold, too, and what is spent here is spent there.

    Raises:
        InputError: a cap is not a number from 0.
    """

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        within: Budget | None = None,
    ) -> None:
        for what, cap in (("calls", max_calls), ("tokens", max_tokens), ("usd", max_usd)):
            if cap is not None and not cap >= 0:
                raise InputError(f"A budget of {cap} {what}.", remedy="Give a number from 0, or none for no cap.")
        self.max_calls = max_calls
        self.max_tokens = max_tokens
        self.max_usd = max_usd
        self._within = within
        self._by_step: dict[str, Usage] = {}
        self._under_way = 0
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None

    @property
    def by_step(self) -> dict[str, Usage]:
        """What each step has spent."""
        with self._lock:
            return dict(self._by_step)

    @property
    def spent(self) -> Usage:
        """What all steps together have spent."""
        return sum(self.by_step.values(), Usage())

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Book what is spent inside the ``with`` block under a step's name."""
        token = _step.set(name)
        try:
            yield
        finally:
            _step.reset(token)

    @contextmanager
    def tally(self, *, with_replayed: bool = False) -> Iterator[Callable[[], Usage]]:
        """Count what is spent inside the ``with`` block; yields a function that returns it so far.

        Args:
            with_replayed: whether to count the tokens of replayed answers as if they had been asked for.
        """
        spent = _Tally(with_replayed)
        token = _tallies.set((*_tallies.get(), spent))
        try:
            yield lambda: sum(spent, Usage())
        finally:
            _tallies.reset(token)

    def check(self) -> None:
        """Check the caps before a call.

        Raises:
            BudgetExceededError: a cap is reached; the call must not be made.
        """
        with self._lock:
            self._check(0)
        if self._within is not None:
            self._within.check()

    @contextmanager
    def recording(self, ledger: Ledger) -> Iterator[None]:
        """Write what is spent inside the ``with`` block into a ledger, too."""
        before, self._ledger = self._ledger, ledger
        try:
            yield
        finally:
            self._ledger = before

    @contextmanager
    def call(self, *, is_free: bool = False) -> Iterator[None]:
        """Make a call that may run beside others; ``add`` books it inside the ``with`` block.

        Calls under way count against ``max_calls``. Their tokens and money are not known yet.

        Args:
            is_free: whether the call costs no money.

        Raises:
            BudgetExceededError: a cap is reached; the call must not be made.
        """
        with self._within.call(is_free=is_free) if self._within is not None else nullcontext(), self._enter(is_free):
            yield

    @contextmanager
    def _enter(self, is_free: bool) -> Iterator[None]:
        with self._lock:
            self._check(self._under_way)
            self._under_way += 1
        ledger = self._ledger
        token = _call.set(ledger.begin(_step.get(), is_free=is_free) if ledger is not None else "")
        try:
            yield
        finally:
            if ledger is not None and _call.get():
                ledger.end(_call.get())
            _call.reset(token)
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
        """Book what a call used, under the current step unless one is named."""
        name = step or _step.get()
        self._book(name, usage)
        if self._ledger is not None:
            call = _call.get() if usage.calls else ""
            self._ledger.book(name, usage, call)
            if call:
                _call.set("")
        for spent in _tallies.get():
            spent.append(usage)

    def _book(self, name: str, usage: Usage) -> None:
        with self._lock:
            self._by_step[name] = self._by_step.get(name, Usage()) + usage
        if self._within is not None:
            self._within._book(name, usage)

    def add_replayed(self, tokens: Usage) -> None:
        """Book an answer that was replayed at no cost; ``tokens`` are those that it took when it was made."""
        self.add(Usage(replayed=1))
        for spent in _tallies.get():
            if spent.with_replayed:
                spent.append(tokens)

    def remaining_calls(self) -> int | None:
        """The calls left under ``max_calls``; None without a cap."""
        return None if self.max_calls is None else max(0, self.max_calls - self.spent.calls)

    def copy(self) -> Budget:
        """A budget with the same caps and an empty ledger."""
        return Budget(max_calls=self.max_calls, max_tokens=self.max_tokens, max_usd=self.max_usd)


def add_price(usage: Usage, usd: float | None) -> Usage:
    """Add a price to a usage, or count its calls as unpriced if the price is None."""
    if usd is None:
        return replace(usage, unpriced=usage.unpriced + usage.calls)
    return replace(usage, usd=usage.usd + usd)
