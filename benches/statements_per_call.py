"""How well a model judges several statements in one call, beside one statement a call, by the test by choice.

People of the development parts of P-Soups (friendly or unfriendly) and of the traits are read by the same statements,
in calls of several sizes. A statement is true or false of a person by construction where the data say so: the person's
own gold statement, and its opposite. Every number has its interval over people. The last table holds the selection to
its promise: rows are dealt to a person and to others, chosen and rejected are exchanged at random, and what is kept is
kept by chance. Cells are kept in a file, so that a run that was stopped goes on. It prints Markdown. Run it from the
repository's folder with: python -m benches.statements_per_call --data ../shared/data --cells cells.jsonl
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperalign.backends.models.connect import connect
from hyperalign.evals.statistics import estimate
from hyperalign.evals.tasks.alignx import AlignX
from hyperalign.evals.tasks.traits import GOLD, Traits
from hyperalign.files import append_line, read_journal
from hyperalign.profile import Hypothesis
from hyperalign.programs.hypothesis_tests import fill
from hyperalign.programs.hypothesis_tests.choice import ChoiceTest
from hyperalign.records import Record
from hyperalign.scores import Row, ScoreMatrix
from hyperalign.space import load_space
from tests.programs.selection.simulated_people import simulate_null_of_matrix

__all__ = ["Reader", "main", "people"]

RECORDS = 4
WORDS = 60
FRIENDLY = "Friendly, witty and funny, like a close friend."
UNFRIENDLY = "Unfriendly."
OPPOSITES: Mapping[str, str] = {
    "desire-for-acquiring-wealth": "Does not care about money.",
    "has-strong-aesthetic-preferences": "Indifferent to beauty, without firm tastes.",
    "interest-in-music": "Not interested in music.",
    "risk-averse": "Seeks risk and likes what is uncertain.",
    "subscribes-to-Christianity": "Does not believe in God.",
    "subscribes-to-virtue-ethics": "Judges acts by what follows from them.",
}
MANNERS = ("direct", "humorous", "emotional", "figurative", "brief", "formal", "confident", "polite", "encouraging")


@dataclass(frozen=True)
class Reader:
    """One person, what is asked of them, and what is known of it.

    Attributes:
        user: who.
        source: the collection that they are from.
        records: their choices.
        statements: what is asked about.
        truth: 1 where a statement is true of them by construction, -1 where it is false, 0 where nobody knows.
    """

    user: str
    source: str
    records: Sequence[Record]
    statements: Sequence[str]
    truth: Sequence[int]


def people(data: Path, alignx: int, traits: int, each: int = 1) -> list[Reader]:
    """Development people, those of both collections in turn.

    Args:
        data: the folder of the collections.
        alignx: how many people of P-Soups.
        traits: how many of the traits.
        each: at most so many people of a trait.
    """
    some = [_friends(data, alignx), _traits(data, traits, each)]
    return [
        reader
        for group in zip(*(_padded(part, max(map(len, some))) for part in some), strict=True)
        for reader in group
        if reader
    ]


def _padded(some: list[Reader], length: int) -> list[Reader | None]:
    return [*some, *[None] * (length - len(some))]


def _friends(data: Path, count: int) -> list[Reader]:
    poles = {dimension.name: dimension.high for dimension in load_space().dimensions}
    statements = [FRIENDLY, UNFRIENDLY, poles["warm"], *(poles[name] for name in MANNERS)]
    cases = AlignX(data / "alignx_psoups" / "friendly_unfriendly.json").cases()
    found: dict[str, Reader] = {}
    seen: dict[str, set[str]] = {"friendly": set(), "unfriendly": set()}
    for case in (each for each in cases if each.split == "dev" and len(each.records) == RECORDS):
        side = "unfriendly" if "unfriendly" in case.gold else "friendly"
        # No choice is read twice for one side.
        if {record.id for record in case.records} & seen[side]:
            continue
        seen[side] |= {record.id for record in case.records}
        way = 1 if side == "friendly" else -1
        found[case.user] = Reader(
            case.user, "friendly", case.records, statements, [way, -way, way, *[0] * len(MANNERS)]
        )
    ways = [[each for each in found.values() if each.truth[0] == way] for way in (1, -1)]
    return [each for pair in zip(*ways, strict=False) for each in pair][:count]


def _traits(data: Path, count: int, each: int) -> list[Reader]:
    statements = [pole for trait in OPPOSITES for pole in (GOLD[trait], OPPOSITES[trait])]
    found: dict[str, dict[str, Reader]] = {}
    for case in Traits(data / "anthropic_persona", people=each).cases():
        if case.split == "dev" and case.persona in OPPOSITES:
            truth = [
                1 if pole == GOLD[case.persona] else -1 if pole == OPPOSITES[case.persona] else 0 for pole in statements
            ]
            reader = Reader(case.user, "traits", case.records[:RECORDS], statements, truth)
            found.setdefault(case.persona, {}).setdefault(case.user, reader)
    return [reader for of_trait in list(found.values())[:count] for reader in of_trait.values()]


def read(person: Reader, model: str, size: int, path: Path) -> NDArray[np.float64]:
    """One person's cells, shape (records, statements), from the file where it has them, else asked for.

    Args:
        person: who.
        model: the name of the model.
        size: how many statements a call.
        path: the file of cells.
    """
    for entry in read_journal(path):
        if (entry["user"], entry["size"], entry["model"]) == (person.user, size, model):
            return np.array(entry["cells"])
    lm, started = connect(model), time.monotonic()
    asked = [
        Hypothesis(id=f"s{at}", statement=said, opposite="Not so.", aspect="style", source="space")
        for at, said in enumerate(person.statements)
    ]
    test = ChoiceTest(lm, {}, words=WORDS, statements_per_call=size)
    cells = fill(test, asked, person.records, made_from={}).values
    entry = {"user": person.user, "size": size, "model": model, "seconds": time.monotonic() - started}
    append_line(path, json.dumps({**entry, "cells": cells.tolist()}))
    return cells


@dataclass(frozen=True)
class Way:
    """What was read in calls of one size.

    Attributes:
        size: statements a call.
        cells: by person, shape (records, statements).
    """

    size: int
    cells: Mapping[str, NDArray[np.float64]]


def tables(asked: Sequence[Reader], ways: Sequence[Way], for_null: int) -> Iterator[str]:
    """How the ways compare, as lines of Markdown.

    Args:
        asked: the people, all of whom were read in all ways.
        ways: the first is what the others are held against.
        for_null: people by chance.
    """
    single = ways[0].cells
    told = (
        *("statements a call", "sign as one by one", "correlation"),
        *(
            "wrong sign, single choices",
            "wrong sign, mean of four",
            "points more wrong: single choices",
            "mean of four",
        ),
    )
    yield f"{len(asked)} people, {sum(len(person.records) for person in asked)} choices\n"
    yield f"| {' | '.join(told)} |\n|{'---|' * len(told)}"
    for way in ways:
        alike = _over(asked, {each.user: _alike(single[each.user], way.cells[each.user]) for each in asked}, share=True)
        together = _over(asked, {each.user: [_correlation(single[each.user], way.cells[each.user])] for each in asked})
        wrong, of_means = (
            _over(asked, {each.user: _wrong(each, way.cells[each.user], means) for each in asked}, share=True)
            for means in (False, True)
        )
        compared = "| | |" if way is ways[0] else f"| {alike} | {together} |"
        more, more_of_means = (
            _over(asked, {each.user: _more_wrong(each, single, way.cells, means) for each in asked})
            for means in (False, True)
        )
        against = "| |" if way is ways[0] else f"{more} | {more_of_means} |"
        yield f"| {way.size} {compared} {wrong} | {of_means} | {against}"
    friends = [each for each in asked if each.source == "friendly"]
    yield "\n| statements a call | random choices: something is kept of four |\n|---|---|"
    for way in ways:
        share, low, high = simulate_null_of_matrix(_matrix(friends, way), RECORDS, for_null).share
        yield f"| {way.size} | {100 * share:.0f} % ({100 * low:.0f} to {100 * high:.0f}) |"


def _over(people: Sequence[Reader], found: Mapping[str, Sequence[float]], *, share: bool = False) -> str:
    """A mean with its interval over people."""
    of = estimate({person.user: found[person.user] for person in people if found[person.user]}, share=share)
    scale, digits, unit = (100, 0, " %") if share else (1, 2, "")
    return f"{of.mean * scale:.{digits}f}{unit} ({of.low * scale:.{digits}f} to {of.high * scale:.{digits}f})"


def _alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> list[float]:
    """Which cells have the same sign; one that is undecided on a side is half alike."""
    return [0.5 + 0.5 * float(product) for product in (np.sign(one) * np.sign(other)).ravel()]


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def _wrong(person: Reader, cells: NDArray[np.float64], means: bool) -> list[float]:
    """Which cells of what is known of a person have the wrong sign; an undecided one is half wrong."""
    known = np.array(person.truth)
    read = cells.mean(axis=0, keepdims=True) if means else cells
    return [0.5 - 0.5 * float(right) for right in (np.sign(read) * known)[:, known != 0].ravel()]


def _more_wrong(
    person: Reader, single: Mapping[str, NDArray[np.float64]], cells: Mapping[str, NDArray[np.float64]], means: bool
) -> list[float]:
    pairs = zip(_wrong(person, cells[person.user], means), _wrong(person, single[person.user], means), strict=True)
    return [100 * (here - there) for here, there in pairs]


def _matrix(people: Sequence[Reader], way: Way) -> ScoreMatrix:
    rows = tuple(Row(record.id, person.user, paired=True) for person in people for record in person.records)
    columns = tuple(f"s{at}" for at in range(len(people[0].statements)))
    return ScoreMatrix("choice", "model", rows, columns, np.vstack([way.cells[person.user] for person in people]))


def main() -> None:
    """Ask what was not asked yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with alignx_psoups and anthropic_persona")
    parser.add_argument("--cells", type=Path, required=True, help="the file that keeps what was asked")
    parser.add_argument("--model", default="local:qwen2.5-coder-1.5b-instruct", help="who is asked")
    parser.add_argument("--sizes", default="1,12", help="statements a call; the first is what others are held against")
    parser.add_argument("--friends", type=int, default=4, help="people of P-Soups")
    parser.add_argument("--traits", type=int, default=6, help="how many of the traits")
    parser.add_argument("--each", type=int, default=3, help="at most so many people of a trait")
    parser.add_argument("--null", type=int, default=4_000, help="people by chance")
    args = parser.parse_args()
    asked, sizes = (
        people(args.data, args.friends, args.traits, args.each),
        [int(size) for size in args.sizes.split(",")],
    )
    ways = [Way(size, {person.user: read(person, args.model, size, args.cells) for person in asked}) for size in sizes]
    print("\n".join(tables(asked, ways, args.null)))


if __name__ == "__main__":
    main()
