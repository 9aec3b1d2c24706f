"""What is remembered of fitting somebody, so that new records can be added without the old ones: candidates, the cells
of every test, and the newest few records.

Texts and choices are two parts, since each is held against its like. It is JSON, without code and without a model. This
file neither tests nor chooses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Record, only_choices
from hyperalign.scores import ScoreMatrix
from hyperalign.style import StyleClaim

from .candidates import Candidate
from .select import Subjects

__all__ = ["RECENT", "Kind", "Memory", "Part", "kind_of"]

Kind = Literal["texts", "choices"]

RECENT = 16
"""So many of the newest records are kept as they are: to quote, to show and to make new hypotheses from."""

_SCHEMA = 1
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


@dataclass(frozen=True)
class Part:
    """What was tried on records of one kind, texts or choices, and what it gave.

    Attributes:
        profile: what these records say.
        candidates: all hypotheses that were tried.
        matrices: one for each test; the person's rows stand in the order in which their records came.
        recent: the newest of their records, the newest last.
        read: ids of all of their records that were read, the oldest first.
        about: for each scope, the records that fall under it, anybody's.
        failing: of the newest records, which spoke against what was believed when they came, since hypotheses were last
            proposed.
    """

    profile: Profile
    candidates: tuple[Candidate, ...] = ()
    matrices: tuple[ScoreMatrix, ...] = ()
    recent: tuple[Record, ...] = ()
    read: tuple[str, ...] = ()
    about: Subjects = field(default_factory=dict)
    failing: tuple[bool, ...] = ()

    def with_records(self, records: Sequence[Record]) -> Part:
        """The same, with newer records; the oldest make room."""
        read = dict.fromkeys((*self.read, *(record.id for record in records)))
        return replace(self, recent=(*self.recent, *records)[-RECENT:], read=tuple(read))

    def without(self, user: str) -> Part:
        """The same, as if somebody else had never been held against."""
        matrices = tuple(matrix.without_person(user) for matrix in self.matrices)
        left = {row.record for matrix in matrices for row in matrix.rows}
        about = {scope: tuple(name for name in names if name in left) for scope, names in self.about.items()}
        return replace(self, matrices=matrices, about=about)

    def as_data(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "profile": json.loads(self.profile.to_json()),
            "candidates": [
                {
                    "hypothesis": each.hypothesis.model_dump(),
                    "made_from": sorted(each.made_from),
                    "claim": each.claim.model_dump() if each.claim else None,
                }
                for each in self.candidates
            ],
            "matrices": [json.loads(matrix.to_json()) for matrix in self.matrices],
            "recent": [_RECORD.dump_python(record, mode="json") for record in self.recent],
            "read": list(self.read),
            "about": {scope: sorted(ids) for scope, ids in self.about.items()},
            "failing": list(self.failing),
        }

    @classmethod
    def from_data(cls, data: Any) -> Part:
        """Read what ``as_data`` gave; raises whatever is wrong with it."""
        return cls(
            Profile.model_validate(data["profile"]),
            tuple(_candidate(each) for each in data["candidates"]),
            tuple(ScoreMatrix.from_json(json.dumps(each)) for each in data["matrices"]),
            tuple(_RECORD.validate_json(json.dumps(each)) for each in data["recent"]),
            tuple(map(str, data["read"])),
            {str(scope): tuple(map(str, ids)) for scope, ids in data["about"].items()},
            tuple(bool(each) for each in data["failing"]),
        )


@dataclass(frozen=True)
class Memory:
    """All that is remembered of one person.

    Attributes:
        parts: by kind of records, ``texts`` and ``choices``.
        waiting: records of which there are too few to fit anybody.
        skipped: ids of records that taught nothing.
        settings: what the cells depend on; with other settings they say nothing.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    waiting: tuple[Record, ...] = ()
    skipped: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def known(self) -> set[str]:
        """Ids of the person's records that were read, wait, or taught nothing."""
        read = {name for part in self.parts.values() for name in part.read}
        return read | {record.id for record in self.waiting} | set(self.skipped)

    @property
    def texts(self) -> list[str]:
        """Ids of the records whose texts are kept here."""
        recent = [record for part in self.parts.values() for record in part.recent]
        return [record.id for record in (*recent, *self.waiting)]

    def without(self, user: str) -> Memory:
        """The same, as if somebody else had never been held against."""
        return replace(self, parts={kind: part.without(user) for kind, part in self.parts.items()})

    def to_json(self) -> str:
        """As JSON."""
        data = {
            "schema": _SCHEMA,
            "settings": dict(self.settings),
            "parts": {kind: part.as_data() for kind, part in self.parts.items()},
            "skipped": list(self.skipped),
            "waiting": [_RECORD.dump_python(record, mode="json") for record in self.waiting],
        }
        return json.dumps(data, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Memory:
        """Read what ``to_json`` wrote.

        Args:
            text: the JSON.
            where: what it is called in an error.

        Raises:
            InputError: it is something else, or of another version.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            if data["schema"] != _SCHEMA:
                raise ValueError(f"schema {data['schema']}")
            parts = {kind: Part.from_data(each) for kind, each in data["parts"].items()}
            waiting = tuple(_RECORD.validate_json(json.dumps(each)) for each in data["waiting"])
            settings = {str(key): str(value) for key, value in data["settings"].items()}
            return cls(parts, waiting, tuple(map(str, data["skipped"])), settings)
        except (KeyError, TypeError, AttributeError, ValueError, ValidationError) as error:
            raise InputError(
                f"{where}: this is no memory of an earlier fit ({error!s:.120}).",
                remedy="Fit the person anew with --refit; their records are in the store.",
            ) from error


def kind_of(records: Sequence[Record]) -> Kind:
    """Which part records belong to: all are texts, or all are choices."""
    return "choices" if only_choices(records) else "texts"


def _candidate(data: Any) -> Candidate:
    claim = StyleClaim.model_validate(data["claim"]) if data["claim"] else None
    return Candidate(Hypothesis.model_validate(data["hypothesis"]), frozenset(data["made_from"]), claim)
