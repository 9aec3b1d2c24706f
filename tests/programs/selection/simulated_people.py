"""Simulated people: cells of score matrices as a model would give them, and what selection keeps of them.

What sets two answers or texts apart is five factors; 24 statements are overlapping readings of them, each with noise of
its own. A person has an effect in each factor; an effect of 1 is one standard deviation of a single choice.

**Null.** Choices with chosen and rejected exchanged at random, and texts assigned to people at random, hold nothing
about a person: what is kept of them is kept by chance. **Power.** People with an effect of a given size: how often
something is kept, and how often with the wrong sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hyperalign.evals.statistics import estimate
from hyperalign.profile import Hypothesis
from hyperalign.programs.selection import Rules, select
from hyperalign.programs.selection.effects import Prior
from hyperalign.scores import Row, ScoreMatrix

__all__ = [
    "FACTORS",
    "MIXING",
    "OTHERS",
    "SPACE",
    "USER",
    "Cells",
    "Effects",
    "Outcomes",
    "Person",
    "as_matrix",
    "draw_cells",
    "draw_others",
    "is_paired",
    "simulate_null",
    "simulate_null_of_groups",
    "simulate_null_of_matrix",
    "simulate_power",
    "statements_without_gaps",
]

Cells = NDArray[np.float64]
"""Shape (records, statements)."""

Effects = NDArray[np.float64]
"""Shape (factors,): of a person, in standard deviations of a single choice."""

USER = "ada"
FACTORS = 5
MIXING = np.random.default_rng(0).normal(size=(FACTORS, 24))
"""Loadings of statements that overlap, as those of a real space do."""
OTHERS = 6
"""Other people, with two records each."""
SPREAD = Prior().between ** 0.5
"""Standard deviation of people's effects, as selection assumes it."""
# A tenth of the default number of permutations: p is coarser, and nothing else changes.
RULES = Rules(permutations=999)


@dataclass(frozen=True)
class Person:
    """One person's cells and those of each other person."""

    own: Cells
    others: list[Cells]


def draw_cells(rng: np.random.Generator, count: int, effects: Effects | None = None) -> Cells:
    """Cells of ``count`` records of a person with these effects; without effects if None."""
    factors = rng.normal(size=(count, FACTORS)) + (0 if effects is None else effects)
    return np.asarray(factors @ MIXING + rng.normal(size=(count, MIXING.shape[1])))


def draw_others(rng: np.random.Generator, count: int = OTHERS, *, each: int = 2, spread: float = 1.0) -> list[Cells]:
    """Cells of other people, whose effects have that standard deviation in each factor."""
    return [draw_cells(rng, each, spread * rng.normal(size=FACTORS)) for _ in range(count)]


def two_poled(names: Sequence[str]) -> list[Hypothesis]:
    """Hypotheses with an opposite, as those of the space have."""
    return [
        Hypothesis(id=name, statement=f"Is {name}.", opposite=f"Is not {name}.", aspect="style", source="space")
        for name in names
    ]


SPACE = two_poled([f"h{i}" for i in range(MIXING.shape[1])])
GROUPS = [two_poled([f"g{group}-{hypothesis.id}" for hypothesis in SPACE]) for group in range(4)]


def as_matrix(person: Person, hypotheses: Sequence[Hypothesis] = SPACE, *, paired: bool) -> ScoreMatrix:
    """The score matrix with these cells; ``paired`` if they are of choices."""
    rows = [Row(f"r{i}", USER, paired) for i in range(len(person.own))]
    rows += [Row(f"o{n}-{i}", f"p{n}", paired) for n, cells in enumerate(person.others) for i in range(len(cells))]
    columns = tuple(hypothesis.id for hypothesis in hypotheses)
    return ScoreMatrix("likelihood", "m@1", tuple(rows), columns, np.vstack([person.own, *person.others]))


def exchange(rng: np.random.Generator, person: Person) -> Person:
    """Exchange chosen and rejected at random in each of the person's records."""
    return Person(person.own * rng.choice((-1.0, 1.0), size=(len(person.own), 1)), person.others)


def shuffle(rng: np.random.Generator, person: Person) -> Person:
    """Assign all records to the person and to other people at random."""
    everything = rng.permutation(np.vstack([person.own, *person.others]))
    ends = np.cumsum([len(person.own), *map(len, person.others)])[:-1]
    own, *others = np.split(everything, ends)
    return Person(own, others)


# What selection keeps of them


@dataclass(frozen=True)
class Outcome:
    """What was kept of one person.

    Attributes:
        stated: of each statement, the probability of a sign error that its test states.
        wrong: whether its sign is wrong; empty where the truth is unknown.
    """

    stated: list[float]
    wrong: list[bool]


