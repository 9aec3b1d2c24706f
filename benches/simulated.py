"""People made of numbers: cells of a score matrix, as if a model had read their choices or their texts.

What sets two answers (or texts) apart is five things; 24 statements overlap in reading them, each with noise of its
own. A person leans somewhere in the five; a leaning of 1 is one standard deviation of a single choice. This file knows
nothing of how statements are judged: ``null_and_power`` and the tests of selection ask that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.scores import Row, ScoreMatrix

__all__ = [
    "FACTORS",
    "MIXING",
    "SPACE",
    "USER",
    "Cells",
    "Leaning",
    "Person",
    "as_matrix",
    "coins",
    "dealt",
    "exchanged",
    "groups_of_coins",
    "people",
    "read",
    "statements",
]

Cells = NDArray[np.float64]
"""Shape (records, statements)."""

Leaning = NDArray[np.float64]
"""Shape (things,): how far somebody leans in each, in standard deviations of a single choice."""

USER = "ada"
FACTORS = 5
MIXING = np.random.default_rng(0).normal(size=(FACTORS, 24))
"""Statements that overlap, as those of a real space do."""


@dataclass(frozen=True)
class Person:
    """One person's cells beside other people's, a table for each of them."""

    own: Cells
    others: list[Cells]


def read(rng: np.random.Generator, count: int, leaning: Leaning | None = None) -> Cells:
    """Cells of so many records of somebody who leans that way; nobody in particular if None."""
    apart = rng.normal(size=(count, FACTORS)) + (0 if leaning is None else leaning)
    return np.asarray(apart @ MIXING + rng.normal(size=(count, MIXING.shape[1])))


def people(rng: np.random.Generator, count: int = 6, *, each: int = 2, spread: float = 1.0) -> list[Cells]:
    """Other people, whose leanings have that standard deviation in each of the five things."""
    return [read(rng, each, spread * rng.normal(size=FACTORS)) for _ in range(count)]


def coins(rng: np.random.Generator, person: Person) -> Person:
    """Chosen and rejected exchanged in each of the person's records by the toss of a coin."""
    return Person(person.own * rng.choice((-1.0, 1.0), size=(len(person.own), 1)), person.others)


def exchanged(rng: np.random.Generator, person: Person) -> Person:
    """All records dealt anew to the person and to other people."""
    everything = rng.permutation(np.vstack([person.own, *person.others]))
    ends = np.cumsum([len(person.own), *map(len, person.others)])[:-1]
    own, *others = np.split(everything, ends)
    return Person(own, others)


def dealt(rng: np.random.Generator, cells: Cells, count: int, *, others: int, each: int = 2) -> Person:
    """A person of so many rows of a matrix, drawn by lot, and other people of the rows that are left."""
    rows = cells[rng.permutation(len(cells))[: count + others * each]]
    own, *rest = np.split(rows, np.arange(count, len(rows), each))
    return Person(own, rest)


def statements(columns: Sequence[str]) -> list[Hypothesis]:
    """Hypotheses with two poles, as those of the space are."""
    return [
        Hypothesis(id=name, statement=f"Is {name}.", opposite=f"Is not {name}.", aspect="style", source="space")
        for name in columns
    ]


SPACE = statements([f"h{i}" for i in range(MIXING.shape[1])])


def as_matrix(person: Person, hypotheses: Sequence[Hypothesis] = SPACE, *, paired: bool) -> ScoreMatrix:
    """The score matrix that holds these cells; ``paired`` where they are of choices."""
    rows = [Row(f"r{i}", USER, paired) for i in range(len(person.own))]
    rows += [Row(f"o{n}-{i}", f"p{n}", paired) for n, cells in enumerate(person.others) for i in range(len(cells))]
    columns = tuple(hypothesis.id for hypothesis in hypotheses)
    return ScoreMatrix("likelihood", "m@1", tuple(rows), columns, np.vstack([person.own, *person.others]))


def groups_of_coins(
    rng: np.random.Generator, count: int, *, taste: float = 0.0
) -> tuple[list[Hypothesis], list[ScoreMatrix]]:
    """Choices by coins as four groups of statements see them: the first saw all, each other one half of them.

    Args:
        rng: of everything that is drawn.
        count: of the person's choices.
        taste: what other people share, in the unit of a cell: nothing that coins exchange.

    Returns:
        All statements, and a matrix for each group.
    """
    tossed = rng.choice((-1.0, 1.0), size=(count, 1))
    found, matrices = [], []
    for group in range(4):
        own, others = read(rng, count) * tossed, [cells + taste for cells in people(rng)]
        if group:
            own[group % 2 :: 2] = np.nan
        named = statements([f"g{group}-{hypothesis.id}" for hypothesis in SPACE])
        found += named
        matrices.append(as_matrix(Person(own, others), named, paired=True))
    return found, matrices
