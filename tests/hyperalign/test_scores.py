"""The score matrix: immutable, the same after JSON, and as if a record had never been."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hyperalign.scores import Row, ScoreMatrix, TextScore

ROWS = (Row("a1", "ada"), Row("a2", "ada"), Row("b1", "bob"))


def matrix() -> ScoreMatrix:
    values = np.array([[1.0, math.nan], [0.25, -3.0], [math.nan, 7.5]])
    return ScoreMatrix("likelihood", "model@1", ROWS, ("h1", "h2"), values)


def test_nobody_can_change_it() -> None:
    source = np.zeros((3, 2))
    table = ScoreMatrix("likelihood", "model@1", ROWS, ("h1", "h2"), source)
    source[0, 0] = 9
    assert table.values[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        table.values[0, 0] = 1
    with pytest.raises(AttributeError):
        table.test = "choice"  # type: ignore[misc]


def test_its_shape_is_checked() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\), not \(3, 2\)"):
        ScoreMatrix("likelihood", "model@1", ROWS, ("h1", "h2"), np.zeros((2, 2)))


@pytest.mark.parametrize(
    "table",
    [
        matrix(),
        ScoreMatrix("choice", "m", (), ("h1",), np.zeros((0, 1))),
        ScoreMatrix("choice", "m", ROWS, (), np.zeros((3, 0))),
        ScoreMatrix("choice", "m", (), (), np.zeros((0, 0))),
    ],
)
def test_it_is_the_same_after_json(table: ScoreMatrix) -> None:
    text = table.to_json()
    again = ScoreMatrix.from_json(text)
    assert (again.test, again.scorer, again.rows, again.columns) == (
        table.test, table.scorer, table.rows, table.columns,
    )  # fmt: skip
    np.testing.assert_array_equal(again.values, table.values)
    assert again.to_json() == text
    json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize("text", ["{}", "[]", "null", "3", "{", '{"test": "x"}', '{"rows": [1], "columns": []}'])
def test_something_else_is_no_matrix(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ScoreMatrix.from_json(text)


def test_of_gives_the_filled_cells_of_some_rows() -> None:
    records, cells = matrix().of("h2", lambda row: row.user == "ada")
    assert records == ["a2"]
    assert cells.tolist() == [-3.0]


def test_without_a_record_it_is_as_if_it_had_never_been() -> None:
    rest = matrix().without({"a1", "unheard of"})
    assert rest.rows == ROWS[1:]
    np.testing.assert_array_equal(rest.values, matrix().values[1:])
    assert matrix().without({row.record for row in ROWS}).values.shape == (0, 2)


def test_the_mean_of_an_empty_text_is_zero() -> None:
    assert TextScore(0.0, 0).mean == 0.0
    assert TextScore(-3.0, 2).mean == -1.5
