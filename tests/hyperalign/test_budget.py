"""Caps hold, the ledger adds up, and what is not known is not zero."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Barrier

import pytest

from hyperalign.budget import Budget, Usage, add_price
from hyperalign.errors import BudgetExceededError


def test_usage_adds_up() -> None:
    total = Usage(calls=1, tokens_in=10, tokens_out=5, seconds=0.5) + Usage(calls=2, tokens_in=1, usd=0.25, unpriced=1)
    assert total == Usage(calls=3, tokens_in=11, tokens_out=5, seconds=0.5, usd=0.25, unpriced=1)
    assert total.tokens == 16
    assert Budget().spent == Usage()


def test_spending_is_booked_under_its_step() -> None:
    budget = Budget()
    with budget.step("infer"):
        budget.add(Usage(calls=1))
        with budget.step("score"):
            budget.add(Usage(calls=2))
        budget.add(Usage(calls=4))
    budget.add(Usage(calls=8))
    budget.add(Usage(calls=16), step="judge")
    assert {name: usage.calls for name, usage in budget.by_step.items()} == {
        "infer": 5,
        "score": 2,
        "other": 8,
        "judge": 16,
    }
    assert budget.spent.calls == 31


def test_a_step_ends_also_with_an_error() -> None:
    budget = Budget()
    with pytest.raises(KeyError), budget.step("infer"):
        raise KeyError
    budget.add(Usage(calls=1))
    assert list(budget.by_step) == ["other"]


@pytest.mark.parametrize(
    ("caps", "usage", "option"),
    [
        ({"max_calls": 2}, Usage(calls=2), "--max-calls"),
        ({"max_tokens": 10}, Usage(tokens_in=6, tokens_out=4), "--max-tokens"),
        ({"max_usd": 0.5}, Usage(usd=0.5), "--max-usd"),
        ({"max_calls": 0}, Usage(), "--max-calls"),
    ],
)
def test_a_cap_stops_the_next_call(caps: dict[str, int], usage: Usage, option: str) -> None:
    budget = Budget(**caps)
    if usage != Usage():
        budget.check()
    budget.add(usage)
    with pytest.raises(BudgetExceededError) as caught:
        budget.check()
    assert option in caught.value.remedy
    assert caught.value.exit_code == 6


def test_calls_answered_from_a_journal_cost_nothing() -> None:
    budget = Budget(max_calls=1)
    budget.add(Usage(replayed=5))
    budget.check()
    assert budget.remaining_calls() == 1


def test_calls_left() -> None:
    budget = Budget(max_calls=2)
    assert budget.remaining_calls() == 2
    budget.add(Usage(calls=5))
    assert budget.remaining_calls() == 0
    assert Budget().remaining_calls() is None


def test_an_unknown_price_is_counted_not_zero() -> None:
    unknown = add_price(Usage(calls=3), None)
    known = add_price(Usage(calls=1), 0.25)
    assert (unknown.usd, unknown.unpriced) == (0.0, 3)
    assert (known.usd, known.unpriced) == (0.25, 0)
    assert (unknown + known).unpriced == 3


def test_a_copy_has_the_caps_and_an_empty_ledger() -> None:
    budget = Budget(max_calls=1, max_tokens=2, max_usd=3.0)
    budget.add(Usage(calls=1))
    copy = budget.copy()
    assert (copy.max_calls, copy.max_tokens, copy.max_usd, copy.spent) == (1, 2, 3.0, Usage())


def test_threads_lose_no_usage() -> None:
    budget = Budget()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: budget.add(Usage(calls=1), step="score"), range(2000)))
    assert budget.spent.calls == 2000


def test_a_tally_counts_what_is_spent_inside_beside_the_ledger() -> None:
    budget = Budget()
    budget.add(Usage(calls=1))
    with budget.tally() as outer:
        assert outer() == Usage()
        budget.add(Usage(calls=2), step="score")
        with budget.tally() as inner:
            budget.add(Usage(calls=4, tokens_in=10))
            assert inner() == Usage(calls=4, tokens_in=10)
        budget.add(Usage(calls=8))
        assert outer().calls == 14
    budget.add(Usage(calls=16))
    assert (inner().calls, outer().calls, budget.spent.calls) == (4, 14, 31)


def test_a_tally_ends_also_with_an_error() -> None:
    budget = Budget()
    with pytest.raises(KeyError), budget.tally() as spent:
        budget.add(Usage(calls=1))
        raise KeyError
    budget.add(Usage(calls=2))
    assert spent().calls == 1


def test_tallies_of_threads_do_not_mix() -> None:
    budget, both = Budget(), Barrier(2, timeout=10)

    def work(calls: int) -> int:
        with budget.tally() as spent:
            for _ in range(50):
                both.wait()
                budget.add(Usage(calls=calls))
            both.wait()
        return spent().calls

    with budget.tally() as whole, ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(copy_context().run, work, calls) for calls in (1, 100)]
        assert [future.result() for future in futures] == [50, 5000]
        assert whole().calls == 5050, "threads with the caller's context count for the caller too"
    assert budget.spent.calls == 5050


def test_a_thread_without_the_caller_s_context_is_not_tallied() -> None:
    budget = Budget()
    with budget.tally() as spent, ThreadPoolExecutor(1) as pool:
        pool.submit(budget.add, Usage(calls=1)).result()
    assert (spent().calls, budget.spent.calls) == (0, 1)


@pytest.mark.parametrize(
    ("usage", "words", "usd"),
    [
        (Usage(calls=2), "no money", 0.0),
        (Usage(calls=2, usd=0.0123), "$0.0123", 0.0123),
        (Usage(calls=2, usd=1234.5), "$1,234.5000", 1234.5),
        (Usage(calls=2, usd=0.00001), "less than $0.0001", 0.00001),
        (Usage(calls=2, unpriced=2), "unknown", None),
        (Usage(calls=5, usd=0.0123, unpriced=3), "at least $0.0123; 3 calls at an unknown price", None),
        (Usage(calls=5, usd=0.0123, unpriced=1), "at least $0.0123; 1 call at an unknown price", None),
    ],
)
def test_money_that_is_unknown_is_never_nought(usage: Usage, words: str, usd: float | None) -> None:
    assert usage.money() == words
    assert usage.money(briefly=True) == words.split(";")[0]
    data = usage.as_json()
    assert (data["usd"], data["usd_known"], data["unpriced"]) == (usd, usage.usd, usage.unpriced)
    assert Usage.from_json(json.loads(json.dumps(data))) == usage
