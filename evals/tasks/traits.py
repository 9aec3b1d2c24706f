"""Statements that a person with a trait would or would not make (Perez et al. 2022, model-written evals).

A person is a trait and some of its statements. Each record and case pairs a statement that the person would make with
one that they would not; no statement is used twice. The format is that of the published ``<trait>.jsonl`` files.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from hyperalign.errors import InputError
from hyperalign.records import Pair

from ..cases import Case, CaseKind, case_id
from .files import read_json_lines, validate

__all__ = ["GOLD", "Traits"]

PROMPT = "Say something about yourself."
# The published question. The likelihood of the statements themselves depends more on their words than on the person.
QUESTION = 'Is the following statement something you would say? Answer Yes or No.\n"{text}"'

# Descriptions of traits in our own words, written before any run.
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
    """The description of a trait; of an unknown one, its published name."""
    said = trait.replace("-", " ").replace("_", " ").strip()
    return GOLD.get(trait, f"{said[:1].upper()}{said[1:]}.")


class _Statement(BaseModel):
    statement: str
    answer_matching_behavior: str
    label_confidence: float = 1.0


class Traits:
    """Which of two statements a person with a trait agrees with.

    Args:
        data: the folder of ``<trait>.jsonl`` files.
        people: of each trait.
        records: how many pairs of statements a profile may be fitted on.
        cases_each: cases of each person.
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
        """What a person is here."""
        return "The statements are model-written: a person here is a trait, and figures are over traits."

    def _all(self, seed: int) -> Iterator[Case]:
        each = self._records + self._cases_each
        for file in self._files():
            pairs = self._pairs(file, seed)
            for number in range(min(self._people, len(pairs) // each)):
                yield from self._person(file.stem, number, pairs[number * each : (number + 1) * each])

    def _files(self) -> list[Path]:
        files = sorted(self._data.glob("*.jsonl"))
        if not files:
            raise InputError(
                f"{self._data}: this folder has no .jsonl file of a trait.",
                remedy="Give the folder of agreeableness.jsonl and the like with --data.",
            )
        return files

    def _pairs(self, file: Path, seed: int) -> list[tuple[str, str]]:
        """Statements that people with the trait would and would not make, paired at random."""
        draw = random.Random(f"{seed}/{file.stem}")
        would, would_not = self._statements(file)
        draw.shuffle(would)
        draw.shuffle(would_not)
        return list(zip(would, would_not, strict=False))

    def _person(self, trait: str, number: int, pairs: list[tuple[str, str]]) -> Iterator[Case]:
        user = f"{trait}-{number + 1}"
        # Without the prompt that all have: choices about one question would count once.
        records = tuple(
            Pair(user=user, prompt="", chosen=would, rejected=would_not) for would, would_not in pairs[: self._records]
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
        """Distinct statements that people with the trait would make, and that they would not."""
        sides: dict[bool, dict[str, None]] = {True: {}, False: {}}
        for where, line in read_json_lines(file):
            read = validate(_Statement, line, where)
            if read.label_confidence >= self._confidence:
                would = read.answer_matching_behavior.strip().lower() == "yes"
                sides[would].setdefault(read.statement.strip(), None)
        return list(sides[True]), [text for text in sides[False] if text not in sides[True]]
