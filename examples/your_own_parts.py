"""A test, a strategy and a metric of your own, added from outside the package, and tried without any model.

Each fits a seam by its shape alone: nothing is registered, and no class of hyperalign is inherited.
Run it with: python examples/your_own_parts.py
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import hyperalign as ha
from hyperalign.population import choose_reference_records
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.hypothesis_tests import Done, fill
from hyperalign.records import Record, own_text
from hyperalign.scores import Message

MARKS = {"asks": r"\?", "asides": r"\(", "figures": r"\d+", "winding": r";"}
HYPOTHESES = [
    Hypothesis(id="asks", statement="Asks questions.", opposite="Asks nothing.", aspect="communication"),
    Hypothesis(id="asides", statement="Adds asides in parentheses.", opposite="Adds no asides.", aspect="style"),
    Hypothesis(id="figures", statement="Gives figures.", opposite="Gives no figures.", aspect="communication"),
    Hypothesis(id="winding", statement="Joins clauses with semicolons.", opposite="Uses full stops.", aspect="style"),
]


def per_100_words(mark: str, text: str) -> float:
    """How often a mark stands in a text, per 100 words."""
    return 100 * len(re.findall(MARKS[mark], text)) / max(1, len(text.split()))


class MarksTest:
    """A test: does a record show what a hypothesis says? It gives one cell for each record and hypothesis."""

    name = "marks"
    scorer = "measured"

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Only hypotheses that a mark stands for."""
        return hypothesis.id in MARKS

    def cells(
        self, records: Sequence[Record], hypotheses: Sequence[Hypothesis], wanted: NDArray[np.bool_], done: Done
    ) -> NDArray[np.float64]:
        """Shape (records, hypotheses): marks per 100 words; NaN where a hypothesis came from that record."""
        counts = [[per_100_words(h.id, own_text(record)) for h in hypotheses] for record in records]
        done(len(records))
        return np.where(wanted, np.array(counts), np.nan)


class Afterword:
    """A strategy: what is known of the person goes after the prompt, as the last thing the model reads."""

    name = "afterword"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """One turn: the prompt, then as many kept statements as fit into the words allowed."""
        known = " ".join(h.statement for h in profile.hypotheses).split()[:max_words]
        note = f"\n\nWrite as somebody would of whom this is true: {' '.join(known)}" if known else ""
        return [{"role": "user", "content": prompt + note}]


def marks_off(answer: str, texts: Sequence[str]) -> float:
    """A metric: how far an answer's marks per 100 words are from those of some texts, on average; 0 is best."""
    usual = {mark: float(np.mean([per_100_words(mark, text) for text in texts])) for mark in MARKS}
    return float(np.mean([abs(per_100_words(mark, answer) - usual[mark]) for mark in MARKS]))


def main() -> None:
    """Try the test on the three example people, and show what the strategy makes of each profile."""
    population = ha.ShippedPopulation()
    for user in sorted({record.user for record in population.records("")}):
        records = [record for record in population.records("") if record.user == user]
        others = choose_reference_records(population, user, records, count=16)
        matrix = fill(MarksTest(), HYPOTHESES, [*records, *others], made_from={})
        profile = Profile(user=user, hypotheses=ha.select(HYPOTHESES, [matrix], user).kept)
        print(f"{user}: {[h.statement for h in profile.hypotheses]}")
        print(f"  sent: {Afterword().condition(profile, 'Decline the invitation.', 40)[-1]['content']!r}")
        print(f"  own text: {marks_off(own_text(records[0]), [own_text(r) for r in records[1:]]):.2f} off")
        print(f"  another's: {marks_off(own_text(others[0]), [own_text(r) for r in records[1:]]):.2f} off")


if __name__ == "__main__":
    main()
