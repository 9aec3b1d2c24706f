"""Corrected mails (POPQUORN, Pei and Jurgens 2023): which of two polite rewrites of one mail is this person's, and a
mail to rewrite as they would.

Everybody was asked to make ten mails more polite. Both answers rewrite the same mail, so content is the same and manner
is not. The file is ``rewrites.jsonl``: a row has ``user``, ``mail``, ``draft`` (the mail as it was) and ``edited``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from hyperalign.records import Edit, Text

from ..cases import Case, CaseKind, Split, case_id, choose_people
from ..metrics.nearness import NEARNESS
from .files import UserId, read_json_lines, validate

__all__ = ["Popquorn", "PopquornWriting"]

_FILE = "rewrites.jsonl"
# The draft is in the prompt, so that whoever reads a prompt and a text sees what was changed.
_PROMPT = "Rewrite this mail so that it is more polite:\n\n{draft}"


class _Row(BaseModel):
    user: UserId
    mail: int | str
    draft: Text
    edited: Text


class _Rewrite(NamedTuple):
    user: str
    mail: str
    draft: str
    text: str

    @property
    def record(self) -> Edit:
        return Edit(user=self.user, prompt=_PROMPT.format(draft=self.draft), draft=self.draft, edited=self.text)


class Popquorn:
    """A person's own rewrite of a mail against somebody else's rewrite of the same mail.

    Each mail that somebody else rewrote too is one case, with the person's other mails as records.

    Args:
        data: ``rewrites.jsonl``, or its folder.
        records: how many corrections of other mails a profile may be fitted on; who has fewer is left out.
    """

    name = "popquorn"
    kind: CaseKind = "choice"
    unit = "person"
    data = "rewrites.jsonl (user, mail, draft, edited), or its folder"
    primary = "pick"

    def __init__(self, data: Path, *, records: int = 9) -> None:
        self._file = data / _FILE if data.is_dir() else data
        self._records = records

    def cases(self, *, seed: int = 0) -> list[Case]:
        """One case for each person and mail that others rewrote too; only its rejected answer depends on them."""
        return list(self._all(seed))

    def note(self) -> str:
        """Why content does not matter, and how often a person's corrections are used."""
        return (
            "Both answers rewrite the same mail, so content cannot tell them apart. A person's corrections are records "
            "of one case and answers of another, never both in one."
        )

    def people(self, *, split: Split | None = None) -> dict[str, list[Edit]]:
        """All corrections of each person."""
        everybody = {user: [rewrite.record for rewrite in theirs] for user, theirs in self._by_user().items()}
        return choose_people(everybody, split)

    def _all(self, seed: int) -> Iterator[Case]:
        by_user = self._by_user()
        by_mail: dict[str, list[_Rewrite]] = {}
        for theirs in by_user.values():
            for rewrite in theirs:
                by_mail.setdefault(rewrite.mail, []).append(rewrite)
        for user, own in by_user.items():
            for rewrite in own:
                known = [r for r in own if r.mail != rewrite.mail and rewrite.text not in {r.draft, r.text}]
                telling = {rewrite.text, *(text for r in known for text in (r.draft, r.text))}
                others = [r for r in by_mail[rewrite.mail] if r.user != user and r.text not in telling]
                if len(known) >= self._records and others:
                    # Seeded for each mail, and records first, so that they do not depend on the others.
                    draw = random.Random(f"{seed}/{user}/{rewrite.mail}")
                    records = draw.sample(known, self._records)
                    yield self._case(rewrite, draw.choice(others), records)

    def _by_user(self) -> dict[str, list[_Rewrite]]:
        """Each person's rewrites in the order of their mails; of two rewrites of one mail the later one."""
        found: dict[str, dict[str, _Rewrite]] = {}
        for where, line in read_json_lines(self._file):
            row = validate(_Row, line, where)
            rewrite = _Rewrite(row.user, str(row.mail), row.draft.strip(), row.edited.strip())
            found.setdefault(row.user, {})[rewrite.mail] = rewrite
        return {user: sorted(theirs.values()) for user, theirs in sorted(found.items())}

    def _case(self, own: _Rewrite, other: _Rewrite, records: list[_Rewrite]) -> Case:
        return Case(
            id=case_id(own.user, own.mail, other.user),
            user=own.user,
            cluster=own.user,
            prompt=own.record.prompt or "",
            records=tuple(rewrite.record for rewrite in records),
            chosen=own.text,
            rejected=other.text,
            draft=own.draft,
        )


class PopquornWriting(Popquorn):
    """A mail to rewrite as this person would: is the answer nearer to their rewrite than to somebody else's?

    The people, mails and records are those of ``Popquorn``.
    """

    name = "popquorn-write"
    kind: CaseKind = "writing"
    primary = NEARNESS["style"]

    def note(self) -> str:
        """What answers are compared with, and why no judge of authorship is asked."""
        return (
            "Each answer is compared with the person's own rewrite of the mail and with another person's. People wrote "
            "too little to train judges of authorship on. The row 'draft' is the mail as it was."
        )

    def _case(self, own: _Rewrite, other: _Rewrite, records: list[_Rewrite]) -> Case:
        return replace(super()._case(own, other, records), chosen="", reference=own.text)
