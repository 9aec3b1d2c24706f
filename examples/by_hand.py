"""Every step from a score matrix to what is kept, with numbers small enough to follow by hand.

Nora and the others are invented, and so are the cells: about what a small model gives for such answers. All that
comes after them is computed by the functions that hyperalign uses. ``docs/worked-example.md`` explains what this
prints, step by step. Run it with: python examples/by_hand.py
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

import hyperalign as ha
from hyperalign.profile import Hypothesis
from hyperalign.programs.selection import Rules, Selection, select
from hyperalign.programs.selection.effects import Effects, estimate_effects, group_by_choices, permutation_p
from hyperalign.scores import Row, ScoreMatrix

RULES = Rules()
HYPOTHESES = [
    Hypothesis(id=name, statement=said, opposite=opposite, aspect="communication", source=source)
    for name, said, opposite, source in (
        ("warm", "Warm and friendly.", "Cold and distant.", "space"),
        ("cheering", "Encouraging.", "Critical.", "space"),
        ("brief", "Brief.", "Thorough.", "space"),
        ("plain", "Everyday words.", "Technical terms.", "space"),
        ("images", "Likes a comparison.", "Likes a rule.", "inferred"),
    )
]
WEIGHED = ["warm", "cheering", "brief", "plain"]
"""Those that all choices could test; the fifth was made from Nora's first and third."""

GAP = float("nan")
CHOICES = [
    (
        "nora",
        "My bread did not rise.",
        "It happens to all of us! The yeast slept; warm water will wake it.",
        "Dead yeast.",
    ),
    (
        "nora",
        "How do I start running?",
        "You can do this. Walk five minutes, run one, six times over.",
        "By intervals.",
    ),
    (
        "nora",
        "Is my poem any good?",
        "It has a heart. Keep going!",
        "The meter limps in line two, and the end is weak.",
    ),
    ("nora", "Why is my tea bitter?", "It stood too long. After three minutes leaves turn bitter.", "Tannins."),
    ("otto", "How do I mend a tube?", "Patch it.", "Don't worry! Scuff it, apply vulcanizing cement, then press."),
    ("otto", "May I skip breakfast?", "Of course, if you feel well without it.", "Fasting tolerance varies."),
    ("pia", "What is rust?", "Iron that fell in love with rain!", "Hydrated oxide, formed where moisture conducts."),
    ("pia", "Is my essay ready?", "No. The thesis is implicit and one premise unsupported.", "Nearly, well done!"),
    ("quin", "How do I say no?", "Say it and stop. You owe nobody a reason, and reasons get argued.", "Kindly."),
    ("quin", "Which knot holds?", "A bowline, my friend.", "Efficiency depends on construction, load and diameter."),
]
CELLS = np.array(
    [
        [3.1, 4.6, -1.2, 2.9, GAP],
        [2.7, 2.2, -2.4, 1.6, 1.4],
        [3.8, 5.3, 1.9, -0.8, GAP],
        [0.3, 1.4, -2.8, 3.2, -0.6],
        [-1.4, -3.1, 2.9, 2.4, -2.0],
        [1.9, 2.6, -1.5, 1.1, 0.7],
        [2.2, 4.4, 2.0, 3.0, 3.9],
        [-2.9, -2.7, -1.1, -0.9, -1.8],
        [-2.4, -3.6, -2.2, 2.2, -0.5],
        [0.2, 1.9, 3.4, 2.8, 0.3],
    ]
)
"""Nats: how much more the chosen answer speaks for the statement than the other answer does."""


def pairs() -> list[ha.Pair]:
    """The choices as records."""
    counts: dict[str, itertools.count[int]] = {}
    return [
        ha.Pair(
            user=user,
            id=f"{user}-{next(counts.setdefault(user, itertools.count(1)))}",
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
        )
        for user, prompt, chosen, rejected in CHOICES
    ]


def matrix() -> ScoreMatrix:
    """The cells, as a test fills them."""
    rows = tuple(Row(pair.id, pair.user, paired=True) for pair in pairs())
    return ScoreMatrix("likelihood", "invented", rows, tuple(h.id for h in HYPOTHESES), CELLS)


