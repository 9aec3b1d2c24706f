"""How well an audit tells true statements about people from false ones, on the dev split of the traits.

A person is a trait and eight pairs of statements that they would and would not make. True by construction is the
trait's own description; false are its opposite, as the model writes it, and the descriptions of other traits. The
figure is the area under the curve of the findings' strength (a gain in its standard errors), pooled over people, with a
bootstrap over traits. It is given against the opposites alone as well, since some other description may be true of a
person too. For the null, chosen and rejected are exchanged at random in the same pairs. Log-probabilities and
embeddings are kept in the cache, so that a run that was stopped goes on. It prints Markdown. Run it from the
repository's folder with: python -m benches.audit --data ../shared/data/anthropic_persona
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import dspy
import numpy as np

from hyperalign.backends.models.connect import connect
from hyperalign.backends.models.encoders import DEFAULT_ENCODER, open_encoder
from hyperalign.backends.models.scorers import open_scorer
from hyperalign.evals.cases import Split
from hyperalign.evals.tasks.traits import GOLD, Traits
from hyperalign.programs.audit import Audit, EmbeddingTest, Finding
from hyperalign.records import Pair, Record

__all__ = ["Person", "area", "bootstrap", "find_people", "main"]

Kind = Literal["true", "opposite", "other"]
"""A description of the person's trait, its opposite, or a description of another trait."""

OTHER_PEOPLE = 2
DRAWS = 2_000


@dataclass(frozen=True)
class Person:
    """One person of a trait, and what is true of them.

    Attributes:
        trait: the trait.
        records: their choices.
        others: choices of people of other traits.
    """

    trait: str
    records: Sequence[Pair]
    others: Sequence[Record]


def find_people(data: Path, split: Split, each: int) -> list[Person]:
    """People of the described traits of a split; others are the first choices of every other trait's people.

    Args:
        data: the folder of the traits.
        split: which traits.
        each: how many people of a trait.
    """
    records: dict[str, tuple[str, tuple[Record, ...]]] = {}
    for case in Traits(data, people=each).cases():
        if case.split == split and case.persona in GOLD:
            records[case.user] = case.persona, case.records
    first: dict[str, list[Record]] = {}
    for trait, some in records.values():
        first.setdefault(trait, list(some[:OTHER_PEOPLE]))
    return [
        Person(
            trait,
            [pair for pair in some if isinstance(pair, Pair)],
            [record for other, theirs in first.items() if other != trait for record in theirs],
        )
        for trait, some in records.values()
    ]


def exchange(pairs: Sequence[Pair], seed: str) -> list[Pair]:
    """The same pairs, each with chosen and rejected exchanged by the toss of a coin."""
    coin = random.Random(seed)
    return [
        pair.model_copy(update={"chosen": pair.rejected, "rejected": pair.chosen}) if coin.random() < 0.5 else pair
        for pair in pairs
    ]


def area(true: Sequence[float], false: Sequence[float]) -> float:
    """The area under the curve: how often a true statement is stronger than a false one, a tie being half."""
    above = np.subtract.outer(np.array(true), np.array(false))
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def bootstrap(groups: Mapping[str, Sequence[tuple[bool, float]]], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the area, drawing traits."""
    names, draw = sorted(groups), np.random.default_rng(seed)
    areas = []
    for _ in range(DRAWS):
        some = [each for name in draw.choice(names, len(names)) for each in groups[name]]
        areas.append(area([x for true, x in some if true], [x for true, x in some if not true]))
    low, high = np.percentile(areas, (2.5, 97.5))
    return float(low), float(high)


def _report(found: Sequence[tuple[str, Kind, Finding]], coins: Sequence[Finding]) -> Iterator[str]:
    traits = {trait for trait, _, _ in found}
    yield f"| audit, {len(traits)} traits (statements) | holds | not shown | contradicted |\n|---|---|---|---|"
    for kind in get_args(Kind):
        some = [finding for _, each, finding in found if each == kind]
        yield _row(f"{kind} ({len(some)})", some)
    yield _row(f"coins ({len(coins)})", coins)
    yield "\n| area under the curve | figure | 95 % |\n|---|---|---|"
    for name, false in (
        ("all", ("opposite", "other")),
        ("opposites alone", ("opposite",)),
        ("others alone", ("other",)),
    ):
        groups: dict[str, list[tuple[bool, float]]] = {}
        for trait, kind, finding in found:
            if kind == "true" or kind in false:
                groups.setdefault(trait, []).append((kind == "true", finding.strength))
        strengths = [each for some in groups.values() for each in some]
        figure = area([x for true, x in strengths if true], [x for true, x in strengths if not true])
        low, high = bootstrap(groups)
        yield f"| {name} | {figure:.2f} | {low:.2f} to {high:.2f} |"


def _row(name: str, some: Sequence[Finding]) -> str:
    shares = [
        sum(each.verdict == verdict for each in some) / len(some) for verdict in ("holds", "not shown", "contradicted")
    ]
    return f"| {name} | {' | '.join(f'{share:.0%}' for share in shares)} |"


def _open(asked: argparse.Namespace, lm: dspy.LM) -> Audit:
    if asked.reading == "embedding":
        return Audit(lm=lm, test=EmbeddingTest(open_encoder(asked.encoder)))
    encoder = open_encoder(asked.encoder) if asked.reading == "both" else None
    return Audit(open_scorer(asked.model), lm=lm, encoder=encoder)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of <trait>.jsonl files")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--model", default="local:qwen2.5-coder-1.5b-instruct")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--reading", choices=("both", "likelihood", "embedding"), default="both")
    parser.add_argument("--each", type=int, default=2, help="people of a trait")
    asked = parser.parse_args()
    people = find_people(asked.data, asked.split, asked.each)
    lm = connect(asked.model)
    audit = _open(asked, lm)
    golds = [GOLD[trait] for trait in dict.fromkeys(person.trait for person in people)]
    opposites = audit.write_opposites(golds)
    poles = {**opposites, **{other: gold for gold, other in opposites.items()}}
    found: list[tuple[str, Kind, Finding]] = []
    coins: list[Finding] = []
    for number, person in enumerate(people, start=1):
        own = GOLD[person.trait]
        statements = [*golds, *([opposites[own]] if own in opposites else [])]
        given = {"statements": statements, "others": person.others, "opposites": poles}
        findings = audit(records=person.records, **given).findings
        kinds: dict[str, Kind] = {own: "true", opposites.get(own, ""): "opposite"}
        found += [(person.trait, kinds.get(finding.statement, "other"), finding) for finding in findings]
        # The same texts, whose log-probabilities are known.
        coins += audit(records=exchange(person.records, f"{number}"), **given).findings
        print(f"{number} of {len(people)}", file=sys.stderr, flush=True)
    print("\n".join(_report(found, coins)))
    print("\n| statement | opposite |\n|---|---|")
    for gold, other in opposites.items():
        print(f"| {gold} | {other} |")


if __name__ == "__main__":
    main()
