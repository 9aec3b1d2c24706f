"""Charts as SVG text: a forest plot, people as dots, and a curve over numbers of records.

Colors and fonts come from the page's style sheet. Everything written into a chart is escaped. This file reads no
run: it is handed rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from ..conditions import ConditionKind

__all__ = ["ForestRow", "curve", "dots", "forest"]

_WIDTH = 760
_LEFT = 170
_RIGHT = 170
_ROW = 26
_TOP = 14
_AXIS = 30


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line of a forest plot.

    Attributes:
        name: of the condition.
        kind: gives the color.
        mean: the figure.
        low: lower end of its interval; None if there is none.
        high: upper end.
        text: the figure in words, for the right margin.
    """

    name: str
    kind: ConditionKind
    mean: float
    low: float | None
    high: float | None
    text: str


class _Scale:
    """From values to pixels."""

    def __init__(self, low: float, high: float) -> None:
        if low == high:
            low, high = low - 0.5, high + 0.5
        self.low, self.high = low, high

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)

    def ticks(self) -> list[float]:
        """Five or so round values."""
        rough = (self.high - self.low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(size * power for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * power >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [round(step * n, 10) for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def forest(rows: Sequence[ForestRow], *, chance: float | None, share: bool, label: str) -> Markup:
    """Arms with their intervals.

    Args:
        rows: from top to bottom.
        chance: where a line is drawn that says "nothing"; None for no line.
        share: whether values are shares, shown in percent.
        label: what a screen reader says of the chart.
    """
    ends = [end for row in rows for end in (row.mean, row.low, row.high) if end is not None]
    scale = _Scale(0.0, 1.0) if share else _Scale(min(ends), max(ends))
    height = _TOP + len(rows) * _ROW + _AXIS
    parts = [_axis(scale, height, share)]
    if chance is not None:
        x = scale(chance)
        parts.append(f'<line class="chance" x1="{x}" x2="{x}" y1="4" y2="{height - _AXIS + 4}"/>')
    for number, row in enumerate(rows):
        y = _TOP + number * _ROW + _ROW / 2
        parts.append(f'<text class="name" x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(row.name)}</text>')
        if row.low is not None and row.high is not None:
            parts.append(
                f'<line class="whisker {row.kind}" x1="{scale(row.low)}" x2="{scale(row.high)}" y1="{y}" y2="{y}"/>'
            )
        parts.append(f'<circle class="point {row.kind}" cx="{scale(row.mean)}" cy="{y}" r="5"/>')
        parts.append(f'<text class="figure" x="{_WIDTH - _RIGHT + 14}" y="{y + 4}">{escape(row.text)}</text>')
    return _svg(height, parts, label)


def dots(rows: Mapping[str, Iterable[float]], kinds: Mapping[str, ConditionKind], *, share: bool, label: str) -> Markup:
    """People as dots, one line a condition; people with the same value stand side by side.

    Args:
        rows: each person's mean score, by condition.
        kinds: gives the colors.
        share: whether values are shares, shown in percent.
        label: what a screen reader says of the chart.
    """
    values = {name: sorted(found) for name, found in rows.items()}
    every = [value for found in values.values() for value in found]
    scale = _Scale(0.0, 1.0) if share else _Scale(min(every), max(every))
    height = _TOP + len(values) * _ROW + _AXIS
    parts = [_axis(scale, height, share)]
    for number, (name, found) in enumerate(values.items()):
        y = _TOP + number * _ROW + _ROW / 2
        parts.append(f'<text class="name" x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        seen: dict[float, int] = {}
        for value in found:
            x = scale(value)
            place = seen.get(x, 0)
            seen[x] = place + 1
            # People with one value stand side by side: left, right, farther left, farther right, …
            aside = (place + 1) // 2 * (7 if place % 2 else -7)
            parts.append(f'<circle class="dot {kinds.get(name, "strategy")}" cx="{x + aside:g}" cy="{y}" r="3.2"/>')
    return _svg(height, parts, label)


def curve(points: Mapping[str, Mapping[int, Mapping[str, Any]]], *, share: bool, label: str) -> Markup:
    """Figures against numbers of records, one line a strategy.

    Args:
        points: by strategy and number of records: ``mean``, ``low`` and ``high``.
        share: whether values are shares, shown in percent.
        label: what a screen reader says of the chart.
    """
    counts = sorted({count for line in points.values() for count in line})
    ends = [
        f[end]
        for line in points.values()
        for f in line.values()
        for end in ("mean", "low", "high")
        if f.get(end) is not None
    ]
    low, high = (0.0, 1.0) if share else (min(ends), max(ends))
    height, bottom = 260, 220
    across = _Scale(math.log2(counts[0]), math.log2(counts[-1]))

    def up(value: float) -> float:
        return round(bottom - (min(max(value, low), high) - low) / ((high - low) or 1.0) * (bottom - 20), 1)

    parts = [f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>']
    parts += [
        f'<text class="tick" x="{across(math.log2(count))}" y="{bottom + 18}" text-anchor="middle">{count}</text>'
        for count in counts
    ]
    for value in _Scale(low, high).ticks():
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(value)}" y2="{up(value)}"/>')
        shown = _shown(value, share)
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{up(value) + 4}" text-anchor="end">{shown}</text>')
    for number, (name, line) in enumerate(points.items()):
        color = f"line-{number % 4}"
        # Side by side, so that intervals of one number of records do not hide each other.
        where = {count: across(math.log2(count)) + (number - len(points) / 2) * 5 for count in sorted(line)}
        path = " ".join(f"{where[count]},{up(line[count]['mean'])}" for count in where)
        parts.append(f'<polyline class="curve {color}" points="{path}"/>')
        for count, x in where.items():
            found = line[count]
            if found.get("low") is not None:
                ends_y = f'y1="{up(found["low"])}" y2="{up(found["high"])}"'
                parts.append(f'<line class="whisker {color}" x1="{x}" x2="{x}" {ends_y}/>')
            parts.append(f'<circle class="point {color}" cx="{x}" cy="{up(found["mean"])}" r="4"/>')
        y = 30 + number * 20
        parts.append(f'<circle class="point {color}" cx="{_WIDTH - _RIGHT + 20}" cy="{y - 4}" r="5"/>')
        parts.append(f'<text class="figure" x="{_WIDTH - _RIGHT + 32}" y="{y}">{escape(name)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{height - 4}" text-anchor="middle">records learned from</text>')
    return _svg(height, parts, label)


def _axis(scale: _Scale, height: float, share: bool) -> str:
    bottom = height - _AXIS + 4
    parts = []
    for value in scale.ticks():
        x = scale(value)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="4" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 16}" text-anchor="middle">{_shown(value, share)}</text>')
    return "".join(parts)


def _shown(value: float, share: bool) -> str:
    return f"{value * 100:.0f} %" if share else f"{value:g}"


def _svg(height: float, parts: Iterable[str], label: str) -> Markup:
    # What was put into the parts is numbers, our own class names, and text that was escaped above.
    return Markup(  # noqa: S704
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )
