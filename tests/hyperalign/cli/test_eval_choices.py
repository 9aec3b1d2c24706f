"""``hyperalign eval choices``: the table over all tasks of a folder, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

from tests.evals.small_people import write_folder

from .conftest import Run


def test_the_table_and_the_report(run: Run, tmp_path: Path) -> None:
    data = write_folder(tmp_path)
    asked = ["eval", "choices", "--data", data, "--split", "dev", "--encoder", "none", "--out", tmp_path / "run"]
    done = run(*asked)
    assert done.code == 0, done.err
    assert "traits is left out" in done.err
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert "alignx manner" in lines
    assert "popquorn" in lines
    assert sum(line.startswith("reward ") for line in lines) == 3, "two tasks and their mean"
    assert sum(line.startswith("vote-length ") for line in lines) == 3
    assert (tmp_path / "run" / "report.html").is_file()
    told = run(*asked, "--json")
    assert json.loads(told.out) == json.loads((tmp_path / "run" / "summary.json").read_text())


def test_some_tasks_and_strategies(run: Run, tmp_path: Path) -> None:
    data = write_folder(tmp_path)
    done = run(
        "eval", "choices", "--data", data, "--task", "popquorn", "--strategy", "reward", "--split", "dev", "--json"
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert list(found["tasks"]) == ["popquorn"]
    assert "reward" in found["tasks"]["popquorn"]["conditions"]
    assert "left out" not in done.err


def test_what_cannot_be_asked(run: Run, tmp_path: Path) -> None:
    run("eval", "choices").refused(3, "--data PATH")
    run("eval", "choices", "--data", tmp_path).refused(3, "no data of a choice task")
    data = write_folder(tmp_path)
    run("eval", "choices", "--data", data, "--task", "c50").refused(3, "no choice task 'c50'")
    run("eval", "choices", "--data", data, "--strategy", "magic").refused(3, "no strategy 'magic'")
    run("eval", "choices", "--data", data, "--curve", "1,2").refused(3, "--curve does not apply to 'choices'")
    run("eval", "traits", "--data", data, "--task", "squality").refused(3, "--task does not apply to 'traits'")