def selection() -> Selection:
    """What is kept of the five."""
    return select(HYPOTHESES, [matrix()], "nora", RULES)


def own_and_others() -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Cells of Nora, and of each of the others: shapes (choices, statements)."""
    cells = matrix()
    (found,) = group_by_choices([(each, cells) for each in HYPOTHESES if each.id in WEIGHED], "nora")
    return found.own, found.others


def steps() -> Iterator[tuple[str, list[str]]]:
    """Each step: its name, and its lines, a Markdown table or a sum."""
    own, others = own_and_others()
    found = estimate_effects(own, others, RULES.prior)
    yield "Choices", choices()
    yield "Hypotheses", table(["", "statement", "opposite", "source"], _hypotheses())
    yield "Score matrix", table(["", *(h.id for h in HYPOTHESES)], _matrix())
    yield "Scale and gain", table(["", *WEIGHED], _gains(own, others, found))
    yield "By hand: scale and gain of warm", _scale_by_hand(own, others, found)
    yield "By hand: shrinkage of warm", _shrinkage_by_hand(own, others, found)
    yield "Shrinkage", table(["", *WEIGHED], _shrinkage(own, others, found))
    yield "Do the choices point one way?", table(["exchanged", "length", "length beyond others"], _flips(own, found))
    yield "By hand: the limit", [f"limit = 0.05 x (8 / {len(own)})^2 = {RULES.null_alpha_for(len(own)):.2f}"]
    yield "Alike", table(["", *WEIGHED], _alike(own, others, found))
    yield "Kept and dropped", table(["", "said", "wrong sign", "mean so far", "weight", "outcome"], _outcomes())


def choices() -> list[str]:
    """What everybody chose between."""
    return table(["", "prompt", "chosen", "rejected"], [[p.id, p.prompt, p.chosen, p.rejected] for p in pairs()])


def _hypotheses() -> Iterator[list[str]]:
    for hypothesis in HYPOTHESES:
        yield [hypothesis.id, hypothesis.statement, hypothesis.opposite, hypothesis.source]


def _matrix() -> Iterator[list[str]]:
    for row, cells in zip(matrix().rows, matrix().values, strict=True):
        yield [row.record, *("" if np.isnan(cell) else f"{cell:+.1f}" for cell in cells)]


def _gains(own: NDArray[np.float64], others: list[NDArray[np.float64]], found: Effects) -> Iterator[list[str]]:
    yield ["scale", *figures(found.scale, "{:.2f}")]
    yield ["Nora's mean", *figures(own.mean(axis=0))]
    for user, cells in zip(("Otto", "Pia", "Quin"), others, strict=True):
        yield [f"{user}'s mean", *figures(cells.mean(axis=0))]
    yield ["mean of the others", *figures(own.mean(axis=0) - found.raw)]
    yield ["gain", *figures(found.raw)]
    yield ["gain in scales", *figures(found.raw / found.scale)]


def _scale_by_hand(own: NDArray[np.float64], others: list[NDArray[np.float64]], found: Effects) -> list[str]:
    cells = np.vstack([own, *others])[:, 0]
    squares = " + ".join(f"{abs(cell):.1f}^2" for cell in cells)
    means = [float(each[:, 0].mean()) for each in (own, *others)]
    rest = " + ".join(f"({mean:.2f})" if mean < 0 else f"{mean:.2f}" for mean in means[1:])
    return [
        f"scale = sqrt(({squares}) / {len(cells)}) = {found.scale[0]:.2f}",
        f"gain = {means[0]:.3f} - ({rest}) / {len(others)} = {found.raw[0]:.2f}",
        f"gain in scales = {found.raw[0]:.2f} / {found.scale[0]:.2f} = {found.raw[0] / found.scale[0]:.2f}",
    ]


def _shrinkage_by_hand(own: NDArray[np.float64], others: list[NDArray[np.float64]], found: Effects) -> list[str]:
    between, one, many, each = RULES.prior.between, 1 + RULES.prior.reading, len(others), len(others[0])
    variance = one / len(own) + many * (between + one / each) / many**2
    share = between / (between + variance)
    gain, spread = float(found.raw[0] / found.scale[0]), (between * (1 - share)) ** 0.5
    return [
        f"one choice = 1 + {RULES.prior.reading} = {one}",
        f"variance = {one} / {len(own)} + {many} x ({between} + {one} / {each}) / {many}^2 = {variance:.3f}",
        f"share = {between} / ({between} + {variance:.3f}) = {share:.3f}",
        f"believed = {share:.3f} x {gain:.2f} = {share * gain:.2f}",
        f"spread = sqrt({between} x (1 - {share:.3f})) = {spread:.2f}",
        f"high pole = normal({share * gain:.2f} / {spread:.2f}) = {stats.norm.cdf(share * gain / spread):.2f}",
    ]


def _shrinkage(own: NDArray[np.float64], others: list[NDArray[np.float64]], found: Effects) -> Iterator[list[str]]:
    # A column without its neighbors, which is what can be followed by hand.
    alone = [
        estimate_effects(own[:, [at]], [cells[:, [at]] for cells in others], RULES.prior) for at in range(len(WEIGHED))
    ]
    yield ["gain in scales", *figures(found.raw / found.scale)]
    yield ["its standard error", *figures(found.noise / found.scale, "{:.2f}")]
    yield ["believed, alone", *figures(np.array([float(each.mean[0] / each.scale[0]) for each in alone]))]
    yield ["its spread, alone", *figures(np.array([float(each.spread[0] / each.scale[0]) for each in alone]), "{:.2f}")]
    yield ["high pole, alone", *figures(np.array([float(each.positive[0]) for each in alone]), "{:.2f}")]
    yield ["believed, together", *figures(found.mean / found.scale)]
    yield ["its spread, together", *figures(found.spread / found.scale, "{:.2f}")]
    yield ["high pole, together", *figures(found.positive, "{:.2f}")]


def _flips(own: NDArray[np.float64], found: Effects) -> Iterator[list[str]]:
    common = own.mean(axis=0) - found.raw
    versions = [own / found.scale, (own - common) / found.scale]
    for signs in itertools.product((1.0, -1.0), repeat=len(own) - 1):
        flips = np.array([1.0, *signs])
        exchanged = ", ".join(str(at + 1) for at, sign in enumerate(flips) if sign < 0)
        yield [exchanged or "none", *(f"{np.linalg.norm(flips @ cells / len(own)):.2f}" for cells in versions)]
    yield ["**p**", *(f"**{permutation_p(cells):.3f}**" for cells in versions)]


def _alike(own: NDArray[np.float64], others: list[NDArray[np.float64]], found: Effects) -> Iterator[list[str]]:
    known = np.vstack([own, *others]) / found.scale
    for name, row in zip(WEIGHED, known.T @ known / len(known), strict=True):
        yield [name, *figures(row)]


def _outcomes() -> Iterator[list[str]]:
    chosen = selection()
    judged = [*chosen.kept, *chosen.dropped]
    tested = [(h, h.test) for h in judged if h.test]
    # As they were judged: the surest first.
    for h, test in sorted(tested, key=lambda each: each[1].p):
        sure = [f"{test.p:.2f}", f"{test.q:.2f}", f"{h.weight:.2f}"]
        yield [h.id, h.statement, *sure, h.dropped_because or "**kept**"]
    yield from ([h.id, h.statement, "", "", f"{h.weight:.2f}", h.dropped_because] for h in judged if not h.test)


def figures(values: NDArray[np.float64], form: str = "{:+.2f}") -> list[str]:
    """Numbers as they stand in a table."""
    # Nothing is minus zero.
    return [form.format(value).replace("-0.00", "+0.00") for value in values.tolist()]


def table(head: Sequence[str], rows: Iterator[list[str]] | list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [list(head), ["---"] * len(head), *rows]
    return ["|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in lines]


def main() -> None:
    """Print each step."""
    for name, lines in steps():
        print(f"{name}\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
