"""Charts as SVG and as text: a forest plot, dots by row, lines, and a sparkline.

Colors come from CSS classes of the page; a standalone chart carries its own style sheet. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup, escape

__all__ = ["ForestRow", "Point", "dots", "forest", "lines", "sparkline"]

_WIDTH = 760
_LEFT = 170
_RIGHT = 170
_ROW = 26
_TOP = 14
_AXIS = 30
_LINES_HEIGHT = 260
_LINES_LEFT = 64
_MOST_MARKERS = 20
_BLOCKS = "▁▂▃▄▅▆▇█"
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555}.grid{stroke:#ddd}.axis{stroke:#999}"
    ".curve{fill:none;stroke-width:2}.line-0{--c:#3b6ea5}.line-1{--c:#c0562e}.line-2{--c:#2d8a57}.line-3{--c:#9a4fb3}"
    "polyline[class*=line-],line[class*=line-]{stroke:var(--c)}circle[class*=line-],text[class*=line-]{fill:var(--c)}"
)


class Point(NamedTuple):
    """A value with its interval; the ends are None where there is no interval."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One row of a forest plot.

    Attributes:
        name: shown at the left.
        kind: the CSS class that gives the color.
        point: the value and its interval.
        text: shown at the right.
    """

    name: str
    kind: str
    point: Point
    text: str


class _Scale:
    """Maps values linearly to pixels; values outside are cut."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        if low == high:
            low, high = low - 0.5, high + 0.5
        self._low, self._high, self._start, self._end = low, high, start, end

    def __call__(self, value: float) -> float:
        fraction = (min(max(value, self._low), self._high) - self._low) / (self._high - self._low)
        return round(self._start + fraction * (self._end - self._start), 1)

    def ticks(self) -> list[float]:
        """About five round values."""
        rough = (self._high - self._low) / 4
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(size * power for size in (1.0, 2.0, 2.5, 5.0, 10.0) if size * power >= rough)
        first, last = math.ceil(self._low / step - 1e-9), math.floor(self._high / step + 1e-9)
        return [round(step * n, 10) for n in range(first, last + 1)]


def forest(rows: Sequence[ForestRow], *, reference: float | None, percent: bool, label: str) -> Markup:
    """A forest plot: one value with its interval a row.

    Args:
        rows: from top to bottom.
        reference: where a vertical line is drawn; None for no line.
        percent: whether values lie between 0 and 1 and are shown in percent.
        label: read out by screen readers.
    """
    across, height, parts = _rows([row.name for row in rows], [row.point for row in rows], percent)
    if reference is not None:
        x = across(reference)
        parts.append(f'<line class="chance" x1="{x}" x2="{x}" y1="4" y2="{height - _AXIS + 4}"/>')
    for number, row in enumerate(rows):
        y = _middle(number)
        mean, low, high = row.point
        if low is not None and high is not None:
            ends = f'x1="{across(low)}" x2="{across(high)}"'
            parts.append(f'<line class="whisker {row.kind}" {ends} y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="point {row.kind}" cx="{across(mean)}" cy="{y}" r="5"/>')
        parts.append(f'<text class="figure" x="{_WIDTH - _RIGHT + 14}" y="{y + 4}">{escape(row.text)}</text>')
    return _svg(height, parts, label)


def dots(rows: Mapping[str, Iterable[float]], kinds: Mapping[str, str], *, percent: bool, label: str) -> Markup:
    """Values as dots, one row a name; equal values stand side by side.

    Args:
        rows: values by name.
        kinds: the CSS class of each name.
        percent: whether values lie between 0 and 1 and are shown in percent.
        label: read out by screen readers.
    """
    values = {name: sorted(found) for name, found in rows.items()}
    across, height, parts = _rows(values, [Point(value) for found in values.values() for value in found], percent)
    for number, (name, found) in enumerate(values.items()):
        seen: dict[float, int] = {}
        for value in found:
            x = across(value)
            place = seen.get(x, 0)
            seen[x] = place + 1
            # Equal values alternate: left, right, farther left, farther right, …
            aside = (place + 1) // 2 * (7 if place % 2 else -7)
            circle = f'cx="{x + aside:g}" cy="{_middle(number)}" r="3.2"'
            parts.append(f'<circle class="dot {kinds.get(name, "strategy")}" {circle}/>')
    return _svg(height, parts, label)


