"""Whether a preference that the shipped space does not name is found: people of invented axes, eight choices each.

Everybody is fitted on their first choices twice: with the axes as dimensions of one's own, and with the shipped space
and what a model proposes. Then their last choices are judged by what was kept, and by what was kept of whoever prefers
the opposite. It prints Markdown. Run it from the
repository's folder with: python -m benches.invented_axes --model local:qwen2.5-coder-1.5b-instruct
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.scorers import open_scorer
from hyperalign.budget import Budget
from hyperalign.evals.metrics.choice import win
from hyperalign.evals.report.view import format_estimate
from hyperalign.evals.statistics import as_json, estimate
from hyperalign.evals.summary import Scores
from hyperalign.population import FolderPopulation
from hyperalign.profile import Profile
from hyperalign.programs.judge import Judge
from hyperalign.programs.personalizer import Personalizer
from hyperalign.records import Pair, Record
from hyperalign.space import Space, load_space

__all__ = ["Others", "opposite_of"]

AXES = Path("examples/axes")
LEARNED = 6
REFERENCE = 12


class Others:
    """People of the other axes: nobody who prefers the opposite, nor anybody's choices that are asked about."""

    name = "people of other axes"

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)

    def records(self, user: str) -> list[Record]:
        """Records of people whose axis is another."""
        return [record for record in self._records if _axis(record.user) != _axis(user)]


def opposite_of(user: str) -> str:
    """Who prefers the opposite."""
    axis, pole = user.rsplit("-", 1)
    return f"{axis}-{'no' if pole == 'yes' else 'yes'}"


def _axis(user: str) -> str:
    return user.rsplit("-", 1)[0]


def main() -> None:
    """Fit, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="local:qwen2.5-coder-1.5b-instruct")
    asked = parser.parse_args()
    budget = Budget()
    lm, scorer = connect(asked.model, budget=budget), open_scorer(asked.model, budget=budget)
    everybody: dict[str, list[Pair]] = {}
    for record in FolderPopulation(AXES / "choices.jsonl").records(""):
        assert isinstance(record, Pair)
        everybody.setdefault(record.user, []).append(record)
    learned: dict[str, list[Record]] = {user: list(theirs[:LEARNED]) for user, theirs in everybody.items()}
    others = Others([record for theirs in learned.values() for record in theirs])
    spaces: dict[str, Space | None] = {"own dimensions": load_space(AXES / "space.json"), "shipped space": None}
    print("| | axis kept, right way | wrong way | free statements kept | picks | the opposite's profile picks |")
    print("|---|---|---|---|---|---|")
    for name, space in spaces.items():
        fitter = Personalizer(lm, scorer=scorer, population=others, space=space, reference=REFERENCE, budget=budget)
        profiles = {user: fitter.fit(theirs) for user, theirs in learned.items()}
        _row(name, profiles, everybody, Judge(scorer))


def _row(name: str, profiles: dict[str, Profile], everybody: dict[str, list[Pair]], judge: Judge) -> None:
    right = wrong = free = 0
    own, theirs = Scores(), Scores()
    for user, profile in profiles.items():
        axis, pole = user.rsplit("-", 1)
        poles = load_space(AXES / "space.json").dimensions
        said = next((one.high if pole == "yes" else one.low) for one in poles if one.name == axis)
        kept = [h for h in profile.hypotheses if h.id == f"space-{axis}"]
        right += any(h.statement == said for h in kept)
        wrong += any(h.statement != said for h in kept)
        free += any(h.id.startswith("free-") for h in profile.hypotheses)
        for pair in everybody[user][LEARNED:]:
            for scores, judged_by in ((own, profile), (theirs, profiles[opposite_of(user)])):
                found = judge(prompt=pair.prompt, answers=[pair.chosen, pair.rejected], profile=judged_by)
                scores.setdefault(user, []).append(win(float(found.probabilities[0]), 0.5))
    shares = [format_estimate("pick", as_json(estimate(scores, share=True))) for scores in (own, theirs)]
    print(f"| {name} | {right} of {len(profiles)} | {wrong} | {free} | {shares[0]} | {shares[1]} |", flush=True)


if __name__ == "__main__":
    main()
