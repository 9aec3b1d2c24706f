"""The losses of a training run as a picture and as a line of text. It reads no run: it is handed entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

__all__ = ["as_picture", "as_text"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 110, 16, 36
_TRAINING, _VALIDATION = "#3b6ea5", "#c0562e"

Point = tuple[int, float]


def as_text(entries: Sequence[Mapping[str, Any]], width: int = 40) -> str:
    """The training losses as a line of blocks, the highest full; empty where there are none.

    Args:
        entries: of ``losses.jsonl``, by step.
        width: of the line, in characters.
    """
    values = [loss for _, loss in _points(entries, "loss")]
    if not values:
        return ""
    if len(values) > width:
        edges = [len(values) * i // width for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in values)


def as_picture(entries: Sequence[Mapping[str, Any]]) -> str:
    """Training and validation losses by step, as an SVG file.

    Args:
        entries: of ``losses.jsonl``, by step.
    """
    curves = {"training": _points(entries, "loss"), "validation": _points(entries, "eval_loss")}
    points = [point for curve in curves.values() for point in curve]
    last = max((step for step, _ in points), default=1)
    top = max((loss for _, loss in points), default=1.0) or 1.0

    def at(step: int, loss: float) -> tuple[float, float]:
        across = (step - 1) / max(1, last - 1)
        right, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return round(_LEFT + across * right, 1), round(_TOP + (1 - loss / top) * high, 1)

    floor = _HEIGHT - _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Loss by step">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        _, y = at(1, top * share)
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="#dddddd"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end" fill="#555555">{top * share:.2f}</text>',
        ]
    parts += [
        f'<text x="{_LEFT}" y="{floor + 18}" fill="#555555">step 1</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{floor + 18}" text-anchor="end" fill="#555555">{last}</text>',
    ]
    ends: list[float] = []
    for (name, curve), color in zip(curves.items(), (_TRAINING, _VALIDATION), strict=True):
        if not curve:
            continue
        places = [at(step, loss) for step, loss in curve]
        line = " ".join(f"{x},{y}" for x, y in places)
        x, y = places[-1]
        # Two names at one height would lie on each other.
        beside = y if all(abs(y - other) >= 14 for other in ends) else y - 14
        ends.append(beside)
        parts += [
            f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>',
            f'<circle cx="{x}" cy="{y}" r="3" fill="{color}"/>',
            f'<text x="{x + 8}" y="{beside + 4}" fill="{color}">{name} {curve[-1][1]:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _points(entries: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    return [(int(entry["step"]), float(entry[name])) for entry in entries if name in entry]
