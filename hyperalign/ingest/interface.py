"""What a format of files gives: who is in it, what they wrote, records, and what is passed over."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from hyperalign.errors import RecordError

from .source import Source

__all__ = ["Author", "Columns", "Entry", "Fields", "Format", "PassedOver", "Utterance"]


@dataclass(frozen=True, slots=True)
class Author:
    """Someone in a file.

    Attributes:
        name: as the file shows it; a person fitted from everybody's texts goes by it.
        also: other names that choose this person: an address, a number, a user name.
        is_owner: whether the file says that it is this person's export, so that nobody need be chosen.
    """

    name: str
    also: frozenset[str] = frozenset()
    is_owner: bool = False

    def is_called(self, name: str) -> bool:
        """Whether a name chooses this person; case, width and a leading ``@`` or ``u/`` do not count."""
        return comparable_name(name) in {comparable_name(each) for each in (self.name, *self.also)}


def comparable_name(name: str) -> str:
    """A name as names are compared: in one form of Unicode, case and width, without ``@``, ``u/`` or ``/u/``."""
    folded = " ".join(unicodedata.normalize("NFKC", name).split()).casefold()
    for mark in ("/u/", "u/", "@", "mailto:"):
        folded = folded.removeprefix(mark)
    return folded.strip("<>").strip()


@dataclass(frozen=True, slots=True)
class Utterance:
    """A text that someone wrote.

    Attributes:
        author: who; None if the file does not say, as a plain text.
        text: their own words alone, without what they quote.
        prompt: what they answered, if it is known.
        time: when; None if it is not known.
        id: of the message in the file; empty if it has none.
        line: where it begins in the file, from 1.
    """

    author: Author | None
    text: str
    prompt: str | None = None
    time: datetime | None = None
    id: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a record or rating, as ``records.parse_fields`` takes them, without ``user``.

    Attributes:
        author: whose record it is; None if the file does not say.
        data: such as ``{"prompt": …, "chosen": …, "rejected": …}``.
        line: the line or row in the file, from 1.
    """

    author: Author | None
    data: Mapping[str, Any]
    line: int | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Something in a file that is nobody's text, such as a system message or a picture; counted by its reason.

    Attributes:
        reason: in a few words, in the plural: "system messages".
        line: where it is, from 1.
    """

    reason: str
    line: int | None = None


Entry = Utterance | Fields | PassedOver | RecordError
"""What a format gives; a bad line is given as its error, so that others can be read still."""


@dataclass(frozen=True)
class Columns:
    """Which column or nested path (``data.answer.text``) of a row holds which field, as ``--columns`` says.

    Attributes:
        names: path by field; fields are those of a record, ``user`` and ``messages``.
    """

    names: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Format(Protocol):
    """One format of files."""

    name: str
    """As ``--as`` takes it, such as ``whatsapp``."""
    title: str
    """As messages show it, such as "WhatsApp export"."""

    def match(self, source: Source) -> int:
        """How surely a file is of this format: 0 no, 1 by its name alone, 2 by content, 3 by content of no other."""
        ...

    def read(self, source: Source, columns: Columns) -> Iterator[Entry]:
        """What the file holds, in its order."""
        ...
