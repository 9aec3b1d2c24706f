"""How often selection keeps something by chance, and how often it finds an effect, by the number of records.

The simulation is in ``tests/programs/selection/simulated_people.py``. Cells are simulated, or drawn from a matrix of
real ones with ``--matrix``: ``matrix-likelihood.json`` in the folder of a run. No model runs; it prints Markdown.
Run it from the repository's folder with: python -m benches.null_and_power
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from hyperalign.scores import ScoreMatrix
from tests.programs.selection.simulated_people import (
    OTHERS,
    Outcomes,
    is_paired,
    simulate_null,
    simulate_null_of_groups,
    simulate_null_of_matrix,
    simulate_power,
    statements_without_gaps,
)

COUNTS = (4, 8, 16, 32)
SIZES = (0.25, 0.5, 1.0)
TASTE = 1.5
"""What other people share where they share a taste, in the unit of a cell."""


def _simulated(pool: Executor, paired: bool, for_null: int, for_power: int) -> Iterator[str]:
    kind, chance = ("choices", "random choices") if paired else ("texts", "random people")
    null = [pool.submit(simulate_null, count, for_null, paired=paired) for count in COUNTS]
    grouped = {
        name: [pool.submit(simulate_null_of_groups, count, for_null, taste=taste) for count in COUNTS]
        for name, taste in (("random choices, four groups", 0.0), ("four groups, others share a taste", TASTE))
        if paired
    }
    power = {
        f"effect {size}" if size else "effects as assumed": [
            pool.submit(simulate_power, size, count, for_power, paired=paired) for count in COUNTS
        ]
        for size in (*SIZES, None)
    }
    yield from _head(f"something is kept, by {kind}", COUNTS)
    for name, each in ({chance: null} | grouped).items():
        yield _row(name, f"{for_null:,}", [_percent(*outcomes.result().share) for outcomes in each])
    for name, each in power.items():
        yield _row(name, for_power, [_percent(*outcomes.result().share) for outcomes in each])
    yield ""
    yield from _head(f"sign errors among what is kept, by {kind}", COUNTS)
    for name, each in power.items():
        yield _row(name, for_power, [_wrong(outcomes.result(), paired) for outcomes in each])


def _of_matrix(path: Path, for_null: int) -> Iterator[str]:
    matrix = ScoreMatrix.from_json(path.read_text(encoding="utf-8"))
    kind, chance = ("choices", "random choices") if is_paired(matrix) else ("texts", "random people")
    statements, cells = statements_without_gaps(matrix)
    counted = f"{len(statements)} statement{'s' if len(statements) > 1 else ''}"
    counts = [count for count in COUNTS if count + 2 * OTHERS <= len(cells)]
    yield from _head(f"something is kept, by {kind} ({len(cells)} rows, {counted})", counts)
    found = [simulate_null_of_matrix(matrix, count, for_null) for count in counts]
    yield _row(chance, f"{for_null:,}", [_percent(*outcomes.share) for outcomes in found])


def _head(title: str, counts: Sequence[int]) -> Iterator[str]:
    yield _row(title, "people", [str(count) for count in counts])
    yield "|---|---|" + "---|" * len(counts)


def _row(name: str, how_many: int | str, cells: Sequence[str]) -> str:
    return f"| {name} | {how_many} | " + " | ".join(cells) + " |"


def _percent(share: float, low: float, high: float) -> str:
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _wrong(outcomes: Outcomes, paired: bool) -> str:
    if not outcomes.kept:
        return ""
    share, low, high = outcomes.wrong
    stated = f", stated {100 * outcomes.stated:.0f} %" if paired else ""
    return f"{100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f}){stated}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", type=Path, help="a score matrix of a run; prints its null alone")
    parser.add_argument("--null", type=int, default=1_000, help="people of the null")
    parser.add_argument("--power", type=int, default=200, help="people of each effect")
    args = parser.parse_args()
    if args.matrix:
        print("\n".join(_of_matrix(args.matrix, args.null)))
        return
    with ProcessPoolExecutor() as pool:
        for paired in (True, False):
            print("\n".join(_simulated(pool, paired, args.null, args.power)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
