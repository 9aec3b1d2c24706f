"""Charts by themselves: well formed whatever the figures and names, and true to them."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from hyperalign.evals.report.charts import ForestRow, curve, dots, forest

NAME = "<script>\"&'"


def figures(*values: float, wide: float | None = 0.1) -> dict[int, dict[str, Any]]:
    return {
        2**n: {"mean": x, "low": None if wide is None else x - wide, "high": None if wide is None else x + wide}
        for n, x in enumerate(values)
    }


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    "values", [(0.5,), (0.0,), (0.0, 0.0), (0.2, 0.9, 1.0), (-3.0, 0.0), (1e-9, 2e-9), (1e6, -1e6)]
)
@pytest.mark.parametrize("wide", [0.1, None, 0.0])
def test_charts_are_well_formed_whatever_the_figures(
    share: bool, values: tuple[float, ...], wide: float | None
) -> None:
    rows = [
        ForestRow(
            f"{NAME}{n}", "strategy", x, None if wide is None else x - wide, None if wide is None else x + wide, NAME
        )
        for n, x in enumerate(values)
    ]
    for chance in (None, 0.5):
        plot = ElementTree.fromstring(forest(rows, chance=chance, share=share, label=NAME))
        assert len([part for part in plot if "whisker" in part.get("class", "")]) == (0 if wide is None else len(rows))
        assert plot.get("aria-label") == NAME
    people = ElementTree.fromstring(dots({NAME: values * 3}, {NAME: "control"}, share=share, label=NAME))
    assert len([part for part in people if part.tag == "circle"]) == 3 * len(values)
    line = ElementTree.fromstring(curve({NAME: figures(*values, wide=wide)}, share=share, label=NAME))
    (path,) = [part for part in line if part.tag == "polyline"]
    points = [tuple(map(float, point.split(","))) for point in (path.get("points") or "").split()]
    assert len(points) == len(values)
    assert all(0 <= x <= 760 and 0 <= y <= 260 for x, y in points)


def test_a_forest_puts_figures_where_they_belong() -> None:
    rows = [ForestRow("low", "control", 0.0, 0.0, 0.5, ""), ForestRow("high", "strategy", 1.0, 0.5, 1.0, "")]
    plot = ElementTree.fromstring(forest(rows, chance=0.5, share=True, label="x"))
    low, high = (float(part.get("cx") or 0) for part in plot if part.tag == "circle")
    (chance,) = (float(part.get("x1") or 0) for part in plot if part.get("class") == "chance")
    assert chance == pytest.approx((low + high) / 2)
    assert low < high


def test_people_with_one_value_stand_side_by_side() -> None:
    plot = ElementTree.fromstring(dots({"a": [0.5] * 5}, {}, share=True, label="x"))
    places = [float(part.get("cx") or 0) for part in plot if part.tag == "circle"]
    assert len(set(places)) == 5
