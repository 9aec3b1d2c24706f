"""The report of a run or of a choice table: ``report.md``, and ``report.html`` without scripts, all texts escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from hyperalign.charts import Point, dots, forest, lines
from hyperalign.files import write_whole
from hyperalign.text import printable

from ..conditions import ConditionKind, condition_kind
from ..metrics import is_share
from ..runner import read_json
from .view import condition_name, format_difference, format_estimate, format_money, judge_name, load_view, metric_name

__all__ = ["ChoiceRow", "choice_rows", "write_choice_report", "write_report"]

_JUDGES_LEGEND = (
    "Scores: the log-probability of the author by two classifiers, bits per character that the author's own language "
    "model saves over others', and Burrows' Delta, where less is nearer. Nearer than: share of cases. Way to own "
    "texts: the score's share of the way from no profile (0 %) to the author's own texts (100 %), with Fieller's "
    "interval where it is finite."
)
_CONTENT_LEGEND = (
    "Means, and after them the paired difference from few-shot with its interval. On topic: cosine of TF-IDF vectors "
    "with the prompt and what the person wrote; compare conditions. Words that repeat the prompt do not count."
)


def write_report(folder: Path) -> list[Path]:
    """Write the report of a run.

    Args:
        folder: of a finished run.

    Returns:
        The files that were written.

    Raises:
        InputError: there is no summary in the folder.
        StorageError: the disk is full or not writable.
    """
    view = load_view(folder)
    templates = _environment()
    written = []
    for name in ("report.md", "report.html"):
        text = templates.get_template(f"{name}.j2").render(view=view, summary=view.summary)
        write_whole(folder / name, printable(text).rstrip() + "\n")
        written.append(folder / name)
    return written


def _environment() -> Environment:
    """What renders the templates of reports."""
    found = Environment(
        loader=PackageLoader("hyperalign.evals.report", "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters |= {
        "cell": _cell,
        "condition": condition_name,
        "difference": format_difference,
        "estimate": format_estimate,
        "judge": judge_name,
        "metric": metric_name,
        "money": format_money,
        "quoted": _quoted,
    }
    charts = {"dots": dots, "forest": forest, "lines": lines}
    legends = {"judges_legend": _JUDGES_LEGEND, "content_legend": _CONTENT_LEGEND}
    found.globals |= {**charts, **legends, "is_share": is_share, "condition_kind": condition_kind}
    return found


def _quoted(text: str) -> str:
    """A text as a quotation in Markdown, with its markup escaped."""
    safe = re.sub(r"([\\`*_{}\[\]()#+!|<>&=~-])", r"\\\1", text)
    return "\n".join(f"> {line}" for line in safe.splitlines() or [""])


def _cell(text: str) -> str:
    """A text as one line or table cell in Markdown, with its markup escaped."""
    return re.sub(r"([\\`*\[\]|<&])", r"\\\1", " ".join(text.split()))


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
            _environment()
            .get_template(f"{name}.j2")
            .render(summary=summary, rows=list(choice_rows(summary)), curves={k: v for k, v in curves.items() if v})
        )
        path = folder / name.replace("choices", "report")
        write_whole(path, printable(text).rstrip() + "\n")
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
