"""Work in threads: everything is kept once, and what is in the air when something fails is not lost."""

from __future__ import annotations

import contextvars
import os
import threading
import time

import pytest

from hyperalign.concurrency import is_stopping, processor_threads, run_concurrently
from hyperalign.errors import InputError

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("WHO")


def test_everything_is_kept_once_and_no_more_at_a_time_than_asked() -> None:
    at_work, most, guard = 0, 0, threading.Lock()
    met = threading.Barrier(3, timeout=20)

    def work(number: int) -> str:
        nonlocal at_work, most
        with guard:
            at_work += 1
            most = max(most, at_work)
        met.wait()  # three at a time, or this breaks
        with guard:
            at_work -= 1
        return f"{WHO.get()} {number}"

    WHO.set("ada")
    kept: list[str] = []
    assert run_concurrently(work, range(6), 3, keep=kept.append) == [f"ada {number}" for number in range(6)]
    assert sorted(kept) == [f"ada {number}" for number in range(6)]
    assert most == 3


def test_a_failure_ends_it_and_what_is_in_the_air_is_kept() -> None:
    begun: list[int] = []
    failed = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            failed.set()
            raise ValueError("no such word")
        assert failed.wait(20)
        return number

    kept: list[int] = []
    with pytest.raises(ValueError, match="no such word"):
        run_concurrently(work, range(50), 2, keep=kept.append)
    assert 0 in kept
    assert len(begun) < 10, "nothing new is begun"
    assert sorted(kept) == sorted(set(begun) - {1})


def test_what_can_not_be_kept_ends_it() -> None:
    def keep(number: int) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        run_concurrently(lambda number: number, range(3), keep=keep)


def test_what_fails_outside_ends_what_runs_inside() -> None:
    begun: list[int] = []

    def inner(number: int) -> None:
        begun.append(number)
        time.sleep(0.05)

    def outer(number: int) -> None:
        if number == 1:
            time.sleep(0.1)
            raise ValueError("over")
        run_concurrently(inner, range(1000), 2)

    with pytest.raises(ValueError, match="over"):
        run_concurrently(outer, range(2), 2)
    assert len(begun) < 50
    assert not is_stopping()


def test_threads_are_those_that_the_process_may_use_unless_a_number_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERALIGN_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert processor_threads() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert processor_threads() == 5, "on macOS"
    monkeypatch.setenv("HYPERALIGN_THREADS", "2")
    assert processor_threads() == 2


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "1.5"])
def test_a_number_of_threads_that_is_none_is_refused(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERALIGN_THREADS", wanted)
    with pytest.raises(InputError, match="HYPERALIGN_THREADS"):
        processor_threads()
