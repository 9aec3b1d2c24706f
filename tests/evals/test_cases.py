"""Cases are the same in every run, users are drawn whole, and a cluster is for development or for reports for ever."""

from __future__ import annotations

from collections import Counter

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case, case_id, choose_users, fold_people

# Two clusters, as of test pairs that everybody is asked about: users are drawn, not clusters.
CASES = [Case(id=f"{u}{i}", user=u, cluster=f"pair{i % 2}", prompt="p", records=()) for u in "abcdef" for i in range(3)]


def drawn(users: int | None, seed: int = 7) -> list[Case]:
    return choose_users(CASES, users, seed)


def of_cluster(cluster: str, dev: bool | None = None) -> Case:
    return Case(id="x", user="ada", cluster=cluster, prompt="p", records=(), dev=dev)


def test_users_are_drawn_whole_and_by_the_seed() -> None:
    chosen = drawn(2)
    assert set(Counter(case.user for case in chosen).values()) == {3}
    assert len(chosen) == 6
    assert drawn(2) == chosen == [case for case in CASES if case in chosen], "in their own order"
    assert len({tuple(case.id for case in drawn(2, seed)) for seed in range(20)}) > 5
    assert drawn(None) == drawn(6) == drawn(99) == CASES
    for users in (0, -1):
        with pytest.raises(InputError, match=f"{users} users"):
            drawn(users)


def test_who_is_drawn_does_not_hang_on_the_order_of_cases() -> None:
    turned = choose_users(reversed(CASES), 3, 7)
    assert {case.id for case in turned} == {case.id for case in drawn(3)}


def test_a_cluster_is_in_one_part_for_ever() -> None:
    # Pinned: ways of working that were chosen on development cases stay apart from what reports tell of.
    assert [of_cluster(name).split for name in ("writer-1", "writer-2", "writer-3", "writer-4")] == [
        "test",
        "test",
        "dev",
        "test",
    ]
    parts = Counter(of_cluster(f"cluster {number}").split for number in range(1000))
    assert 450 < parts["dev"] < 550
    assert parts.total() == 1000
    assert set(parts) == {"dev", "test"}


def test_a_task_may_say_the_part_itself() -> None:
    for name in ("writer-1", "writer-2", "writer-3"):
        assert of_cluster(name, dev=True).split == "dev"
        assert of_cluster(name, dev=False).split == "test"


def test_people_of_one_persona_are_of_one_kind() -> None:
    alone = of_cluster("c")
    warm = Case(id="y", user="bob", cluster="c", prompt="p", records=(), persona="warm")
    assert (alone.person, warm.person) == ("ada", "warm")


def test_parts_of_an_id_do_not_run_together() -> None:
    assert case_id("ab", "c") != case_id("a", "bc")
    assert case_id("a", "b") == case_id("a", "b")
    assert len(case_id("\ud800")) == 12


def test_folds_are_even_and_few_people_are_left_out_one_by_one() -> None:
    folds = fold_people(f"a{number}" for number in range(23))
    sizes = [list(folds.values()).count(fold) for fold in range(5)]
    assert sorted(sizes) == [4, 4, 5, 5, 5]
    assert sorted(fold_people("abcdefg").values()) == list(range(7))
    assert fold_people([]) == {}
