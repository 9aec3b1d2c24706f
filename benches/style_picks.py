"""How often measured style alone picks a writer's own answer, and how often another user's does (SQuALITY, no model).

It is the part of what a tested profile picks (``hyperalign.evals.solvers.choice``) that needs no model, in seconds.
It prints Markdown. Run it from the repository's folder with: python -m benches.style_picks --data squality/v1-3/txt
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from hyperalign.evals.cases import Case
from hyperalign.evals.controls import wrong_users
from hyperalign.evals.metrics.choice import win
from hyperalign.evals.report.view import format_difference, format_estimate
from hyperalign.evals.statistics import as_json, difference, estimate, sign_flip_p
from hyperalign.evals.summary import Scores
from hyperalign.evals.tasks import load_task
from hyperalign.records import Sample
from hyperalign.style import estimate as measured
from hyperalign.style import likeness

__all__ = ["count_picks"]


def count_picks(cases: Sequence[Case], other_users: Mapping[str, Case]) -> tuple[Scores, Scores, Scores]:
    """By writer and case: whether their own style picks their answer, whether another's does, and which one does more.

    Args:
        cases: of people who wrote something.
        strangers: for each case id, somebody else's case.
    """
    own, others, above = Scores(), Scores(), Scores()

    style_of = cache(measured)

    def nats(case: Case, person: Case) -> float:
        style = style_of(tuple(record.text for record in person.records if isinstance(record, Sample)))
        return likeness(case.chosen, style) - likeness(case.rejected, style)

    for case in cases:
        mine, theirs = nats(case, case), nats(case, other_users[case.id])
        own.setdefault(case.cluster, []).append(win(mine, 0.0))
        others.setdefault(case.cluster, []).append(win(theirs, 0.0))
        above.setdefault(case.cluster, []).append(win(mine, theirs))
    return own, others, above


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of SQuALITY's .jsonl files")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--seed", type=int, default=11)
    asked = parser.parse_args()
    cases = [
        case for case in load_task("squality", data=asked.data).cases(seed=asked.seed) if case.split == asked.split
    ]
    own, others, above = count_picks(cases, wrong_users(cases, asked.seed))
    print(f"| measured style alone, {len(own)} writers, {len(cases)} cases | |\n|---|---|")
    print(f"| picks | {format_estimate('pick', as_json(estimate(own, share=True)))} |")
    print(f"| wrong-user | {format_estimate('pick', as_json(estimate(others, share=True)))} |")
    print(f"| own over other, picks | {format_estimate('pick', as_json(estimate(above, share=True)))} |")
    change = format_difference("pick", as_json(difference(own, others)))
    print(f"| picks minus wrong-user | {change}, p = {sign_flip_p(own, others):.3f} |")


if __name__ == "__main__":
    main()
