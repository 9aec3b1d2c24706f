"""Two runs against each other: only what both asked, case by case."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from hyperalign.cli.eval import comparison_table
from hyperalign.errors import InputError
from hyperalign.evals.runner import Outcome
from hyperalign.evals.summary import compare
from tests.evals.small_task import Given, finished


def run(folder: Path, scores: dict[str, float], task: str = "given", condition: str = "verified") -> Path:
    """A run whose cases are named by person and number."""
    outcomes = [Outcome(case, case[0], case[0], {"scores": {condition: {"accuracy": x}}}) for case, x in scores.items()]
    return finished(folder, Given([], task), outcomes)


def test_by_hand(tmp_path: Path) -> None:
    first = run(tmp_path / "a", {"a1": 0.0, "a2": 1.0, "b1": 0.0, "c1": 0.5, "d1": 0.0})
    # In another order, without d1, and with one that the first run did not have.
    second = run(tmp_path / "b", {"e1": 0.0, "c1": 1.0, "a2": 1.0, "a1": 1.0, "b1": 1.0})
    found = compare(first, second)
    assert (found["task"], found["cases"]) == ("given", 4)
    row = found["conditions"]["verified"]["accuracy"]
    assert row["first"]["mean"] == pytest.approx((0.5 + 0.0 + 0.5) / 3)
    assert row["second"]["mean"] == 1.0
    # By person: +0.5, +1, +0.5; t(0.975, 2) = 4.302653, standard deviation 0.288675.
    assert row["difference"]["mean"] == pytest.approx(2 / 3)
    assert row["difference"]["high"] - row["difference"]["mean"] == pytest.approx(
        4.302653 * 0.288675 / 3**0.5, rel=1e-5
    )
    assert (row["difference"]["n_clusters"], row["difference"]["n_cases"]) == (3, 4)
    # One sign pattern in eight is as high, and one as low.
    assert row["p"] == row["p_holm"] == 0.25
    assert row["clusters_needed"] >= 2


def test_what_differently_trained_judges_say_is_not_compared(tmp_path: Path) -> None:
    scores = {"verified": {"author_logprob": -1.0, "win_rate_delta_vs_none": 1.0, "words": 90.0}}
    outcomes = [Outcome(case, case[0], case[0], {"scores": scores}) for case in ("a1", "b1", "c1")]
    runs = [finished(tmp_path / name, Given([], "given"), outcomes) for name in ("a", "b")]
    assert set(compare(*runs)["conditions"]["verified"]) == {"author_logprob", "win_rate_delta_vs_none", "words"}
    path = runs[1] / "eval.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"judges": "others"}))
    found = compare(*runs)
    assert set(found["conditions"]["verified"]) == {"words"} and not found["judges"]


def test_p_is_two_sided_and_the_same_both_ways(tmp_path: Path) -> None:
    cases = [f"{user}1" for user in "abcdefgh"]
    low = run(tmp_path / "low", dict.fromkeys(cases, 0.0))
    high = run(tmp_path / "high", {case: 0.5 + index / 20 for index, case in enumerate(cases)})
    there, back = (compare(*pair)["conditions"]["verified"]["accuracy"] for pair in ((low, high), (high, low)))
    assert there["p"] == back["p"] == pytest.approx(2 / 2**8, abs=1e-5)
    assert there["difference"]["mean"] == pytest.approx(-back["difference"]["mean"])
    same = compare(low, low)["conditions"]["verified"]["accuracy"]
    assert (same["p"], same["difference"]["mean"], same["clusters_needed"]) == (1.0, 0.0, None)


def test_p_is_adjusted_over_strategies(tmp_path: Path) -> None:
    def both(folder: Path, sure: float, unsure: list[float]) -> Path:
        outcomes = [
            Outcome(u, u, u, {"scores": {"sure": {"accuracy": sure}, "unsure": {"accuracy": x}, f"only {sure}": {}}})
            for u, x in zip("abcdef", unsure, strict=True)
        ]
        return finished(folder, Given([]), outcomes)

    found = compare(both(tmp_path / "a", 0.0, [0.5] * 6), both(tmp_path / "b", 1.0, [0.0, 1.0] * 3))["conditions"]
    assert set(found) == {"sure", "unsure"}
    assert found["sure"]["accuracy"]["p"] == pytest.approx(2 / 64, abs=1e-5)
    assert found["sure"]["accuracy"]["p_holm"] == pytest.approx(4 / 64, abs=1e-5)
    assert found["unsure"]["accuracy"]["p_holm"] == 1.0


def test_p_is_not_adjusted_for_what_is_no_strategy(tmp_path: Path) -> None:
    beside = ("none", "wrong-user", "inverted", "vote-length", "gold", "own-text", "verified@4")

    def all_at(folder: Path, score: float) -> Path:
        scores = {condition: {"accuracy": score} for condition in ("verified", "few-shot", *beside)}
        return finished(folder, Given([]), [Outcome(u, u, u, {"scores": scores}) for u in "abcdef"])

    found = compare(all_at(tmp_path / "a", 0.0), all_at(tmp_path / "b", 1.0))["conditions"]
    assert set(found) == {"verified", "few-shot", *beside}
    for strategy in ("verified", "few-shot"):
        row = found[strategy]["accuracy"]
        assert (row["p"], row["p_holm"]) == (pytest.approx(2 / 64, abs=1e-5), pytest.approx(4 / 64, abs=1e-5))
    for condition in beside:
        assert found[condition]["accuracy"]["p"] == pytest.approx(2 / 64, abs=1e-5)
        assert "p_holm" not in found[condition]["accuracy"], "it makes no claim"
    console = Console(width=200, record=True, file=StringIO())
    console.print(comparison_table(found))
    rows = {line.split()[0]: line for line in console.export_text().splitlines() if "accuracy" in line}
    assert set(rows) == {"verified", "few-shot", *beside}
    assert [condition for condition, line in rows.items() if "0.062" in line] == ["verified", "few-shot"]


def test_cases_that_failed_in_either_are_not_compared_and_later_tries_count(tmp_path: Path) -> None:
    first = run(tmp_path / "a", {"a1": 0.0, "b1": 0.0, "c1": 0.0})
    second = run(tmp_path / "b", {"a1": 1.0, "b1": 1.0})
    failed = {"case": "c1", "user": "c", "cluster": "c", "result": {}, "error": "ModelServerError: no."}
    with (second / "cases.jsonl").open("a") as file:
        file.write(json.dumps(failed) + "\n")
    assert compare(first, second)["cases"] == 2
    with (second / "cases.jsonl").open("a") as file:
        again = {**failed, "error": "", "result": {"scores": {"verified": {"accuracy": 1.0}}}}
        file.write(json.dumps(again) + "\n")
    assert compare(first, second)["cases"] == 3


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    first = run(tmp_path / "a", {"a1": 0.0})
    with pytest.raises(InputError, match=r"is a run of 'given' and .* of 'other'"):
        compare(first, run(tmp_path / "b", {"a1": 0.0}, task="other"))
    with pytest.raises(InputError, match="no case in common") as refused:
        compare(first, run(tmp_path / "c", {"z9": 0.0}))
    assert "--seed" in str(refused.value.remedy)
    with pytest.raises(InputError, match="nowhere"):
        compare(first, tmp_path / "nowhere")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "eval.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        compare(tmp_path / "odd", first)


def test_arms_that_only_one_run_has_are_left_out(tmp_path: Path) -> None:
    first = run(tmp_path / "a", {"a1": 0.0})
    assert compare(first, run(tmp_path / "b", {"a1": 0.0}, condition="few-shot"))["conditions"] == {}


def test_nothing_is_changed(tmp_path: Path) -> None:
    folders = [run(tmp_path / name, {"a1": 0.0, "b1": 1.0}) for name in "ab"]

    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for folder in folders for path in folder.iterdir()}

    before = contents()
    compare(*folders)
    assert contents() == before
