"""The choice table: tasks found in a folder, controls, calibration on dev people, and the run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case
from hyperalign.evals.choices import (
    Calibration,
    ChoicePlan,
    ChoiceScore,
    calibrate,
    evaluate_choices,
    find_choice_tasks,
)
from hyperalign.evals.compare import compare
from hyperalign.evals.report.choices import choice_rows, write_choice_report
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
def test_the_table_of_a_made_up_task(split: str, tmp_path: Path) -> None:
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
    again, _ = evaluate_choices({"tastes": Tastes()}, plan, out=tmp_path / "run")
    assert again == summary
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
    assert {row.task for row in choice_rows(summary)} == {*tasks, "mean of tasks"}
    evaluate_choices(tasks, ChoicePlan(split="dev", dev_users=5), out=tmp_path / "other")
    found = compare(tmp_path / "run", tmp_path / "other")
    assert found["conditions"]["reward"]["pick"]["difference"]["mean"] == 0.0


def _cases(count: int, *, dev: bool = True) -> list[Case]:
    return [
        Case(id=str(n), user=f"u{n // 4}", cluster=f"u{n // 4}", prompt="?", records=(), dev=dev) for n in range(count)
    ]


def test_a_slope_is_learned_on_other_dev_people() -> None:
    cases = _cases(80)
    draw = np.random.default_rng(0)
    # Scores in an odd unit, right in three of four cases.
    scores = {case.id: ChoiceScore(float(draw.choice([100.0, -100.0], p=[0.75, 0.25]))) for case in cases}
    found = calibrate(cases, scores, are_log_odds=False)
    assert found.dev["log_loss_after"] < np.log(2) < found.dev["log_loss_before"]
    assert found.dev["ece_after"] < found.dev["ece_before"]
    share = np.mean([score.own > 0 for score in scores.values()])
    (other,) = _cases(1, dev=False)
    assert found.probability(other, 100.0) == pytest.approx(share, abs=0.02)
    # A dev person's slope comes from the others: it changes with them, and not with their own score.
    changed = {**scores, **{case.id: ChoiceScore(-100.0) for case in cases[:4]}}
    again = calibrate(cases, changed, are_log_odds=False)
    assert again.probability(cases[0], 100.0) == found.probability(cases[0], 100.0)
    assert again.probability(other, 100.0) != found.probability(other, 100.0)


def test_probabilities_that_hold_stay_as_they_are() -> None:
    cases = _cases(400)
    draw = np.random.default_rng(1)
    odds = draw.normal(0, 1, 400)
    right = np.where(draw.random(400) < 1 / (1 + np.exp(-odds)), odds, -odds)
    good = {case.id: ChoiceScore(float(value)) for case, value in zip(cases, right, strict=True)}
    assert calibrate(cases, good, are_log_odds=True).slope == 1.0
    sure = {name: ChoiceScore(3 * score.own) for name, score in good.items()}
    assert calibrate(cases, sure, are_log_odds=True).slope == pytest.approx(1 / 3, abs=0.06)
    assert calibrate([], {}, are_log_odds=True) == Calibration(1.0)


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