@dataclass(frozen=True)
class Outcomes:
    """What was kept of several people."""

    people: list[Outcome]

    @property
    def kept(self) -> int:
        """The number of people of whom something was kept."""
        return sum(bool(outcome.stated) for outcome in self.people)

    @property
    def share(self) -> tuple[float, float, float]:
        """The share of people of whom something was kept, with its 95 % interval (Clopper and Pearson 1934)."""
        interval = stats.binomtest(self.kept, len(self.people)).proportion_ci(method="exact")
        return self.kept / len(self.people), float(interval.low), float(interval.high)

    @property
    def stated(self) -> float:
        """Mean probability of a sign error as the tests state it; each person counts once."""
        return float(np.mean([np.mean(outcome.stated) for outcome in self.people if outcome.stated]))

    @property
    def wrong(self) -> tuple[float, float, float]:
        """The share of sign errors with its 95 % interval over people; each person counts once."""
        by_person = {
            str(at): [float(wrong) for wrong in each.wrong] for at, each in enumerate(self.people) if each.wrong
        }
        of = estimate(by_person, share=True)
        return of.mean, of.low, of.high


def _judge(
    person: Person, hypotheses: Sequence[Hypothesis] = SPACE, *, paired: bool, truth: NDArray[np.float64] | None = None
) -> Outcome:
    """What selection keeps of a person; ``truth`` has the sign of each statement."""
    kept = select(hypotheses, [as_matrix(person, hypotheses, paired=paired)], USER, RULES).kept
    if truth is None:
        return Outcome(_stated(kept), [])
    high = {hypothesis.id: (hypothesis.statement, at) for at, hypothesis in enumerate(hypotheses)}
    wrong = [(h.statement == high[h.id][0]) != bool(truth[high[h.id][1]] > 0) for h in kept]
    return Outcome(_stated(kept), wrong)


def _stated(kept: Sequence[Hypothesis]) -> list[float]:
    return [hypothesis.test.p for hypothesis in kept if hypothesis.test]


def simulate_null(count: int, how_many: int, *, paired: bool, seed: int = 0) -> Outcomes:
    """People with large effects whose records were made random."""
    rng = np.random.default_rng([seed, count, paired])
    randomize = exchange if paired else shuffle
    drawn = (Person(draw_cells(rng, count, rng.normal(size=FACTORS)), draw_others(rng)) for _ in range(how_many))
    return Outcomes([_judge(randomize(rng, person), paired=paired) for person in drawn])


def simulate_null_of_groups(count: int, how_many: int, *, taste: float = 0.0, seed: int = 0) -> Outcomes:
    """Random choices that four groups of statements were tested on: the first on all, the others on one half.

    Args:
        count: choices of each person.
        how_many: people.
        taste: what other people share, in the unit of a cell, which no exchange changes.
        seed: of everything.
    """
    rng = np.random.default_rng([seed, count, 2])
    outcomes = []
    for _ in range(how_many):
        signs = rng.choice((-1.0, 1.0), size=(count, 1))
        matrices = []
        for group in range(len(GROUPS)):
            own, others = draw_cells(rng, count) * signs, [cells + taste for cells in draw_others(rng)]
            if group:
                own[group % 2 :: 2] = np.nan
            matrices.append(as_matrix(Person(own, others), GROUPS[group], paired=True))
        kept = select([hypothesis for group in GROUPS for hypothesis in group], matrices, USER, RULES).kept
        outcomes.append(Outcome(_stated(kept), []))
    return Outcomes(outcomes)


def simulate_null_of_matrix(matrix: ScoreMatrix, count: int, how_many: int, *, seed: int = 0) -> Outcomes:
    """People of random rows of a matrix, made random."""
    rng = np.random.default_rng([seed, count])
    hypotheses, cells = statements_without_gaps(matrix)
    paired = is_paired(matrix)
    outcomes = []
    for _ in range(how_many):
        rows = cells[rng.permutation(len(cells))[: count + OTHERS * 2]]
        own, *others = np.split(rows, np.arange(count, len(rows), 2))
        person = (exchange if paired else shuffle)(rng, Person(own, others))
        outcomes.append(_judge(person, hypotheses, paired=paired))
    return Outcomes(outcomes)


def simulate_power(size: float | None, count: int, how_many: int, *, paired: bool, seed: int = 0) -> Outcomes:
    """People with an effect of that size in one factor; with None in all factors, as selection assumes."""
    rng = np.random.default_rng([seed, count, paired, 1])
    outcomes = []
    for effects in (_draw_effects(rng, size) for _ in range(how_many)):
        person = Person(draw_cells(rng, count, effects), draw_others(rng, spread=SPREAD))
        outcomes.append(_judge(person, paired=paired, truth=effects @ MIXING))
    return Outcomes(outcomes)


def _draw_effects(rng: np.random.Generator, size: float | None) -> Effects:
    if size is None:
        return np.asarray(SPREAD * rng.normal(size=FACTORS))
    effects = np.zeros(FACTORS)
    effects[rng.integers(FACTORS)] = size * rng.choice((-1.0, 1.0))
    return effects


def is_paired(matrix: ScoreMatrix) -> bool:
    """Whether all rows of a matrix are choices."""
    return all(row.paired for row in matrix.rows)


def statements_without_gaps(matrix: ScoreMatrix) -> tuple[list[Hypothesis], Cells]:
    """The columns of a matrix without gaps, as hypotheses with an opposite, and their cells."""
    full = np.asarray(~np.isnan(matrix.values).any(axis=0))
    return two_poled([name for name, whole in zip(matrix.columns, full, strict=True) if whole]), matrix.values[:, full]
