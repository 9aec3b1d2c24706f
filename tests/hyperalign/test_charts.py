"""Charts by themselves: well formed whatever the figures and names, and true to them."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from hyperalign.charts import ForestRow, Point, dots, forest, lines, sparkline

NAME = "<script>\"&'"


def point(value: float, wide: float | None = 0.1) -> Point:
    return Point(value) if wide is None else Point(value, value - wide, value + wide)


def corners(path: ElementTree.Element) -> list[tuple[float, float]]:
    pairs = [corner.split(",") for corner in (path.get("points") or "").split()]
    return [(float(x), float(y)) for x, y in pairs]


@pytest.mark.parametrize("percent", [True, False])
@pytest.mark.parametrize(
    "values", [(0.5,), (0.0,), (0.0, 0.0), (0.2, 0.9, 1.0), (-3.0, 0.0), (1e-9, 2e-9), (1e6, -1e6)]
)
@pytest.mark.parametrize("wide", [0.1, None, 0.0])
def test_charts_are_well_formed_whatever_the_figures(
    percent: bool, values: tuple[float, ...], wide: float | None
) -> None:
    rows = [ForestRow(f"{NAME}{n}", "strategy", point(x, wide), NAME) for n, x in enumerate(values)]
    for reference in (None, 0.5):
        plot = ElementTree.fromstring(forest(rows, reference=reference, percent=percent, label=NAME))
        assert len([part for part in plot if "whisker" in part.get("class", "")]) == (0 if wide is None else len(rows))
        assert plot.get("aria-label") == NAME
    people = ElementTree.fromstring(dots({NAME: values * 3}, {NAME: "control"}, percent=percent, label=NAME))
    assert len([part for part in people if part.tag == "circle"]) == 3 * len(values)
    places = {2**n: point(x, wide) for n, x in enumerate(values)}
    line = ElementTree.fromstring(lines({NAME: places}, x_label=NAME, percent=percent, log_x=True, label=NAME))
    (path,) = [part for part in line if part.tag == "polyline"]
    assert len(corners(path)) == len(values)
    assert all(0 <= x <= 760 and 0 <= y <= 260 for x, y in corners(path))


def test_a_forest_puts_figures_where_they_belong() -> None:
    rows = [
        ForestRow("low", "control", Point(0.0, 0.0, 0.5), ""),
        ForestRow("high", "strategy", Point(1.0, 0.5, 1.0), ""),
    ]
    plot = ElementTree.fromstring(forest(rows, reference=0.5, percent=True, label="x"))
    low, high = (float(part.get("cx") or 0) for part in plot if part.tag == "circle")
    (chance,) = (float(part.get("x1") or 0) for part in plot if part.get("class") == "chance")
    assert chance == pytest.approx((low + high) / 2)
    assert low < high


def test_people_with_one_value_stand_side_by_side() -> None:
    plot = ElementTree.fromstring(dots({"a": [0.5] * 5}, {}, percent=True, label="x"))
    places = [float(part.get("cx") or 0) for part in plot if part.tag == "circle"]
    assert len(set(places)) == 5


def test_line_labels_do_not_overlap() -> None:
    series = {name: {1: Point(0.0), 2: Point(1.0)} for name in "abc"}
    chart = ElementTree.fromstring(lines(series, x_label="x", label="x"))
    heights = [float(part.get("y") or 0) for part in chart if "figure" in part.get("class", "")]
    assert all(below - above >= 14 for above, below in pairwise(heights))


def test_a_standalone_chart_is_a_file_of_its_own_and_may_be_empty() -> None:
    space = "{http://www.w3.org/2000/svg}"
    full = {f"loss {NAME}": {n: Point(4.0 / n) for n in range(1, 101)}, "last": {50: Point(0.4)}}
    chart = ElementTree.fromstring(lines(full, x_label="step", label="x", from_zero=True, standalone=True))
    paths = chart.findall(f"{space}polyline")
    assert [len(corners(path)) for path in paths] == [100, 1]
    assert all(0 <= x <= 760 and 0 <= y <= 260 for path in paths for x, y in corners(path))
    assert [f"loss {NAME}", "last"] == [text.text for text in chart.iter(f"{space}text")][-3:-1][::-1]
    assert chart.find(f"{space}style") is not None
    empty = ElementTree.fromstring(lines({}, x_label="step", label="x", standalone=True))
    assert empty.findall(f"{space}polyline") == []


def test_a_sparkline_falls_with_its_values() -> None:
    line = sparkline([4.0 / n for n in range(1, 101)], 20)
    assert len(line) == 20
    assert (line[0], line[-1]) == ("█", "▁")
    assert list(line) == sorted(line, reverse=True)
    assert sparkline([]) == ""
    assert sparkline([2.0, 2.0]) == "▁▁"
