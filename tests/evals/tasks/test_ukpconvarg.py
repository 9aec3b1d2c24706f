"""Votes on arguments: ties are left out, and no argument of a case is in a record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import texts_in
from hyperalign.evals.tasks import load_task
from hyperalign.evals.tasks.ukpconvarg import UKPConvArg
from hyperalign.records import Pair

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "ukpconvarg1"

COUNT = 12


def argument(number: int, **changed: Any) -> dict[str, Any]:
    told = {"id": f"arg{number}", "debate": "Cats or dogs?", "stance": "cats", "text": f"Cats have {number} lives."}
    return {**told, **changed}


def vote(worker: str, first: int, second: int) -> dict[str, str]:
    """Eve never decides; everybody else takes the higher number."""
    return {"w": worker, "v": "equal" if worker == "eve" else "a1" if first > second else "a2", "reason": "So."}


def write(folder: Path, workers: tuple[str, ...] = ("ada", "bob", "eve")) -> Path:
    (folder / "arguments.json").write_text(json.dumps([argument(number) for number in range(COUNT)]))
    rows = [
        {"a1": f"arg{a}", "a2": f"arg{b}", "votes": [vote(worker, a, b) for worker in workers]}
        for a, b in combinations(range(COUNT), 2)
    ]
    (folder / "votes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_cases_ask_for_what_the_worker_voted_for(tmp_path: Path) -> None:
    task = UKPConvArg(write(tmp_path), records=4, cases_each=5)
    cases = task.cases(seed=7)
    assert task.cases(seed=7) == cases
    assert task.cases(seed=8) != cases
    assert Counter(case.user for case in cases).keys() == {"ada", "bob"}, "who never decides has no case"
    for case in cases:
        assert int(case.chosen.split()[2]) > int(case.rejected.split()[2])
        assert "“Cats or dogs?”" in case.prompt
        assert len(case.records) == 4
        assert all(isinstance(record, Pair) and record.user == case.user for record in case.records)
        assert not case.answers & texts_in(case.records)
    assert max(Counter(case.user for case in cases).values()) <= 5
    assert UKPConvArg(tmp_path, records=4, min_votes=67).cases() == []


def test_nobody_s_cases_depend_on_the_others(tmp_path: Path) -> None:
    cases = UKPConvArg(write(tmp_path), records=4).cases(seed=7)
    alone = UKPConvArg(write(tmp_path, ("bob",)), records=4).cases(seed=7)
    assert alone
    assert alone == [case for case in cases if case.user == "bob"]


def test_equal_texts_and_repeated_votes_are_one(tmp_path: Path) -> None:
    write(tmp_path)
    same = "Cats have 0 lives. "
    listed = [argument(0), argument(1, text=same), argument(2)]
    (tmp_path / "arguments.json").write_text(json.dumps(listed))
    rows = [
        {"a1": f"arg{a}", "a2": f"arg{b}", "votes": [vote("ada", a, b)]} for a, b in ((0, 1), (0, 2), (2, 1), (2, 0))
    ]
    (tmp_path / "votes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (pair,) = UKPConvArg(tmp_path).people()["ada"]
    assert (pair.chosen, pair.rejected) == ("Cats have 2 lives.", "Cats have 0 lives.")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"a1": "arg1", "a2": "arg99", "votes": []}, "no argument 'arg99'"),
        ({"a1": "arg1", "a2": "arg2", "votes": [{"w": "ada", "v": "both"}]}, r"votes\.0\.v"),
        ({"a1": "arg1", "a2": "arg2", "votes": [{"w": "", "v": "a1"}]}, r"votes\.0\.w"),
        ({"a1": "arg1", "a2": "arg2"}, "votes: Field required"),
    ],
)
def test_a_bad_row_is_named(row: Mapping[str, Any], said: str, tmp_path: Path) -> None:
    votes = write(tmp_path) / "votes.jsonl"
    votes.write_text(votes.read_text() + "\n" + json.dumps(row))
    with pytest.raises(InputError, match=rf"votes\.jsonl:67: .*{said}"):
        UKPConvArg(tmp_path).cases()


def test_what_is_missing_or_no_argument_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"arguments\.json"):
        UKPConvArg(tmp_path).cases()
    (write(tmp_path) / "arguments.json").write_text(json.dumps([argument(0), argument(1, text="")]))
    with pytest.raises(InputError, match=r"arguments\.json: row 2: text"):
        UKPConvArg(tmp_path).cases()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the arguments are no part of the project, and are not here")
def test_the_published_votes() -> None:
    cases = load_task("ukpconvarg", data=SHARED).cases(seed=7)
    assert len({case.id for case in cases}) == len(cases)
    users = Counter(case.user for case in cases)
    assert len(users) == 73
    assert set(users.values()) == {24}, "enough votes share no argument with the records"
    assert not any(case.answers & texts_in(case.records) for case in cases)
    assert 0.4 < len({case.user for case in cases if case.split == "dev"}) / len(users) < 0.6
