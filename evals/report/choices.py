"""The report of a choice table: one table of all tasks and conditions, and a reliability curve for each task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperalign.charts import Point
from hyperalign.files import write_whole

from ..conditions import ConditionKind, condition_kind
from ..runner import read_json
from . import environment
from .view import format_estimate

__all__ = ["ChoiceRow", "choice_rows", "write_choice_report"]

OVERALL = "all tasks"
_CURVE = "reward"


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """One condition in one task.

    Attributes:
        task: its label.
        condition: its name.
        kind: whether the condition is a strategy or a control.
        picks: the share of cases in which the preferred answer is picked, with its interval.
        loss: log loss in nats, with half the width of its interval.
        calibration: the expected calibration error, and in brackets what chance alone would make of it.
        own_over_other: how often the own profile beats another person's, with its interval.
    """

    task: str
    condition: str
    kind: ConditionKind
    picks: str
    loss: str
    calibration: str
    own_over_other: str


def choice_rows(summary: Mapping[str, Any]) -> Iterator[ChoiceRow]:
    """The rows of a choice table: of each task, then of all together where there are several."""
    for label, found in summary["tasks"].items():
        for condition, metrics in found["conditions"].items():
            known = found["calibration"].get(condition)
            yield ChoiceRow(
                label,
                condition,
                condition_kind(condition),
                format_estimate("pick", metrics.get("pick")),
                _loss(metrics.get("log_loss")),
                f"{known['ece']:.3f} ({known['ece_if_calibrated']:.3f})" if known else "",
                format_estimate("pick_own_over_other", metrics.get("pick_own_over_other")),
            )
    if len(summary["tasks"]) > 1:
        for condition, means in summary["overall"].items():
            bare = {name: {"mean": value, "low": None, "high": None} for name, value in means.items()}
            yield ChoiceRow(
                OVERALL,
                condition,
                condition_kind(condition),
                format_estimate("pick", bare.get("pick")),
                _loss(bare.get("log_loss")),
                f"{means['ece']:.3f} ({means['ece_if_calibrated']:.3f})",
                format_estimate("pick_own_over_other", bare.get("pick_own_over_other")),
            )


def _loss(found: Mapping[str, Any] | None) -> str:
    if not found:
        return ""
    wide = "" if found["high"] is None else f" ±{found['high'] - found['mean']:.3f}"
    return f"{found['mean']:.3f}{wide}"


def write_choice_report(folder: Path) -> list[Path]:
    """Write ``report.md`` and ``report.html`` of a choice table.

    Args:
        folder: of a finished run.

    Returns:
        The files that were written.

    Raises:
        InputError: there is no summary in the folder.
        StorageError: the disk is full or not writable.
    """
    summary = read_json(folder / "summary.json")
    curves = {label: _curve(found) for label, found in summary["tasks"].items()}
    written = []
    for name in ("choices.md", "choices.html"):
        text = (
            environment()
            .get_template(f"{name}.j2")
            .render(summary=summary, rows=list(choice_rows(summary)), curves={k: v for k, v in curves.items() if v})
        )
        path = folder / name.replace("choices", "report")
        write_whole(path, text.rstrip() + "\n")
        written.append(path)
    return written


def _curve(found: Mapping[str, Any]) -> dict[str, dict[int, Point]]:
    """Accuracy by confidence in percent of the reward, beside the line of perfect calibration."""
    bins = found["calibration"].get(_CURVE, {}).get("reliability", [])
    if not bins:
        return {}
    line: dict[int, list[tuple[float, float]]] = {}
    for each in bins:
        line.setdefault(round(each["confidence"] * 100), []).append((each["accuracy"], each["share"]))
    right = {
        place: Point(sum(value * share for value, share in here) / sum(share for _, share in here))
        for place, here in line.items()
    }
    return {_CURVE: right, "calibrated": {50: Point(0.5), 100: Point(1.0)}}
