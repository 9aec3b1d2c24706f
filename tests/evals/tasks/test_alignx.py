"""AlignX's benchmark schema: each distinct history and pair once, and the shipped profile never."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hyperalign.errors import InputError
from hyperalign.evals.tasks.alignx import AlignX
from hyperalign.records import Pair

PSOUPS = Path(__file__).resolve().parents[4] / "shared" / "data" / "alignx_psoups" / "friendly_unfriendly.json"


def row(**changes: Any) -> dict[str, Any]:
    said = {"prompt": "Greet me.", "chosen": "Hello, dear!", "rejected": "What."}
    history = [{"prompt": f"Question {i}?", "chosen": "Yes, friend.", "rejected": "No."} for i in range(4)]
    extra = {"ground_truth_persona": "Be warm.", "profile": "SECRET", "Pair-wise Comparative Feedback": history}
    return {**said, **extra, **changes}


def written(path: Path, *rows: Any) -> AlignX:
    path.write_text(json.dumps(list(rows)))
    return AlignX(path)


def test_a_row_is_a_case_and_a_repeated_row_is_none(tmp_path: Path) -> None:
    task = written(tmp_path / "a.json", row(), row(), row(chosen="What.", rejected="Hello, dear!"))
    first, turned = task.cases()
    assert (first.prompt, first.chosen, first.rejected, first.gold) == (
        "Greet me.",
        "Hello, dear!",
        "What.",
        "Be warm.",
    )
    assert len(first.records) == 4
    assert all(isinstance(record, Pair) and record.user == first.user for record in first.records)
    assert first.cluster == turned.cluster, "the same two answers, whichever is preferred"
    assert "SECRET" not in repr(first)
    assert "1 personas" in task.note()


def test_a_case_never_stands_in_its_own_history(tmp_path: Path) -> None:
    (case,) = written(
        tmp_path / "a.json",
        row(**{"Pair-wise Comparative Feedback": [{"prompt": "Greet me.", "chosen": "Hello, dear!", "rejected": "?"}]}),
    ).cases()
    assert case.records == ()


def test_lines_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row(prompt=f"Greet {i}.")) for i in range(3)) + "\n")
    assert len(AlignX(path).cases()) == 3
    assert len({case.cluster for case in AlignX(path).cases(users=2, seed=1)}) == 2


def test_bad_files_name_the_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        AlignX(tmp_path / "none.json").cases()
    with pytest.raises(InputError, match=r"a\.json: row 2: chosen"):
        written(tmp_path / "a.json", row(), {"prompt": "p", "rejected": "r"}).cases()
    path = tmp_path / "b.jsonl"
    path.write_text(json.dumps(row()) + "\n{broken\n")
    with pytest.raises(InputError, match=r"b\.jsonl:2: this line is not JSON"):
        AlignX(path).cases()


@pytest.mark.skipif(not PSOUPS.exists(), reason=f"{PSOUPS.name} is not here")
def test_the_published_file() -> None:
    cases = AlignX(PSOUPS).cases()
    assert len({case.cluster for case in cases}) == 128
    assert len({case.user for case in cases}) == 2
    assert len({case.id for case in cases}) == len(cases)
    assert all(3 <= len(case.records) <= 4 for case in cases)
    for case in cases:
        assert not any(
            isinstance(r, Pair) and r.prompt == case.prompt and r.chosen == case.chosen for r in case.records
        )
