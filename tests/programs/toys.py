"""Toys for tests of programs: a scorer by word overlap, a fixed population, records, and a space of three."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hyperalign.profile import Hypothesis
from hyperalign.records import Record, Sample
from hyperalign.scores import Message, TextScore
from hyperalign.space import Dimension, Space

__all__ = ["OTHERS", "SPACE", "FixedPopulation", "OverlapScorer", "jam_sample", "make_hypothesis"]

SPACE = Space(
    name="three",
    dimensions=[
        Dimension(name="jam", aspect="style", source="test", high="Marmalade jam toast.", low="Engine oil smoke."),
        Dimension(name="rain", aspect="personality", source="test", high="Umbrella puddle.", low="Desert camel."),
        Dimension(name="ship", aspect="communication", source="test", high="Anchor sail.", low="Carriage horse."),
    ],
)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class OverlapScorer:
    """Finds a text likelier the more of its words stand in the context, or in the first of two texts."""

    name = "overlap@1"

    def __init__(self) -> None:
        self.asked: list[tuple[list[Message], list[str]]] = []

    def score(self, context: Sequence[Message], texts: Sequence[str]) -> list[TextScore]:
        self.asked.append((list(context), list(texts)))
        said = " ".join(message["content"] for message in context)
        compared = re.search(r"<first>(.*)</first>", said, re.DOTALL)
        known = set(words(compared[1] if compared else said))
        return [
            TextScore(sum(-1.0 if word in known else -3.0 for word in words(text)), len(words(text))) for text in texts
        ]


class FixedPopulation:
    """A population of given records."""

    name = "a few people"

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)

    def records(self, user: str) -> list[Record]:
        return [record for record in self._records if record.user != user]


def jam_sample(number: int, user: str = "ada") -> Sample:
    said = ("Toast and jam again", "My marmalade has set", "More jam, more toast", "The marmalade was bitter")[
        number % 4
    ]
    return Sample(user=user, id=f"{user}-{number}", text=f"{said}, she wrote on day {number}. It was a quiet morning.")


OTHERS: list[Sample] = [
    Sample(
        user=f"other{number % 2}",
        id=f"o{number}",
        text=f"The engine lost oil near mile {number}. There was smoke, and then a long walk home.",
    )
    for number in range(6)
]


def make_hypothesis(name: str, source: str = "inferred", opposite: str = "Is not.") -> Hypothesis:
    return Hypothesis(id=name, statement=f"Is {name}.", opposite=opposite, aspect="style", source=source)
