"""Losses as a line and a picture."""

from __future__ import annotations

from xml.etree import ElementTree

from hyperalign.backends.distill.curve import as_picture, as_text

ENTRIES = [{"step": i, "loss": 4.0 / i} for i in range(1, 101)] + [{"step": 50, "eval_loss": 0.4}]


def test_the_line_falls_with_the_loss() -> None:
    line = as_text(ENTRIES, 20)
    assert len(line) == 20
    assert line[0] == "█"
    assert line[-1] == "▁"
    assert list(line) == sorted(line, reverse=True)
    assert as_text([]) == ""
    assert as_text([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 2.0}]) == "▁▁"


def test_the_picture_holds_both_curves_inside_its_frame() -> None:
    picture = ElementTree.fromstring(as_picture(ENTRIES))
    space = "{http://www.w3.org/2000/svg}"
    lines = picture.findall(f"{space}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [100, 1]
    for line in lines:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 640
            assert 0 <= y <= 240
    said = [text.text for text in picture.findall(f"{space}text")]
    assert "training 0.04" in said
    assert "validation 0.40" in said
    assert len(ElementTree.fromstring(as_picture([])).findall(f"{space}polyline")) == 0
