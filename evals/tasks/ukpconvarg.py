"""UKPConvArg1 (Habernal and Gurevych 2016): which of two arguments a crowd worker finds more convincing.

Both arguments of a pair are for the same side of one debate. The folder holds ``arguments.json``, a list with ``id``,
``debate``, ``stance`` and ``text``, and ``votes.jsonl``, rows with ``a1``, ``a2`` and ``votes``, each of a worker ``w``
for ``v``: a1, a2 or equal.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from hyperalign.errors import InputError
from hyperalign.records import Pair, Text

from ..cases import Case, CaseKind, Split, case_id, choose_people, texts_in
from .files import UserId, read_json_lines, read_json_list, validate

__all__ = ["UKPConvArg"]

_PROMPT = "Give a convincing argument in the debate “{debate}”, for this side: {stance}."


class _Argument(BaseModel):
    id: str
    debate: Text
    stance: Text
    text: Text


class _Vote(BaseModel):
    w: UserId
    v: Literal["a1", "a2", "equal"]


class _Row(BaseModel):
    a1: str
    a2: str
    votes: list[_Vote]


class UKPConvArg:
    """Which of two arguments for one side a crowd worker finds more convincing.

    Ties are left out. No argument of a case is in a record.

    Args:
        data: the folder of ``arguments.json`` and ``votes.jsonl``.
        records: how many votes a profile may be fitted on.
        cases_each: at most this many cases of each worker.
        min_votes: workers with fewer votes that are no ties are left out.
    """

    name = "ukpconvarg"
    kind: CaseKind = "choice"
    unit = "worker"
    data = "the folder that holds arguments.json and votes.jsonl"
    primary = "pick"

    def __init__(self, data: Path, *, records: int = 16, cases_each: int = 24, min_votes: int = 60) -> None:
        self._data = data
        self._records = records
        self._cases_each = cases_each
        self._min_votes = min_votes

    def cases(self, *, seed: int = 0) -> list[Case]:
        """Cases of the workers with enough votes."""
        return list(self._all(seed))

    def note(self) -> str:
        """What must be beaten."""
        return "People largely agree on what convinces, so what everybody prefers is the figure to beat."

    def people(self, *, split: Split | None = None) -> dict[str, list[Pair]]:
        """All votes of each worker but ties, also of those with too few for cases."""
        return choose_people(self._votes(), split)

    def _all(self, seed: int) -> Iterator[Case]:
        for worker, pairs in self._votes().items():
            if len(pairs) < self._min_votes:
                continue
            # Seeded for each worker, so that their cases do not depend on the others.
            order = random.Random(f"{seed}/{worker}").sample(pairs, len(pairs))
            records = tuple(order[: self._records])
            known = texts_in(records)
            asked = [pair for pair in order[self._records :] if not known & texts_in([pair])]
            for pair in asked[: self._cases_each]:
                yield Case(
                    id=case_id(worker, pair.chosen, pair.rejected),
                    user=worker,
                    cluster=worker,
                    prompt=pair.prompt,
                    records=records,
                    chosen=pair.chosen,
                    rejected=pair.rejected,
                )

    def _votes(self) -> dict[str, list[Pair]]:
        """Each worker's votes that are no ties, sorted by id; of two votes on the same arguments the first."""
        arguments = self._arguments()
        found: dict[str, dict[frozenset[str], Pair]] = {}
        for where, line in read_json_lines(self._data / "votes.jsonl"):
            row = validate(_Row, line, where)
            first, second = _lookup(arguments, row.a1, where), _lookup(arguments, row.a2, where)
            prompt = _PROMPT.format(debate=first.debate.strip(), stance=first.stance.strip())
            texts = first.text.strip(), second.text.strip()
            for vote in row.votes:
                if vote.v != "equal" and texts[0] != texts[1]:
                    chosen, rejected = texts if vote.v == "a1" else texts[::-1]
                    pair = Pair(user=vote.w, prompt=prompt, chosen=chosen, rejected=rejected)
                    found.setdefault(vote.w, {}).setdefault(frozenset(texts), pair)
        return {worker: sorted(theirs.values(), key=lambda pair: pair.id) for worker, theirs in sorted(found.items())}

    def _arguments(self) -> dict[str, _Argument]:
        lines = read_json_list(self._data / "arguments.json")
        return {argument.id: argument for argument in (validate(_Argument, item, where) for where, item in lines)}


def _lookup(arguments: dict[str, _Argument], name: str, where: str) -> _Argument:
    if name not in arguments:
        raise InputError(
            f"{where}: there is no argument {name[:40]!r} in arguments.json.",
            remedy="Give a folder whose two files belong together.",
        )
    return arguments[name]
