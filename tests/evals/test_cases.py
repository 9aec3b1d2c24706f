"""Cases are the same in every run, and users are drawn whole."""

from __future__ import annotations

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case, case_id, choose_users

CASES = [Case(id=f"{u}{i}", user=u, cluster=u, prompt="p", records=()) for u in "abcdef" for i in range(3)]


def drawn(users: int | None, seed: int = 7) -> list[Case]:
    return choose_users(CASES, users, seed, by=lambda case: case.user)


def test_users_are_drawn_whole_and_by_the_seed() -> None:
    chosen = drawn(2)
    assert len(chosen) == 6
    assert drawn(2) == chosen
    assert {tuple(sorted({case.user for case in drawn(2, seed)})) for seed in range(20)} != {("a", "b")}
    assert drawn(None) == drawn(6) == drawn(99) == CASES
    with pytest.raises(InputError, match="0 users"):
        drawn(0)


def test_parts_of_an_id_do_not_run_together() -> None:
    assert case_id("ab", "c") != case_id("a", "bc")
    assert case_id("a", "b") == case_id("a", "b")
    assert len(case_id("\ud800")) == 12
