"""Measures a program of your own on choices of real people, beside the controls that it must beat.

The program needs no model: of two answers it takes the one that shares more words with what the person chose before.
Run it on a file of pairs: python examples/measure_a_program.py my_pairs.jsonl
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import dspy

import hyperalign as ha
from hyperalign.evals import Result, evaluate, load_task, write_report


class SharedWords(dspy.Module):
    """Names the answer, A or B, that shares more words with the person's earlier choices."""

    def forward(self, prompt: str, records: Sequence[ha.Pair]) -> dspy.Prediction:
        """Choose.

        Args:
            prompt: the question with both answers, each between tags of its letter.
            records: what the person chose before.

        Returns:
            ``answer``, a letter.
        """
        known = {word for record in records for word in words(record.chosen)}
        shared = {letter: len(known & words(part(prompt, letter))) for letter in "AB"}
        return dspy.Prediction(answer=max("AB", key=lambda letter: shared[letter]))


def words(text: str) -> set[str]:
    """The words of a text, each once."""
    return set(re.findall(r"\w+", text.lower()))


def part(prompt: str, letter: str) -> str:
    """What stands between a letter's tags."""
    found = re.search(rf"<{letter}>(.*?)</{letter}>", prompt, re.DOTALL)
    return found[1] if found else ""


def measure(path: str) -> Result:
    """Run the program on everybody in a file, and write the report.

    Args:
        path: a JSONL file of pairs, at least four of each of at least two people.
    """
    result = evaluate(SharedWords(), load_task(path), seed=7)
    write_report(result.folder)
    return result


if __name__ == "__main__":
    measured = measure(sys.argv[1])
    for condition, figures in measured.summary["conditions"].items():
        print(f"{condition:<18} " + ", ".join(f"{name} {found['mean']:.0%}" for name, found in figures.items()))
    print(f"{measured.folder / 'report.html'}")
