"""The other people of a benchmark: what a profile's hypotheses are tested against.

They are people who were not drawn, so that nobody who is reported on is anybody else's reference; where all were
drawn, they are each other's. Nothing that a case asks about is among their records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hyperalign.records import Record, other_text, own_text, without_repeats

from .cases import Case

__all__ = ["OtherPeople"]

_MIN_PEOPLE = 2
_MIN_RECORDS = 6


class OtherPeople:
    """A ``Contrast`` of a benchmark's people.

    Args:
        everybody: all cases of the task.
        drawn: those of this run.
    """

    name = "other people of the task"

    def __init__(self, everybody: Iterable[Case], drawn: Sequence[Case]) -> None:
        users = {case.user for case in drawn}
        asked = {text for case in drawn for text in (case.chosen, case.rejected, case.reference) if text}
        people: dict[str, list[Record]] = {}
        for case in everybody:
            for record in case.records:
                if not asked & {own_text(record), other_text(record)}:
                    people.setdefault(case.user, []).append(record)
        people = {user: without_repeats(theirs) for user, theirs in people.items()}
        undrawn = {user: theirs for user, theirs in people.items() if user not in users}
        enough = len(undrawn) >= _MIN_PEOPLE and sum(map(len, undrawn.values())) >= _MIN_RECORDS
        self._records = [record for theirs in (undrawn if enough else people).values() for record in theirs]

    def records(self, user: str) -> list[Record]:
        """Records of everybody but ``user``: those that agree with them, too, as people do."""
        return [record for record in self._records if record.user != user]
