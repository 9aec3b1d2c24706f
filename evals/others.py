"""The other people of a benchmark: what a profile's hypotheses are tested against.

They are people who were not drawn, so that nobody who is reported on is anybody else's reference; where all were
drawn, they are each other's. Nothing that a case asks about is among their records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hyperalign.records import Record, other_text, own_text, prompt_of

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
        people: dict[str, dict[str, Record]] = {}
        for case in everybody:
            for record in case.records:
                if not asked & {own_text(record), other_text(record)}:
                    people.setdefault(case.user, {})[record.id] = record
        # Also of the drawn, whose records are no part of the reference.
        self._own: dict[str, set[tuple[str, str, str]]] = {}
        for theirs in people.values():
            for record in theirs.values():
                self._own.setdefault(record.user, set()).add(_content(record))
        undrawn = {user: theirs for user, theirs in people.items() if user not in users}
        enough = len(undrawn) >= _MIN_PEOPLE and sum(map(len, undrawn.values())) >= _MIN_RECORDS
        self._records = [record for theirs in (undrawn if enough else people).values() for record in theirs.values()]

    def records(self, user: str) -> list[Record]:
        """Records of everybody but ``user``; what two people share is there once, and not if it is the user's too."""
        mine = self._own.get(user, set())
        found: dict[tuple[str, str, str], Record] = {}
        for record in self._records:
            content = _content(record)
            if record.user != user and content not in mine:
                found.setdefault(content, record)
        return list(found.values())


def _content(record: Record) -> tuple[str, str, str]:
    return prompt_of(record), own_text(record), other_text(record) or ""
