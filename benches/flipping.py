"""Whether flipping one dimension of a profile flips the choices that turn on it, and leaves the others (AlignX's
controllability).

Pairs of P-Soups turn on warmth, pairs of ``examples/axes`` on another dimension each. Before every pair stands a
profile of two set leanings: warmth, and the axis of the pair (of a P-Soups pair, one of those axes in turn). There are
three ways to choose: what ``judge`` takes, which reads both answers for the two statements; the answer that the profile
before the prompt raises above the other, in nats per token over the prompt alone; and the same over the profile turned
around, in which what any word about manner does falls out. Then warmth is flipped. It prints Markdown.
Run it from the repository's folder with: python -m benches.flipping --data friendly_unfriendly.json --pairs 24
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperalign.backends.models.scorers import open_scorer
from hyperalign.budget import Budget
from hyperalign.edits import flip, set_leaning
from hyperalign.evals.conditions import inverted
from hyperalign.evals.metrics.choice import margin
from hyperalign.evals.report.view import format_estimate
from hyperalign.evals.statistics import as_json, estimate
from hyperalign.evals.tasks import load_task
from hyperalign.population import FolderPopulation
from hyperalign.profile import Profile
from hyperalign.programs.judge import Judge
from hyperalign.programs.strategies import PROFILE_WORDS, strategy
from hyperalign.records import Pair
from hyperalign.scores import Scorer
from hyperalign.space import Space, load_space

__all__ = ["Turning", "against_the_inverse", "by_judge", "by_likelihood"]

AXES = Path("examples/axes")
FLIPPED = "warm"


@dataclass(frozen=True)
class Turning:
    """Two answers, the dimension beside warmth that their profile has, and which way it leans."""

    prompt: str
    first: str
    second: str
    axis: str
    leaning: float


def by_judge(scorer: Scorer, case: Turning, profile: Profile) -> float:
    """How probable the first answer is, from -0.5 to 0.5, by the statements of the profile."""
    found = Judge(scorer)(prompt=case.prompt, answers=[case.first, case.second], profile=profile)
    return float(found.probabilities[0]) - 0.5


def by_likelihood(scorer: Scorer, case: Turning, profile: Profile) -> float:
    """How much more a profile raises the first answer than the second, in nats per token over the prompt alone."""
    return _apart(scorer, case, profile, "verified") - _apart(scorer, case, profile, "none")


def against_the_inverse(scorer: Scorer, case: Turning, profile: Profile) -> float:
    """How much more a profile raises the first answer than the second, in nats per token over its inverse."""
    return _apart(scorer, case, profile, "verified") - _apart(scorer, case, inverted(profile), "verified")


def _apart(scorer: Scorer, case: Turning, profile: Profile, name: str) -> float:
    turns = [turn for turn in strategy(name).condition(profile, case.prompt, PROFILE_WORDS) if turn["content"]]
    return margin(*scorer.score(turns, [case.first, case.second])).mean


WAYS: dict[str, Callable[[Scorer, Turning, Profile], float]] = {
    "by `judge`": by_judge,
    "by likelihood": by_likelihood,
    "against the profile turned around": against_the_inverse,
}


def _both(space: Space, case: Turning) -> Profile:
    profile = set_leaning(Profile(user="anybody"), FLIPPED, 1.0, space)
    return set_leaning(profile, case.axis, case.leaning, space)


def _on_warmth(data: Path, count: int, seed: int, axes: Sequence[str]) -> list[Turning]:
    """Distinct test pairs of the report part, drawn by the seed."""
    cases = {case.cluster: case for case in load_task("alignx", data=data).cases(seed=seed) if case.split == "test"}
    drawn = random.Random(seed).sample(sorted(cases), min(count, len(cases)))
    return [
        Turning(cases[name].prompt, cases[name].chosen, cases[name].rejected, axes[number % len(axes)], number // 4 % 2)
        for number, name in enumerate(drawn)
    ]


def _on_axes(count: int, seed: int) -> list[Turning]:
    pairs = [pair for pair in FolderPopulation(AXES / "choices.jsonl").records("") if isinstance(pair, Pair)]
    drawn = random.Random(seed).sample(pairs, min(count, len(pairs)))
    return [
        Turning(pair.prompt, pair.chosen, pair.rejected, axis, float(pole == "yes"))
        for pair in drawn
        for axis, pole in [pair.user.rsplit("-", 1)]
    ]


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="P-Soups pairs in AlignX's schema")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--model", default="local:qwen2.5-coder-1.5b-instruct")
    asked = parser.parse_args()
    own = load_space(AXES / "space.json")
    space = own.model_copy(update={"dimensions": [*load_space().dimensions, *own.dimensions]})
    scorer = open_scorer(asked.model, budget=Budget())
    parts = {
        "pairs that turn on warmth": _on_warmth(
            asked.data, asked.pairs, asked.seed, [dimension.name for dimension in own.dimensions]
        ),
        "pairs that turn on another dimension": _on_axes(asked.pairs, asked.seed),
    }
    print(f"| choices that changed when warmth was flipped | {' | '.join(WAYS)} |")
    print("|---" * (1 + len(WAYS)) + "|")
    for name, cases in parts.items():
        shares = [_changed(scorer, cases, way, space) for way in WAYS.values()]
        print(f"| {len(cases)} {name} | {' | '.join(shares)} |", flush=True)


def _changed(
    scorer: Scorer, cases: Sequence[Turning], way: Callable[[Scorer, Turning, Profile], float], space: Space
) -> str:
    changed: dict[str, list[float]] = {}
    for number, case in enumerate(cases):
        profile = _both(space, case)
        before, after = way(scorer, case, profile), way(scorer, case, flip(profile, FLIPPED, space))
        changed[str(number)] = [float((before > 0) != (after > 0))]
    return format_estimate("accuracy", as_json(estimate(changed, share=True)))


if __name__ == "__main__":
    main()
