"""Your own people: a file of records is an eval, without code.

Each person's last quarter of records (by their order) are cases, the rest make the profile: what
came later is predicted from what came before. Pairs and edits make choice cases, samples with a
prompt make writing cases; a file holds one kind or the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hyperalign.errors import InputError
from hyperalign.population import FolderPopulation
from hyperalign.records import Record, Sample, drop_repeats, other_text, own_text, prompt_of

from ..cases import Case, CaseKind, case_id

__all__ = ["OwnRecords"]

_KEPT_BACK = 4


class OwnRecords:
    """Records of some people, in hyperalign's own format.

    Args:
        data: a JSONL file of samples, pairs or edits.

    Raises:
        InputError: samples and choices stand in it side by side, or it holds no person with at least four usable
            records.
    """

    unit = "person"

    def __init__(self, data: Path) -> None:
        self.name = data.stem
        given = FolderPopulation(data).records("")
        # What is there twice could be learned from and asked about.
        people: dict[str, list[Record]] = {}
        for record in given:
            people.setdefault(record.user, []).append(record)
        people = {user: drop_repeats(theirs) for user, theirs in people.items()}
        choices = sum(other_text(record) is not None for record in given)
        if 0 < choices < len(given):
            # To ask about one kind alone would drop the other without a word.
            raise InputError(
                f"{data}: choices ({choices}; pairs, edits and ratings make them) and samples ({len(given) - choices}) "
                "stand in one file, and a task asks about one kind.",
                remedy="Make a file of each kind, and run each by itself.",
            )
        self.kind: CaseKind = "choice" if choices else "writing"
        self._people = {user: usable for user, theirs in people.items() if len(usable := self._usable(theirs)) >= 4}
        self._left_out = len(people) - len(self._people)
        if not self._people:
            raise InputError(
                f"{data}: nobody in it has four records to learn from and be asked about.",
                remedy="Pairs and edits serve as they are; samples need a prompt.",
            )

    def cases(self, *, seed: int = 0) -> list[Case]:
        """The last quarter of each person's records; nothing is drawn."""
        del seed
        return list(self._all())

    def note(self) -> str:
        """What is asked."""
        said = "Each person's last quarter of records is asked about; the rest made the profile."
        few = "records that can be asked about" if self.kind == "choice" else "samples with a prompt"
        return f"{said} {self._left_out} with fewer than four {few} are left out." if self._left_out else said

    def texts(self) -> dict[str, list[str]]:
        """What each person wrote, without what is asked about."""
        return {user: [own_text(record) for record in self._split(theirs)[0]] for user, theirs in self._people.items()}

    def _usable(self, records: list[Record]) -> list[Record]:
        if self.kind == "choice":
            return [record for record in records if other_text(record) is not None]
        return [record for record in records if prompt_of(record)]

    def _all(self) -> Iterator[Case]:
        for user, theirs in self._people.items():
            known, asked = self._split(theirs)
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

    def _split(self, theirs: list[Record]) -> tuple[list[Record], list[Record]]:
        """What profiles may be made from, and what is asked about."""
        kept_back = max(1, len(theirs) // _KEPT_BACK)
        asked = theirs[-kept_back:]
        texts = {text for record in asked for text in _texts(record)}
        return [record for record in theirs[:-kept_back] if not texts & _texts(record)], asked


def _texts(record: Record) -> set[str]:
    """A record's texts, taken and left."""
    return {text for text in (own_text(record), other_text(record)) if text}