def lines(
    series: Mapping[str, Mapping[int, Point]],
    *,
    x_label: str,
    label: str,
    percent: bool = False,
    log_x: bool = False,
    from_zero: bool = False,
    standalone: bool = False,
) -> Markup:
    """Values over numbers, one line a name, labeled at its end.

    Args:
        series: points by name and x.
        x_label: below the x axis.
        label: read out by screen readers.
        percent: whether values lie between 0 and 1 and are shown in percent.
        log_x: whether the x axis is logarithmic; every x is marked on it then.
        from_zero: whether the y axis begins at zero.
        standalone: whether the chart is a file of its own, with a style sheet.
    """
    up, across, parts = _lines_axes(series, percent, log_x, from_zero)
    ends: list[tuple[float, str, str]] = []
    for number, (name, line) in enumerate(series.items()):
        color = f"line-{number % 4}"
        # Intervals at one x stand side by side, so that they do not hide each other.
        aside = (number - (len(series) - 1) / 2) * 5 if any(point.low is not None for point in line.values()) else 0
        places = [(across(math.log2(x) if log_x else x) + aside, line[x]) for x in sorted(line)]
        if not places:
            continue
        path = " ".join(f"{x},{up(point.mean)}" for x, point in places)
        parts.append(f'<polyline class="curve {color}" points="{path}"/>')
        for x, point in places if len(places) <= _MOST_MARKERS else places[-1:]:
            if point.low is not None and point.high is not None:
                parts.append(
                    f'<line class="whisker {color}" x1="{x}" x2="{x}" y1="{up(point.low)}" y2="{up(point.high)}"/>'
                )
            parts.append(f'<circle class="point {color}" cx="{x}" cy="{up(point.mean)}" r="4"/>')
        ends.append((up(places[-1][1].mean), color, name))
    y = -math.inf
    for height, color, name in sorted(ends):
        y = max(height, y + 16)
        parts.append(f'<text class="figure {color}" x="{_WIDTH - _RIGHT + 14}" y="{y + 4}">{escape(name)}</text>')
    middle = (_LINES_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="tick" x="{middle}" y="{_LINES_HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    return _svg(_LINES_HEIGHT, parts, label, standalone)


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Values as a line of block characters, the highest full; empty where there are none.

    Args:
        values: in order; more of them than the line is wide are averaged.
        width: of the line, in characters.
    """
    if len(values) > width:
        edges = [len(values) * i // width for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in values)


def _range(points: Sequence[Point], percent: bool, from_zero: bool = False) -> tuple[float, float]:
    ends = [end for point in points for end in point if end is not None] or [0.0, 1.0]
    return (0.0, 1.0) if percent else (0.0 if from_zero else min(ends), max(ends))


def _rows(names: Iterable[str], points: Sequence[Point], percent: bool) -> tuple[_Scale, float, list[str]]:
    """The scale, the height, and the marks that all charts by row share: grid, ticks and names."""
    across = _Scale(*_range(points, percent), _LEFT, _WIDTH - _RIGHT)
    titles = [
        f'<text class="name" x="{_LEFT - 36}" y="{_middle(number) + 4}" text-anchor="end">{escape(name)}</text>'
        for number, name in enumerate(names)
    ]
    height = _TOP + len(titles) * _ROW + _AXIS
    bottom = height - _AXIS + 4
    grid = []
    for value in across.ticks():
        x = across(value)
        grid.append(f'<line class="grid" x1="{x}" x2="{x}" y1="4" y2="{bottom}"/>')
        grid.append(_tick(x, bottom + 16, "middle", _shown(value, percent)))
    return across, height, [*grid, *titles]


def _lines_axes(
    series: Mapping[str, Mapping[int, Point]], percent: bool, log_x: bool, from_zero: bool
) -> tuple[_Scale, _Scale, list[str]]:
    bottom, right = _LINES_HEIGHT - 40, _WIDTH - _RIGHT
    numbers = sorted({x for line in series.values() for x in line}) or [1]
    places = {x: math.log2(x) if log_x else float(x) for x in numbers}
    across = _Scale(places[numbers[0]], places[numbers[-1]], _LINES_LEFT, right)
    low, high = _range([point for line in series.values() for point in line.values()], percent, from_zero)
    up = _Scale(low, high, bottom, 20)
    parts = []
    for value in up.ticks():
        y = up(value)
        parts.append(f'<line class="grid" x1="{_LINES_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(_tick(_LINES_LEFT - 14, y + 4, "end", _shown(value, percent)))
    parts.append(f'<line class="axis" x1="{_LINES_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    marked = places if log_x else {value: value for value in across.ticks() if value == int(value)}
    parts += [_tick(across(place), bottom + 18, "middle", f"{value:g}") for value, place in marked.items()]
    return up, across, parts


def _middle(row: int) -> float:
    return _TOP + (row + 0.5) * _ROW


def _tick(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text class="tick" x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'


def _shown(value: float, percent: bool) -> str:
    return f"{value * 100:.0f} %" if percent else f"{value:g}"


def _svg(height: float, parts: Iterable[str], label: str, standalone: bool = False) -> Markup:
    size = f'xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" ' if standalone else ""
    page = f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>' if standalone else ""
    # The parts hold numbers, CSS classes of our own, and text that was escaped above.
    return Markup(  # noqa: S704
        f'<svg {size}viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(label)}">'
        f"{page}{''.join(parts)}</svg>"
    )
