"""Statements that a person with a trait would or would not make (Perez et al. 2022, model-written evals).

A person here is a trait and some of its statements: each record and each case pairs a statement
that the person would make with one that they would not. Statements of the records and of the cases
are disjoint, and people of one trait share none either. A case is won where the person agrees more with the one than
with the other. The format is that of the published ``<trait>.jsonl`` files.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hyperalign.errors import InputError
from hyperalign.records import Pair

from ..cases import Case, CaseKind, case_id
from .files import checked, json_lines

__all__ = ["GOLD", "Traits"]

PROMPT = "Say something about yourself."
# The published question; which of two statements is likelier as a text says more of their words than of the person.
QUESTION = 'Is the following statement something you would say? Answer Yes or No.\n"{text}"'

# What each trait comes down to, in our own words; written before any run.
GOLD: Mapping[str, str] = {
    "agreeableness": "Kind, trusting and eager to get along with others.",
    "desire-for-acquiring-wealth": "Wants to become rich.",
    "extraversion": "Sociable, talkative and happiest among people.",
    "has-strong-aesthetic-preferences": "Cares strongly about beauty and has firm tastes.",
    "interest-in-art": "Loves art.",
    "interest-in-music": "Loves music.",
    "interest-in-science": "Fascinated by science.",
    "interest-in-sports": "Loves sports.",
    "politically-conservative": "Politically conservative.",
    "politically-liberal": "Politically liberal.",
    "risk-averse": "Avoids risk and prefers what is certain.",
    "risk-neutral": "Weighs risks by their expected value alone.",
    "stands-its-ground": "Sticks to an opinion under pressure.",
    "subscribes-to-Atheism": "Does not believe in any god.",
    "subscribes-to-Christianity": "A believing Christian.",
    "subscribes-to-deontology": "Follows moral rules whatever the consequences.",
    "subscribes-to-virtue-ethics": "Judges acts by the character they show.",
    "willingness-to-defer-to-experts": "Trusts experts over their own judgment.",
}


def gold(trait: str) -> str:
    """What a trait comes down to; where we say nothing of it, its published name."""
    said = trait.replace("-", " ").replace("_", " ").strip()
    return GOLD.get(trait, f"{said[:1].upper()}{said[1:]}.")


class _Statement(BaseModel):
    model_config = ConfigDict(extra="ignore")

    statement: str
    answer_matching_behavior: str
    label_confidence: float = 1.0


class Traits:
    """People with a trait, and what they would say.

    Args:
        data: the folder of ``<trait>.jsonl`` files; a trait of which ``GOLD`` says nothing is told by the file's name.
        people: how many people a trait.
        records: how many pairs of statements a profile may be made from.
        cases_each: how many cases a person.
        confidence: statements labeled with less are left out.
    """

    name = "traits"
    kind: CaseKind = "choice"
    unit = "trait"
    data = "the folder of <trait>.jsonl files of the model-written evals"

    def __init__(
        self, data: Path, *, people: int = 2, records: int = 8, cases_each: int = 8, confidence: float = 0.8
    ) -> None:
        self._data = data
        self._people = people
        self._records = records
        self._cases_each = cases_each
        self._confidence = confidence

    def cases(self, *, seed: int = 0) -> list[Case]:
        """Cases of all people of all traits."""
        return list(self._all(seed))

    def note(self) -> str:
        """Who the people are."""
        return "The statements are model-written: a person here is a trait, and figures are over traits."

    def _all(self, seed: int) -> Iterator[Case]:
        files = sorted(self._data.glob("*.jsonl"))
        if not files:
            raise InputError(
                f"{self._data}: there is no file of a trait in this folder.",
                remedy="Give the folder that holds agreeableness.jsonl and its like with --data.",
            )
        each = self._records + self._cases_each
        for file in files:
            draw = random.Random(f"{seed}/{file.stem}")
            would, would_not = self._statements(file)
            draw.shuffle(would)
            draw.shuffle(would_not)
            pairs = list(zip(would, would_not, strict=False))
            for number in range(min(self._people, len(pairs) // each)):
                yield from self._person(file.stem, number, pairs[number * each : (number + 1) * each])

    def _person(self, trait: str, number: int, pairs: list[tuple[str, str]]) -> Iterator[Case]:
        user = f"{trait}-{number + 1}"
        records = tuple(
            Pair(user=user, prompt=PROMPT, chosen=would, rejected=would_not)
            for would, would_not in pairs[: self._records]
        )
        for would, would_not in pairs[self._records :]:
            yield Case(
                id=case_id(user, would, would_not),
                user=user,
                cluster=trait,
                prompt=PROMPT,
                records=records,
                chosen=would,
                rejected=would_not,
                gold=gold(trait),
                agreement=QUESTION,
                persona=trait,
            )

    def _statements(self, file: Path) -> tuple[list[str], list[str]]:
        """Statements that people with the trait would make, and would not; each once."""
        sides: dict[bool, dict[str, None]] = {True: {}, False: {}}
        for where, line in json_lines(file):
            read = checked(_Statement, line, where)
            if read.label_confidence >= self._confidence:
                would = read.answer_matching_behavior.strip().lower() == "yes"
                sides[would].setdefault(read.statement.strip(), None)
        return list(sides[True]), [text for text in sides[False] if text not in sides[True]]
