"""A profile from what was kept: statements with their evidence, examples, measured style, and where it all came from.

This file neither tests nor chooses, and runs no model.

What fitting somebody found, and how what they wrote and what they chose make one profile. It runs no model.

What is remembered of fitting somebody, so that new records can be added without the old ones: candidates, the cells
of every test, and the newest few records.

Texts and choices are two parts, since each is held against its like. It is JSON, without code and without a model. This
file neither tests nor chooses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from hyperalign.errors import InputError
from hyperalign.profile import EXAMPLE_ID, SPACE_ID, Evidence, Hypothesis, Profile, Provenance, check_evidence
from hyperalign.records import Record, as_sample, only_choices, other_text
from hyperalign.scores import ScoreMatrix
from hyperalign.space import Space, own_poles
from hyperalign.style import StyleClaim
from hyperalign.style.estimate import measured_style

from .candidates import Candidate
from .selection import Selection, Subjects, drop

__all__ = [
    "RECENT",
    "Fit",
    "FitPart",
    "Memory",
    "Origin",
    "RecordKind",
    "kind_of",
    "profile_of",
    "together",
    "with_evidence_of",
]


RecordKind = Literal["texts", "choices"]

RECENT = 16
"""So many of the newest records are kept as they are: to quote, to show and to make new hypotheses from."""

_SCHEMA = 1
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


@dataclass(frozen=True)
class FitPart:
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

    def with_records(self, records: Sequence[Record]) -> FitPart:
        """The same, with newer records; the oldest make room."""
        read = dict.fromkeys((*self.read, *(record.id for record in records)))
        return replace(self, recent=(*self.recent, *records)[-RECENT:], read=tuple(read))

    def without(self, user: str) -> FitPart:
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
    def from_data(cls, data: Any) -> FitPart:
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

    parts: Mapping[str, FitPart] = field(default_factory=dict)
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
            parts = {kind: FitPart.from_data(each) for kind, each in data["parts"].items()}
            waiting = tuple(_RECORD.validate_json(json.dumps(each)) for each in data["waiting"])
            settings = {str(key): str(value) for key, value in data["settings"].items()}
            return cls(parts, waiting, tuple(map(str, data["skipped"])), settings)
        except (KeyError, TypeError, AttributeError, ValueError, ValidationError) as error:
            raise InputError(
                f"{where}: this is no memory of an earlier fit ({error!s:.120}).",
                remedy="Fit the person anew with --refit; their records are in the store.",
            ) from error


def kind_of(records: Sequence[Record]) -> RecordKind:
    """Which part records belong to: all are texts, or all are choices."""
    return "choices" if only_choices(records) else "texts"


def _candidate(data: Any) -> Candidate:
    claim = StyleClaim.model_validate(data["claim"]) if data["claim"] else None
    return Candidate(Hypothesis.model_validate(data["hypothesis"]), frozenset(data["made_from"]), claim)


@dataclass(frozen=True)
class Origin:
    """What a profile was made with; see ``Provenance``."""

    model: str
    scorer: str
    population: str
    program: str
    seed: int
    space: Space


def with_evidence_of(before: Profile | None, kept: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Kept hypotheses with the evidence that an earlier profile had for the same statements.

    Args:
        before: what was believed until now.
        kept: what is believed now; those that are new stay as they are.
    """
    known = _known(before)
    return [each.model_copy(update={"evidence": known.get((each.id, each.statement), each.evidence)}) for each in kept]


def profile_of(
    chosen: Selection, records: Sequence[Record], made: Origin, *, before: Profile | None = None, invented: int = 0
) -> Profile:
    """The profile.

    Args:
        chosen: what the tests left; what was kept has its evidence.
        records: the person's, or the newest of them.
        made: what it was made with.
        before: what was believed until now: its examples may still be shown, and its records count as read.
        invented: quotes of the model that stand in no record.
    """
    direction = {name.removeprefix(SPACE_ID): p for name, p in chosen.direction.items()}
    shown = [*(before.examples if before else ()), *map(as_sample, records)]
    samples = {f"{EXAMPLE_ID}{sample.id}": sample for sample in shown}
    origin = before.provenance if before else Provenance()
    return Profile(
        user=records[0].user,
        hypotheses=[
            each
            for each in chosen.kept
            if each.kind == "statement" and _is_quoted(each, records, carried=before is not None)
        ],
        examples=[samples[each.id] for each in chosen.kept if each.id in samples],
        style=measured_style(records),
        dropped=chosen.dropped,
        direction=direction,
        poles=own_poles(made.space, direction),
        provenance=Provenance(
            records=list(dict.fromkeys([*origin.records, *(record.id for record in records)])),
            choices=origin.choices + _new_choices(records, origin),
            null_alpha=chosen.null_alpha,
            model=made.model,
            scorer=made.scorer,
            population=made.population,
            program=made.program,
            seed=made.seed,
            invented_quotes=origin.invented_quotes + invented,
        ),
    ).touched()


def _new_choices(records: Sequence[Record], origin: Provenance) -> int:
    new = {record.id for record in records if other_text(record) is not None}
    return len(new - set(origin.records))


def _is_quoted(hypothesis: Hypothesis, records: Sequence[Record], *, carried: bool) -> bool:
    """Whether its quotes stand in the records; those of records that are not at hand any more were checked before."""
    if not carried:
        return check_evidence(hypothesis.evidence, records)
    names = {record.id for record in records}
    return check_evidence([item for item in hypothesis.evidence if item.record in names], records)


def _known(before: Profile | None) -> dict[tuple[str, str], list[Evidence]]:
    return {(each.id, each.statement): each.evidence for each in (before.hypotheses if before else ())}


@dataclass(frozen=True)
class Fit:
    """What fitting found, and everything it rests on.

    Attributes:
        profile: the tested profile.
        candidates: all hypotheses that were tried.
        matrices: one for each test; where there are texts and choices, those of the texts first.
        unreadable: answers to the question for hypotheses that were not in the form asked for.
        memory: what is needed to add records later.
        asked: questions that were put to the model, of which one call may hold many.
        undecided: those of them whose answer could not be used; they count for nothing.
    """

    profile: Profile
    candidates: list[Hypothesis]
    matrices: list[ScoreMatrix]
    unreadable: int = 0
    memory: Memory = field(default_factory=Memory)
    asked: int = 0
    undecided: int = 0


def together(texts: Fit, choices: Fit) -> Fit:
    """What somebody's texts and their choices say, as one.

    What either kept is kept. A dimension or a number of which both kept something is said once, as the choices have it:
    they show what the person wants to read. Style is measured in what they wrote, and their own texts are shown before
    answers that they chose.
    """
    written, chosen = texts.profile, choices.profile
    again = _said_again(written.hypotheses, chosen.hypotheses)
    kept = _by_id([*(each for each in written.hypotheses if each.id not in again), *chosen.hypotheses])
    unshown = _unshown(choices) if written.examples else ()
    dropped = _by_id([*written.dropped, *again.values(), *chosen.dropped, *unshown])
    origin = written.provenance
    profile = written.model_copy(
        update={
            "hypotheses": list(kept.values()),
            "dropped": [hypothesis for name, hypothesis in dropped.items() if name not in kept],
            "examples": written.examples or chosen.examples,
            "direction": chosen.direction,
            "poles": {**written.poles, **chosen.poles},
            "provenance": origin.model_copy(
                update={
                    "records": [*origin.records, *chosen.provenance.records],
                    "choices": origin.choices + chosen.provenance.choices,
                    "null_alpha": chosen.provenance.null_alpha,
                    "invented_quotes": origin.invented_quotes + chosen.provenance.invented_quotes,
                }
            ),
        }
    )
    return Fit(
        profile,
        list(_by_id([*texts.candidates, *choices.candidates]).values()),
        [*texts.matrices, *choices.matrices],
        texts.unreadable + choices.unreadable,
        replace(texts.memory, parts={**texts.memory.parts, **choices.memory.parts}),
        texts.asked + choices.asked,
        texts.undecided + choices.undecided,
    )


def _said_again(written: Iterable[Hypothesis], chosen: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    """What numbers say of texts where they say something of choices; by id, with the reason."""
    said = {_feature(each): each.statement for each in chosen if each.source == "measured"}
    return {
        each.id: drop(each, f"their choices say: '{said[_feature(each)]}'")
        for each in written
        if each.source == "measured" and _feature(each) in said
    }


def _feature(measured: Hypothesis) -> str:
    # What an update turned around is of the same feature.
    return measured.id.partition("-")[2].removesuffix("-turned")


def _unshown(choices: Fit) -> Iterable[Hypothesis]:
    examples = {f"{EXAMPLE_ID}{example.id}" for example in choices.profile.examples}
    return (drop(each, "the person's own texts are shown") for each in choices.candidates if each.id in examples)


def _by_id(hypotheses: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    return {hypothesis.id: hypothesis for hypothesis in hypotheses}
