"""Runs are found again by what they were asked, replay what they had, and go with their person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hyperalign.errors import StorageError
from hyperalign.files import make_private_folder
from hyperalign.runs import Journal, RunFolder, prefix_folder, remove_runs

ASKED = {"records": ["a", "b"], "model": "m"}


def test_a_run_is_found_again_by_what_it_was_asked(tmp_path: Path) -> None:
    first = RunFolder("fit", "ada", ASKED, root=tmp_path)
    assert not first.resumed
    first.journal.put("call", {"answer": "yes"})
    again = RunFolder("fit", "ada", ASKED, root=tmp_path)
    assert again.path == first.path
    assert again.resumed
    assert again.journal.get("call") == {"answer": "yes"}
    assert RunFolder("fit", "ada", {**ASKED, "model": "n"}, root=tmp_path).path != first.path
    assert RunFolder("demo", "ada", ASKED, root=tmp_path).path != first.path


def test_a_finished_run_is_no_resumption(tmp_path: Path) -> None:
    run = RunFolder("fit", "ada", ASKED, root=tmp_path)
    run.finish({"kept": 1})
    assert run.finished
    again = RunFolder("fit", "ada", ASKED, root=tmp_path)
    assert not again.resumed
    assert json.loads((again.path / "run.json").read_text()) == {"verb": "fit", "user": "ada", **ASKED}


@pytest.mark.parametrize("user", ["../../etc/passwd", "a/b", "Zoë", "x" * 200, "..", ""])
def test_no_user_id_leads_out_of_the_folder(tmp_path: Path, user: str) -> None:
    root = tmp_path / "runs"
    run = RunFolder("fit", user, ASKED, root=root)
    assert run.path.parent == root
    assert [path.name for path in root.iterdir()] == [run.path.name]
    assert remove_runs(user, root=root) == 1


def test_a_torn_line_costs_its_own_call_alone(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    journal = Journal(path)
    journal.put("one", {"text": "a\u2028b \ud83d"})
    journal.put("two", {"text": "c"})
    path.write_bytes(path.read_bytes()[:-9])
    reopened = Journal(path)
    assert reopened.get("one") == {"text": "a\u2028b \ud83d"}
    assert reopened.get("two") is None
    reopened.put("three", {"text": "d"})
    assert len(Journal(path)) == 2
    assert Journal(path).get("three") == {"text": "d"}


def test_lines_of_something_else_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    path.write_text('[1]\nnull\n{"key": "k"}\n{"key": "k", "value": {"a": 1}}\n')
    assert Journal(path).get("k") == {"a": 1}
    assert Journal(tmp_path / "none.jsonl").get("k") is None
    with pytest.raises(StorageError):
        Journal(tmp_path)


def test_removal_takes_one_person_s_runs_and_no_others(tmp_path: Path) -> None:
    kept = RunFolder("fit", "ada-b", ASKED, root=tmp_path)
    # Both names make the same folder name.
    for user in ("ada.b", "ada"):
        RunFolder("fit", user, ASKED, root=tmp_path).write("profile.json", "{}")
        RunFolder("demo", user, ASKED, root=tmp_path)
    assert remove_runs("ada", root=tmp_path) == 2
    assert remove_runs("ada", root=tmp_path) == 0
    assert remove_runs("nobody", root=tmp_path / "none") == 0
    assert kept.path.exists()


def test_a_removal_that_fails_says_so_and_can_be_repeated(tmp_path: Path) -> None:
    run = RunFolder("fit", "ada", ASKED, root=tmp_path)
    (run.path / "a-folder").mkdir()
    with pytest.raises(StorageError, match="Could not remove"):
        remove_runs("ada", root=tmp_path)
    assert (run.path / "run.json").exists()
    (run.path / "a-folder").rmdir()
    assert remove_runs("ada", root=tmp_path) == 1


def test_what_a_model_kept_of_a_person_s_texts_goes_with_their_runs() -> None:
    for user in ("ada", "bo"):
        make_private_folder(prefix_folder(user))
        (prefix_folder(user) / "states.npy").write_bytes(b"numbers")
    remove_runs("ada", record="a record")
    assert not prefix_folder("ada").exists()
    assert (prefix_folder("bo") / "states.npy").exists()
