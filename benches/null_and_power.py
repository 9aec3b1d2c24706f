"""How often chance is believed and how often a person is understood, by how many records they gave.

**Null.** Choices whose chosen and rejected were exchanged by tossed coins, and texts dealt anew to the person and to
other people, say nothing: what is kept of them is chance. **Power.** People who lean one way by a stated size: how many
have something kept, and how much of it has the wrong sign. Cells are simulated, or dealt from a matrix of real ones:
``matrix-likelihood.json`` in the folder of a run, with ``--matrix``. No model runs; it prints Markdown. Run it from the
repository's folder with: python -m benches.null_and_power
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hyperalign.evals.statistics import estimate
from hyperalign.profile import Hypothesis
from hyperalign.programs.selection import Rules, select
from hyperalign.programs.selection.effects import Prior
from hyperalign.scores import ScoreMatrix

from .simulated import (
    FACTORS,
    MIXING,
    SPACE,
    USER,
    Cells,
    Leaning,
    Person,
    as_matrix,
    coins,
    dealt,
    exchanged,
    groups_of_coins,
    people,
    read,
)
from .simulated import statements as two_poled

__all__ = ["Found", "null", "null_of_groups", "power", "real_null"]

COUNTS = (4, 8, 16, 32)
SIZES = (0.25, 0.5, 1.0)
OTHERS = 6
"""Other people, with two records each."""
TASTE = 1.5
"""What other people share where they share a taste, in the unit of a cell."""
SPREAD = Prior().between ** 0.5
"""How far people differ in each of the five things, as selection takes it."""

# A tenth of the relabelings that selection takes by default: p is coarser, and no other thing changes.
RULES = Rules(permutations=999)


@dataclass(frozen=True)
class Judged:
    """What was kept of one person.

    Attributes:
        said: of each statement, the probability of a wrong sign that its test states.
        wrong: whether its sign is wrong; empty where nobody knows.
    """

    said: list[float]
    wrong: list[bool]


@dataclass(frozen=True)
class Found:
    """What was kept of some people."""

    people: list[Judged]

    @property
    def kept(self) -> int:
        """Of how many people something was kept."""
        return sum(bool(judged.said) for judged in self.people)

    @property
    def share(self) -> tuple[float, float, float]:
        """Of what share of people something was kept, with its 95 % interval (Clopper and Pearson 1934)."""
        interval = stats.binomtest(self.kept, len(self.people)).proportion_ci(method="exact")
        return self.kept / len(self.people), float(interval.low), float(interval.high)

    @property
    def said(self) -> float:
        """Mean probability of a wrong sign, as the tests state it; each person counts once."""
        return float(np.mean([np.mean(judged.said) for judged in self.people if judged.said]))

    @property
    def wrong(self) -> tuple[float, float, float]:
        """Share of wrong signs with its 95 % interval over people; each person counts once."""
        by_person = {
            str(at): [float(wrong) for wrong in each.wrong] for at, each in enumerate(self.people) if each.wrong
        }
        of = estimate(by_person, share=True)
        return of.mean, of.low, of.high


def judged(
    person: Person, hypotheses: Sequence[Hypothesis] = SPACE, *, paired: bool, truth: NDArray[np.float64] | None = None
) -> Judged:
    """What selection keeps of a person; ``truth`` has the sign of each statement."""
    kept = select(hypotheses, [as_matrix(person, hypotheses, paired=paired)], USER, RULES).kept
    said = _said(kept)
    if truth is None:
        return Judged(said, [])
    high = {hypothesis.id: (hypothesis.statement, at) for at, hypothesis in enumerate(hypotheses)}
    wrong = [(h.statement == high[h.id][0]) != bool(truth[high[h.id][1]] > 0) for h in kept]
    return Judged(said, wrong)


def null(count: int, how_many: int, *, paired: bool, seed: int = 0) -> Found:
    """People with strong tastes, of whose records coins (choices) or a lot (texts) made nothing."""
    rng = np.random.default_rng([seed, count, paired])
    chance = coins if paired else exchanged
    drawn = (Person(read(rng, count, rng.normal(size=FACTORS)), people(rng, OTHERS)) for _ in range(how_many))
    return Found([judged(chance(rng, person), paired=paired) for person in drawn])


def null_of_groups(count: int, how_many: int, *, taste: float = 0.0, seed: int = 0) -> Found:
    """Choices by coins that four groups of statements see, as free ones and measures stand beside the space."""
    rng = np.random.default_rng([seed, count, 2])
    drawn = (groups_of_coins(rng, count, taste=taste) for _ in range(how_many))
    return Found([Judged(_said(select(*seen, USER, RULES).kept), []) for seen in drawn])


def real_null(matrix: ScoreMatrix, count: int, how_many: int, *, seed: int = 0) -> Found:
    """The same on rows of a matrix, dealt to a person and other people."""
    rng = np.random.default_rng([seed, count])
    hypotheses, cells = _without_gaps(matrix)
    paired = _paired(matrix)
    chance = coins if paired else exchanged
    drawn = (dealt(rng, cells, count, others=OTHERS) for _ in range(how_many))
    return Found([judged(chance(rng, person), hypotheses, paired=paired) for person in drawn])


def power(size: float | None, count: int, how_many: int, *, paired: bool, seed: int = 0) -> Found:
    """People who lean by that much in one of the five things; with None in all, as selection takes people to."""
    rng = np.random.default_rng([seed, count, paired, 1])
    found = []
    for way in (_way(rng, size) for _ in range(how_many)):
        person = Person(read(rng, count, way), people(rng, OTHERS, spread=SPREAD))
        found.append(judged(person, paired=paired, truth=way @ MIXING))
    return Found(found)


def _said(kept: Sequence[Hypothesis]) -> list[float]:
    return [hypothesis.test.p for hypothesis in kept if hypothesis.test]


def _way(rng: np.random.Generator, size: float | None) -> Leaning:
    if size is None:
        return np.asarray(SPREAD * rng.normal(size=FACTORS))
    way = np.zeros(FACTORS)
    way[rng.integers(FACTORS)] = size * rng.choice((-1.0, 1.0))
    return way


def _paired(matrix: ScoreMatrix) -> bool:
    return all(row.paired for row in matrix.rows)


def _without_gaps(matrix: ScoreMatrix) -> tuple[list[Hypothesis], Cells]:
    full = np.asarray(~np.isnan(matrix.values).any(axis=0))
    return two_poled([name for name, whole in zip(matrix.columns, full, strict=True) if whole]), matrix.values[:, full]


def _simulated(pool: Executor, paired: bool, for_null: int, for_power: int) -> Iterator[str]:
    kind, chance = ("choices", "tossed coins") if paired else ("texts", "dealt anew")
    nothing = [pool.submit(null, count, for_null, paired=paired) for count in COUNTS]
    grouped = {
        name: [pool.submit(null_of_groups, count, for_null, taste=taste) for count in COUNTS]
        for name, taste in (("tossed coins, four groups", 0.0), ("four groups, others share a taste", TASTE))
        if paired
    }
    leaning = {
        f"lean by {size}" if size else "lean as people do": [
            pool.submit(power, size, count, for_power, paired=paired) for count in COUNTS
        ]
        for size in (*SIZES, None)
    }
    yield from _head(f"something is kept, by {kind}", COUNTS)
    for name, each in ({chance: nothing} | grouped).items():
        yield _row(name, f"{for_null:,}", [_percent(*found.result().share) for found in each])
    for name, each in leaning.items():
        yield _row(name, for_power, [_percent(*found.result().share) for found in each])
    yield ""
    yield from _head(f"wrong signs among what is kept, by {kind}", COUNTS)
    for name, each in leaning.items():
        yield _row(name, for_power, [_wrong(found.result(), paired) for found in each])


def _of_matrix(path: Path, for_null: int) -> Iterator[str]:
    matrix = ScoreMatrix.from_json(path.read_text(encoding="utf-8"))
    kind, chance = ("choices", "tossed coins") if _paired(matrix) else ("texts", "dealt anew")
    statements, cells = _without_gaps(matrix)
    counted = f"{len(statements)} statement{'s' if len(statements) > 1 else ''}"
    counts = [count for count in COUNTS if count + 2 * OTHERS <= len(cells)]
    yield from _head(f"something is kept, by {kind} ({len(cells)} rows, {counted})", counts)
    found = [real_null(matrix, count, for_null) for count in counts]
    yield _row(chance, f"{for_null:,}", [_percent(*each.share) for each in found])


def _head(title: str, counts: Sequence[int]) -> Iterator[str]:
    yield _row(title, "people", [str(count) for count in counts])
    yield "|---|---|" + "---|" * len(counts)


def _row(name: str, how_many: int | str, cells: Sequence[str]) -> str:
    return f"| {name} | {how_many} | " + " | ".join(cells) + " |"


def _percent(share: float, low: float, high: float) -> str:
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _wrong(found: Found, paired: bool) -> str:
    if not found.kept:
        return ""
    share, low, high = found.wrong
    stated = f", stated {100 * found.said:.0f} %" if paired else ""
    return f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f}){stated}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", type=Path, help="a score matrix of a run, of which the null alone is printed")
    parser.add_argument("--null", type=int, default=1_000, help="people by chance")
    parser.add_argument("--power", type=int, default=200, help="people who lean, of each size")
    args = parser.parse_args()
    if args.matrix:
        print("\n".join(_of_matrix(args.matrix, args.null)))
        return
    with ProcessPoolExecutor() as pool:
        for paired in (True, False):
            print("\n".join(_simulated(pool, paired, args.null, args.power)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
