"""The choice table: tasks found in a folder, controls, calibration on dev people, and the run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hyperalign.errors import InputError
from hyperalign.evals.choices import (
    ChoicePlan,
    evaluate_choices,
)
from hyperalign.evals.report import choice_rows, write_choice_report
from hyperalign.evals.summary import compare
from hyperalign.evals.tasks import find_choice_tasks
from tests.evals.small_people import Tastes, write_folder
from tests.evals.small_task import read_lines

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_tasks_are_found_by_their_folders(tmp_path: Path) -> None:
    tasks, missing = find_choice_tasks(write_folder(tmp_path))
    assert list(tasks) == ["alignx manner", "popquorn"]
    assert [line.split()[0] for line in missing] == ["traits", "squality", "ukpconvarg", "jester"]
    (tmp_path / "alignx_psoups" / "another.json").write_text((tmp_path / "alignx_psoups" / "manner.json").read_text())
    tasks, missing = find_choice_tasks(tmp_path, ["alignx"])
    assert list(tasks) == ["alignx another", "alignx manner"]
    assert not missing
    (tmp_path / "alignx_psoups" / "notes.json").write_text('{"made": "by hand"}')
    again, missing = find_choice_tasks(tmp_path, ["alignx"])
    assert list(again) == list(tasks)
    assert missing[0].startswith("alignx notes is left out:")
    assert list(find_choice_tasks(tmp_path, ["alignx manner"])[0]) == ["alignx manner"]


def test_a_folder_or_task_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data of a choice task"):
        find_choice_tasks(tmp_path)
    with pytest.raises(InputError, match="no choice task 'c50'"):
        find_choice_tasks(write_folder(tmp_path), ["c50"])


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_table_of_a_made_up_task(split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ChoicePlan(split="dev" if split == "dev" else "test")
    summary, folder = evaluate_choices({"tastes": Tastes()}, plan, out=tmp_path / "run")
    found = summary["tasks"]["tastes"]
    assert list(found["conditions"])[:5] == ["reward", "none", "wrong-user", "inverted", "collaborative"]
    picks = {condition: metrics["pick"]["mean"] for condition, metrics in found["conditions"].items()}
    assert picks["reward"] == 1.0
    assert picks["inverted"] == 0.0
    losses = {condition: metrics["log_loss"]["mean"] for condition, metrics in found["conditions"].items()}
    assert losses["reward"] < 0.1 < losses["none"] < losses["inverted"]
    assert found["differences"]["none"]["reward"]["mean"] > 0.2
    outcomes = list(read_lines(folder.cases))
    assert len(outcomes) == found["cases"]["scored"] == 3 * found["cluster"]["n"]
    for outcome in outcomes:
        for condition, probability in outcome["result"]["probabilities"].items():
            metrics = outcome["result"]["scores"][condition]
            assert metrics["log_loss"] == pytest.approx(-np.log(probability), abs=1e-3)
    monkeypatch.setattr("hyperalign.evals.choices.RewardSolver", None)
    again, _ = evaluate_choices({"tastes": Tastes()}, plan, out=tmp_path / "run")
    assert again == summary, "what is finished is not computed again"
    with pytest.raises(InputError, match="another run"):
        evaluate_choices({"tastes": Tastes()}, ChoicePlan(split=plan.split, seed=5), out=tmp_path / "run")


def test_a_report_and_a_comparison(tmp_path: Path) -> None:
    tasks, _ = find_choice_tasks(write_folder(tmp_path))
    summary, folder = evaluate_choices(tasks, ChoicePlan(split="dev"), out=tmp_path / "run")
    markdown, page = (path.read_text() for path in write_choice_report(folder.path))
    for row in choice_rows(summary):
        assert f"| {row.task} | {row.condition} | {row.picks} |" in markdown
        assert f"<th>{row.task}</th><td>{row.condition}</td>" in page
    assert page.count("<svg") == len(tasks)
    assert {row.task for row in choice_rows(summary)} == {*tasks, "all tasks"}
    evaluate_choices(tasks, ChoicePlan(split="dev", dev_users=5), out=tmp_path / "other")
    found = compare(tmp_path / "run", tmp_path / "other")
    assert found["conditions"]["reward"]["pick"]["difference"]["mean"] == 0.0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the benchmarks' data are not here")
def test_real_people(tmp_path: Path) -> None:
    tasks, missing = find_choice_tasks(SHARED, ["squality", "alignx"])
    assert not missing
    summary, _ = evaluate_choices(tasks, ChoicePlan(split="dev", users=24), out=tmp_path / "run")
    writers = summary["tasks"]["squality"]["conditions"]
    assert writers["reward"]["pick"]["mean"] > 0.8
    assert writers["wrong-user"]["pick"]["mean"] < 0.65
    assert writers["reward"]["log_loss"]["mean"] < 0.5 < writers["none"]["log_loss"]["mean"]
    (axis,) = [found for label, found in summary["tasks"].items() if label == "alignx friendly_unfriendly"]
    assert axis["conditions"]["reward"]["pick"]["mean"] > axis["conditions"]["inverted"]["pick"]["mean"]
    json.dumps(summary, allow_nan=False)
