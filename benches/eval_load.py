"""What evals cost beside their calls: loading, deduplicating and splitting 100,000 pairs, and one case.

Prints figures; judges nothing. Run it with: python benches/eval_load.py
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hyperalign.evals.cases import Case, choose_users
from hyperalign.evals.conditions import Conditions, resolve_strategies, wrong_users
from hyperalign.evals.plan import TaskPopulation
from hyperalign.evals.runner import run_cases
from hyperalign.evals.solvers.choice import ChoiceSolver
from hyperalign.evals.tasks import load_task
from hyperalign.profile import Profile
from hyperalign.records import Pair
from hyperalign.scores import Message, TextScore

WORDS = tuple("abcdefghijklmnopqrstuvwxyz")


def write_pairs(path: Path, count: int) -> None:
    """Pairs of 1,000 people, a tenth of them repeated."""
    draw = random.Random(1)
    lines: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            if lines and number % 10 == 0:
                file.write(draw.choice(lines[-1000:]))
                continue
            said = [" ".join(draw.choices(WORDS, k=60)) for _ in range(2)]
            pair = {
                "user": f"person-{number % 1000}",
                "prompt": f"Question {number}?",
                "chosen": said[0],
                "rejected": said[1],
            }
            lines.append(json.dumps(pair) + "\n")
            file.write(lines[-1])


def load(count: int) -> None:
    """Load, deduplicate, draw, and take the others."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        write_pairs(path, count)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        cases = load_task(str(path)).cases()
        drawn = choose_users(cases, 100, 7)
        others = TaskPopulation(cases, drawn).records("nobody")
        seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{count:,} pairs: {len(cases):,} cases, {len(drawn):,} drawn, {len(others):,} records of others")
    print(f"  {seconds:.1f} s; peak memory {after / 1024:.0f} MB ({(after - before) / 1024:.0f} MB of it for this)")


class Instant:
    """A scorer that costs nothing."""

    name = "instant@1"

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        """Counts letters."""
        del context
        return [TextScore(-float(len(text)), len(text)) for text in texts]


def per_case(count: int) -> None:
    """CPU of our own code for cases whose scores cost nothing: all strategies and controls, to the line in the file."""
    pair = Pair(user="u", prompt="Why?", chosen="Because it is so, and always was.", rejected="No idea.")
    cases = [
        Case(f"c{n}", f"u{n % 50}", f"u{n % 50}", "Why?", (pair,), chosen="So it is.", rejected="No.", gold="Brief.")
        for n in range(count)
    ]
    profile = Profile(user="u", stated=["Brief and plain."])
    conditions = Conditions(
        resolve_strategies(["few-shot", "hypotheses", "verified"]),
        lambda records: profile,
        other_users=wrong_users(cases, 1),
    )
    work = ChoiceSolver(conditions, Instant())
    found = work(cases[0])
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        run_cases(cases, work, Path(folder) / "cases.jsonl", concurrency=8)
        spent = time.process_time() - started
    cpu = spent / count * 1000
    print(f"{count:,} cases of {len(found['scores'])} conditions: {cpu:.2f} ms of CPU a case over its calls")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--cases", type=int, default=2_000)
    asked = parser.parse_args()
    load(asked.pairs)
    per_case(asked.cases)
