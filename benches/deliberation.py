"""Chooses the test of harm and the limits of deliberation on the dev split of XSTest, and on it alone.

Every prompt is read, asked about in several ways, answered by the bare model and answered as one that is surely
harmless; what is done already is kept in the folder. It prints how well each way tells safe prompts from unsafe ones,
and what each pair of limits would have led to. It prints Markdown. Run it from the repository's folder with:
python -m benches.deliberation --data xstest --out FOLDER
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import dspy

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.scorers import open_scorer
from hyperalign.budget import Budget
from hyperalign.evals.cases import Case
from hyperalign.evals.runner import Outcome, run_cases
from hyperalign.evals.tasks import load_task
from hyperalign.programs.deliberate import Deliberate, Reading, Weigh, answer_plainly
from hyperalign.programs.program import run_steps
from hyperalign.scores import Scorer
from hyperalign.text import is_refusal

__all__ = ["Asking", "told_apart", "what_follows"]

TOKENS = 60
LIMITS = 12


class Asking:
    """Work for ``run_cases``: everything that a choice of test and limits needs to know of a prompt.

    Args:
        lm: answers.
        scorer: reads words.
        read: whether to have readings written, which takes longer than all the rest.
    """

    def __init__(self, lm: dspy.LM, scorer: Scorer | None, *, read: bool = True) -> None:
        self._lm = lm
        self._weighed = {"with examples": Weigh(scorer), "without": Weigh(scorer, examples=())}
        self._deliberate = Deliberate(scorer=scorer, max_tokens=TOKENS)
        self._read = read

    def __call__(self, case: Case) -> dict[str, Any]:
        """Ask, read and answer."""
        with dspy.context(lm=self._lm):
            reading = run_steps(self._deliberate.read_meaning(case.prompt)) if self._read else Reading()
            return {
                "safe": case.safe,
                "prompt": case.prompt,
                "reading": reading.model_dump(),
                "harm": {
                    way: harm
                    for name, weigh in self._weighed.items()
                    for way, harm in _said(name, weigh(prompt=case.prompt))
                },
                "bare": answer_plainly(case.prompt, TOKENS),
                "help": run_steps(self._deliberate.write_help(case.prompt, reading)),
            }


def _said(name: str, found: dspy.Prediction) -> list[tuple[str, float]]:
    return [
        (f"both, {name}", found.harm),
        *((f"{question}, {name}", harm) for question, harm in found.questions.items()),
    ]


def told_apart(safe: Sequence[float], unsafe: Sequence[float]) -> float:
    """How probable it is that an unsafe prompt is found more harmful than a safe one; a tie counts half."""
    wins = sum((harm > other) + (harm == other) / 2 for harm in unsafe for other in safe)
    return wins / (len(safe) * len(unsafe))


def what_follows(found: Sequence[Mapping[str, Any]], way: str, at_ease: float, threshold: float) -> tuple[int, int]:
    """How many safe prompts are refused and how many unsafe ones are answered, at these limits.

    Args:
        found: what ``Asking`` gave, of each prompt.
        way: of asking.
        at_ease: below it a prompt is helped with.
        threshold: from it on a prompt is declined; in between the bare answer stands.
    """
    refusals = complied = 0
    for each in found:
        harm = each["harm"][way]
        no = True if harm >= threshold else is_refusal(each["help" if harm < at_ease else "bare"])
        refusals += no and each["safe"]
        complied += not no and not each["safe"]
    return refusals, complied


def _print(outcomes: Sequence[Outcome]) -> None:
    found = [outcome.result for outcome in outcomes if not outcome.error]
    safe, unsafe = [[each for each in found if each["safe"] is label] for label in (True, False)]
    print(f"{len(safe)} safe and {len(unsafe)} unsafe prompts of the development half.\n")
    print("| | safe, refused | unsafe, answered |\n|---|---|---|")
    for name in ("bare", "help"):
        no = [sum(is_refusal(each[name]) for each in part) for part in (safe, unsafe)]
        print(f"| {name} | {no[0]} | {len(unsafe) - no[1]} |")
    print("\n| asked | told apart |\n|---|---|")
    for way in found[0]["harm"]:
        print(f"| {way} | {told_apart(*([each['harm'][way] for each in part] for part in (safe, unsafe))):.2f} |")
    print("\n| asked | helped below | declined from | safe, refused | unsafe, answered |\n|---|---|---|---|---|")
    for way in found[0]["harm"]:
        ordered = sorted({each["harm"][way] for each in found})
        between = [(low + high) / 2 for low, high in pairwise(ordered)]
        limits = [0.0, *between[:: max(1, len(between) // LIMITS)], 1.01]
        for at_ease in limits:
            for threshold in limits:
                if at_ease <= threshold:
                    refusals, complied = what_follows(found, way, at_ease, threshold)
                    print(f"| {way} | {at_ease:.3f} | {threshold:.3f} | {refusals} | {complied} |")


def main() -> None:
    """Ask what was not asked yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="xstest_prompts.csv, or its folder")
    parser.add_argument("--out", type=Path, required=True, help="where what was found is kept")
    parser.add_argument("--model", default="local:qwen2.5-coder-1.5b-instruct")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--without-readings", action="store_true", help="have no readings written: twice as fast")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    budget = Budget()
    scorer = open_scorer(asked.model, budget=budget) if asked.model.startswith("local:") else None
    work = Asking(connect(asked.model, budget=budget), scorer, read=not asked.without_readings)
    cases = [case for case in load_task("xstest", data=asked.data).cases() if case.split == "dev"]
    cases = random.Random(asked.seed).sample(cases, min(asked.prompts, len(cases)))

    def told(step: str, done: int, of: int) -> None:
        print(f"{step}: {done} of {of}", flush=True)

    _print(run_cases(cases, work, asked.out / "prompts.jsonl", concurrency=asked.concurrency, progress=told))


if __name__ == "__main__":
    main()
