"""Many calls at once: no more than are allowed, all slowed down together by a rate limit, and stopped together."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import Any

import pytest

from hyperalign.backends.models.connect import connect
from hyperalign.budget import Budget
from hyperalign.concurrency import concurrency_of, run_concurrently
from hyperalign.errors import BudgetExceededError, InputError, ModelServerError
from tests.fixtures.scripted_server import Recorded, ScriptedServer, Step, rate_limited, reply


class Busy:
    """A server's step that counts how many requests are with it, and lets so many in a second through."""

    def __init__(self, seconds: float = 0.0, per_second: int | None = None, retry_after: float | None = None) -> None:
        self.most = 0
        self.refused = 0
        self.answered = 0
        self._now = 0
        self._seconds = seconds
        self._per_second = per_second
        self._retry_after = retry_after
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    @property
    def step(self) -> Step:
        return Step("busy", self._action)

    def _action(self, handler: Any, request: Recorded) -> None:
        with self._lock:
            now = time.monotonic()
            while self._times and self._times[0] < now - 1.0:
                self._times.popleft()
            late = self._per_second is not None and len(self._times) >= self._per_second
            self.refused += late
            if not late:
                self._times.append(now)
                self._now += 1
                self.most = max(self.most, self._now)
        if late:
            rate_limited(self._retry_after).action(handler, request)
            return
        time.sleep(self._seconds)
        reply("A").action(handler, request)
        with self._lock:
            self._now -= 1
            self.answered += 1


def lm_at(server: ScriptedServer, **settings: Any) -> Any:
    return connect("openai/any", api_base=server.base, api_key="k", timeout=10.0, **settings)


def test_no_more_are_under_way_than_are_allowed(scripted_server: ScriptedServer) -> None:
    busy = Busy(seconds=0.05)
    scripted_server.default = busy.step
    lm = lm_at(scripted_server, concurrency=5)
    assert (lm.concurrency, concurrency_of(lm)) == (5, 5)
    # Two groups of callers share the one model's limit.
    run_concurrently(lambda _: run_concurrently(lambda n: lm(f"{n}"), range(15), 8), range(2), 2)
    assert 3 <= busy.most <= 5


def test_the_same_asynchronously(scripted_server: ScriptedServer) -> None:
    busy = Busy(seconds=0.05)
    scripted_server.default = busy.step
    lm = lm_at(scripted_server, concurrency=4)

    async def many() -> None:
        await asyncio.gather(*(lm.acall(f"{n}") for n in range(16)))

    asyncio.run(many())
    assert 3 <= busy.most <= 4


@pytest.mark.parametrize("retry_after", [0.3, None])
def test_a_rate_limit_slows_all_of_them_down(scripted_server: ScriptedServer, retry_after: float | None) -> None:
    busy = Busy(seconds=0.02, per_second=20, retry_after=retry_after)
    scripted_server.default = busy.step
    budget = Budget()
    lm = lm_at(scripted_server, concurrency=16, budget=budget)
    answers = run_concurrently(lambda n: lm(f"{n}"), range(80), 16)
    assert answers == [["A"]] * 80
    assert budget.spent.calls == busy.answered == 80, "what was refused is not booked"
    assert busy.refused < 60, "sixteen that each try again by themselves would be refused far more often"


def test_a_rate_limit_that_never_ends_is_given_up(scripted_server: ScriptedServer) -> None:
    scripted_server.default = rate_limited(0.01)
    with pytest.raises(ModelServerError, match="over its rate limit"):
        run_concurrently(lm_at(scripted_server, concurrency=4), [f"{n}" for n in range(12)], 4)
    assert len(scripted_server.requests) < 100


def test_caps_hold_side_by_side(scripted_server: ScriptedServer) -> None:
    scripted_server.default = Busy(seconds=0.02).step
    lm = lm_at(scripted_server, concurrency=16, budget=(budget := Budget(max_calls=21)))
    with pytest.raises(BudgetExceededError):
        run_concurrently(lambda n: lm(f"{n}"), range(60), 16)
    assert budget.spent.calls == len(scripted_server.requests) <= 21
    lm = lm_at(scripted_server, concurrency=16, budget=(budget := Budget(max_calls=60)))
    run_concurrently(lambda n: lm(f"{n}"), range(60), 16)
    assert budget.spent.calls == 60


def test_after_a_failure_nothing_new_is_asked(scripted_server: ScriptedServer) -> None:
    scripted_server.default = Busy(seconds=0.05).step
    lm = lm_at(scripted_server, concurrency=2)

    def work(number: int) -> Any:
        if number == 3:
            raise ValueError("over")
        return lm(f"{number}")

    with pytest.raises(ValueError, match="over"):
        run_concurrently(work, range(40), 8)
    assert len(scripted_server.requests) < 12


def test_after_a_failure_a_piece_of_many_calls_ends_as_well(scripted_server: ScriptedServer) -> None:
    scripted_server.default = Busy(seconds=0.05).step
    lm = lm_at(scripted_server, concurrency=2)

    def work(number: int) -> Any:
        if number == 0:
            time.sleep(0.1)
            raise ValueError("over")
        return [lm(f"{number} {call}") for call in range(20)]

    with pytest.raises(ValueError, match="over"):
        run_concurrently(work, range(2), 2)
    assert len(scripted_server.requests) < 8


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"temperature": -1.0}, {"temperature": 3.0}])
def test_settings_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        connect("openai/any", **wrong)
