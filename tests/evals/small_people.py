"""A small choice task with other people: each likes exclamations or long-winded hedges, in every choice."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from hyperalign.evals.cases import Case, CaseKind, Split, case_id, choose_people
from hyperalign.records import Pair, Record
from tests.evals.small_task import BLUNT, GARDEN, HEDGER, SEA, written

__all__ = ["Tastes", "write_folder"]


def texts(number: int) -> tuple[str, str]:
    """A blunt and a hedging answer to a question."""
    topic = GARDEN if number % 2 else SEA
    return written(BLUNT, topic, number, sentences=5), written(HEDGER, topic, number + 1000, sentences=3)


def pair(user: str, number: int, *, is_blunt: bool) -> Pair:
    blunt, hedging = texts(number)
    chosen, rejected = (blunt, hedging) if is_blunt else (hedging, blunt)
    return Pair(user=user, prompt=f"Question {number}?", chosen=chosen, rejected=rejected)


class Tastes:
    """People who like one manner; all are asked about the same answers."""

    name = "tastes"
    kind: CaseKind = "choice"
    unit = "person"

    def __init__(self, people: int = 24, records: int = 6, cases_each: int = 3) -> None:
        self._names = [f"person-{number}" for number in range(people)]
        self._records = records
        self._cases_each = cases_each

    def cases(self, *, seed: int = 0) -> list[Case]:
        found = []
        for name, pairs in self.people().items():
            order = random.Random(f"{seed}/{name}").sample(pairs, len(pairs))
            known, asked = order[: self._records], order[self._records :][: self._cases_each]
            found += [
                Case(
                    id=case_id(name, each.prompt),
                    user=name,
                    cluster=name,
                    prompt=each.prompt,
                    records=tuple(known),
                    chosen=each.chosen,
                    rejected=each.rejected,
                )
                for each in asked
            ]
        return found

    def note(self) -> str:
        return "Made up."

    def people(self, *, split: Split | None = None) -> Mapping[str, Sequence[Record]]:
        everybody = {
            name: [pair(name, number, is_blunt=place % 2 == 0) for number in range(20)]
            for place, name in enumerate(self._names)
        }
        return choose_people(everybody, split)


def write_folder(folder: Path) -> Path:
    """Data of two of the tasks: a file of AlignX, and corrected mails of six people."""
    (folder / "alignx_psoups").mkdir()
    rows = []
    for number in range(24):
        is_blunt = number % 2 == 0
        asked = pair("a", number, is_blunt=is_blunt)
        history = [pair("a", 100 + 4 * number + at, is_blunt=is_blunt) for at in range(4)]
        rows.append(
            {
                **{name: getattr(asked, name) for name in ("prompt", "chosen", "rejected")},
                "ground_truth_persona": "Be blunt." if is_blunt else "Hedge.",
                "Pair-wise Comparative Feedback": [
                    {name: getattr(each, name) for name in ("prompt", "chosen", "rejected")} for each in history
                ],
            }
        )
    (folder / "alignx_psoups" / "manner.json").write_text(json.dumps(rows))
    (folder / "popquorn_emails").mkdir()
    mails = [
        {"user": f"p{user}", "mail": mail, "draft": f"Send me report {mail} now.", "edited": texts(mail)[user % 2]}
        for user in range(6)
        for mail in range(10)
    ]
    # Nobody writes exactly what another does.
    lines = [{**mail, "edited": f"{mail['edited']} Yours, {mail['user']}."} for mail in mails]
    (folder / "popquorn_emails" / "rewrites.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
