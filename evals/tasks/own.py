"""A file of records as a task: each person's last quarter of records are cases, and profiles are fitted on the rest.

Pairs and edits make choice cases, samples with a prompt make writing cases; a file holds one kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hyperalign.dependence import drop_repeats
from hyperalign.errors import InputError
from hyperalign.population import FolderPopulation
from hyperalign.records import Record, Sample, other_text, own_text, prompt_of, sort_by_time

from ..cases import Case, CaseKind, case_id, texts_in

__all__ = ["OwnRecords"]

_KEPT_BACK = 4
_JUDGED = 4
"""The fewest texts of a person that judges of authorship learn from."""


class OwnRecords:
    """Records of some people, in hyperalign's own format.

    Args:
        data: a JSONL file of samples, pairs or edits.

    Raises:
        InputError: the file mixes samples and choices, or has no person with at least four usable records.
    """

    unit = "person"

    def __init__(self, data: Path) -> None:
        self.name = data.stem
        given = FolderPopulation(data).records("")
        people: dict[str, list[Record]] = {}
        for record in given:
            people.setdefault(record.user, []).append(record)
        people = {user: sort_by_time(drop_repeats(theirs)) for user, theirs in people.items()}
        choices = sum(other_text(record) is not None for record in given)
        if 0 < choices < len(given):
            raise InputError(
                f"{data}: the file mixes choices ({choices}, from pairs, edits and ratings) and samples "
                f"({len(given) - choices}).",
                remedy="Make a file of each kind, and run each by itself.",
            )
        self.kind: CaseKind = "choice" if choices else "writing"
        self._people = {user: usable for user, theirs in people.items() if len(usable := self._usable(theirs)) >= 4}
        self._left_out = len(people) - len(self._people)
        if not self._people:
            raise InputError(
                f"{data}: nobody in it has four records, the fewest for a profile and a case.",
                remedy="Add records; samples need a prompt.",
            )

    def cases(self, *, seed: int = 0) -> list[Case]:
        """The last quarter of each person's records by time; the seed is not used."""
        del seed
        return list(self._all())

    def note(self) -> str:
        """How records are divided, and how many people are left out."""
        said = "Cases are the last quarter of each person's records; profiles are fitted on the rest."
        if self.kind == "writing":
            said = (
                "Cases are the last quarter of each person's records; of the rest profiles are fitted on one half, and "
                "judges of authorship on the other where a person has eight or more."
            )
        few = "choices" if self.kind == "choice" else "samples with a prompt"
        return f"{said} People left out for fewer than four {few}: {self._left_out}." if self._left_out else said

    def texts(self) -> dict[str, list[str]]:
        """The texts of each person that judges of authorship learn from: none of cases, and none that profiles are made
        from, but of people with fewer than eight others."""
        return {user: [own_text(record) for record in self._split(theirs)[1]] for user, theirs in self._people.items()}

    def _usable(self, records: list[Record]) -> list[Record]:
        if self.kind == "choice":
            return [record for record in records if other_text(record) is not None]
        return [record for record in records if prompt_of(record)]

    def _all(self) -> Iterator[Case]:
        for user, theirs in self._people.items():
            known, _, asked = self._split(theirs)
            for record in asked:
                yield Case(
                    id=case_id(user, record.id),
                    user=user,
                    cluster=user,
                    prompt=prompt_of(record) or "",
                    records=tuple(known),
                    chosen="" if isinstance(record, Sample) else own_text(record),
                    rejected=other_text(record) or "",
                    reference=own_text(record) if isinstance(record, Sample) else "",
                )

    def _split(self, theirs: list[Record]) -> tuple[list[Record], list[Record], list[Record]]:
        """The records for profiles, for judges of authorship, and for cases; texts of cases occur in no other."""
        kept_back = max(1, len(theirs) // _KEPT_BACK)
        asked = theirs[-kept_back:]
        texts = texts_in(asked)
        known = [record for record in theirs[:-kept_back] if not texts & texts_in([record])]
        if self.kind == "choice" or len(known) < 2 * _JUDGED:
            return known, known, asked
        # By turns, so that both are from all times.
        return known[::2], known[1::2], asked
