"""What a fit found: the profile, and the memory with all candidates and score matrices that an update needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from hyperalign.dependence import content_of
from hyperalign.errors import InputError
from hyperalign.profile import (
    EXAMPLE_ID,
    SPACE_ID,
    Hypothesis,
    LearnedReward,
    Profile,
    Provenance,
    check_evidence,
)
from hyperalign.records import Record, are_choices, other_text, sort_by_time, to_sample
from hyperalign.scores import ScoreMatrix
from hyperalign.space import Space, own_poles
from hyperalign.style import StyleClaim
from hyperalign.style.reference import measure_style

from .candidates import Candidate
from .selection import Selection, Subjects, drop

__all__ = ["RECENT", "Fit", "FitPart", "Memory", "build_profile", "carry_evidence", "combine", "record_kind"]

RecordKind = Literal["texts", "choices"]

RECENT = 16
"""How many of the newest records a memory keeps: to quote, to show and to propose hypotheses from."""

_SCHEMA = 2
_RECORD: TypeAdapter[Record] = TypeAdapter(Record)


@dataclass(frozen=True)
class FitPart:
    """The fit of one kind of records: texts or choices.

    Attributes:
        profile: the profile that these records give.
        candidates: all hypotheses that were tried.
        matrices: one for each test; the person's rows are in the order in which their records came.
        recent: the newest of the person's records, the newest last.
        read: ids of all of the person's records that were read, in the order in which they came.
        about: for each scope, the ids of the records under it, anybody's.
        failing: whether each of the newest records contradicted the profile when it came, since hypotheses were last
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
        """Add records; the oldest are dropped from ``recent``."""
        read = dict.fromkeys((*self.read, *(record.id for record in records)))
        recent = sort_by_time((*self.recent, *records))[-RECENT:]
        return replace(self, recent=tuple(recent), read=tuple(read))

    def without(self, user: str, record: str | None = None) -> FitPart:
        """Remove another person's records, or one of them."""
        matrices = tuple(matrix.without_person(user, record) for matrix in self.matrices)
        left = {row.record for matrix in matrices for row in matrix.rows}
        about = {scope: tuple(name for name in names if name in left) for scope, names in self.about.items()}
        return replace(self, matrices=matrices, about=about)

    def as_data(self) -> dict[str, Any]:
        """Convert to JSON-able data."""
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
        """Load from ``as_data``; invalid data raises ``KeyError``, ``TypeError`` or ``ValueError``."""
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
    """All that an update needs of earlier fits, as JSON.

    Attributes:
        parts: by kind of records, ``texts`` and ``choices``.
        waiting: records that are too few for statements yet.
        skipped: ids of records that carry no information.
        settings: the model, space and program version; cells of other settings are not comparable.
        reward: as it was learned, without what was changed by hand.
    """

    parts: Mapping[str, FitPart] = field(default_factory=dict)
    waiting: tuple[Record, ...] = ()
    skipped: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    reward: LearnedReward | None = None

    @property
    def learned(self) -> set[str]:
        """Ids of the records that the reward was learned from, or that were skipped."""
        return {row.record for row in (self.reward.rows if self.reward else ())} | set(self.skipped)

    @property
    def known(self) -> set[str]:
        """Ids of the records that statements were tested on, wait for it or were skipped."""
        read = {name for part in self.parts.values() for name in part.read}
        return read | {record.id for record in self.waiting} | set(self.skipped)

    @property
    def contents(self) -> dict[str, tuple[str, str]]:
        """By id of what is known, what is equal for copies; see ``hyperalign.records.content_of``."""
        rows = [row for part in self.parts.values() for matrix in part.matrices for row in matrix.rows]
        known = {
            row.record: row.shares[:2] for row in (*rows, *(self.reward.rows if self.reward else ())) if row.shares
        }
        return known | {record.id: content_of(record) for record in self.waiting}

    @property
    def texts(self) -> list[str]:
        """Ids of the records whose texts the memory holds."""
        recent = [record for part in self.parts.values() for record in part.recent]
        return [record.id for record in (*recent, *self.waiting)]

    def without(self, user: str, record: str | None = None) -> Memory:
        """Remove another person's records, or one of them."""
        return replace(self, parts={kind: part.without(user, record) for kind, part in self.parts.items()})

    def to_json(self) -> str:
        """Convert to JSON."""
        data = {
            "schema": _SCHEMA,
            "settings": dict(self.settings),
            "parts": {kind: part.as_data() for kind, part in self.parts.items()},
            "skipped": list(self.skipped),
            "waiting": [_RECORD.dump_python(record, mode="json") for record in self.waiting],
            "reward": self.reward,
        }
        # Not json.dumps: it takes seconds for the rows of a long history.
        return to_json(data, inf_nan_mode="constants").decode() + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Memory:
        """Load from ``to_json``.

        Args:
            text: the JSON.
            where: how error messages name it.

        Raises:
            InputError: it is not a memory, or of another version.
        """
        try:
            data: dict[str, Any] = from_json(text)
            if data["schema"] != _SCHEMA:
                raise ValueError(f"schema {data['schema']}")
            parts = {kind: FitPart.from_data(each) for kind, each in data["parts"].items()}
            waiting = tuple(_RECORD.validate_json(json.dumps(each)) for each in data["waiting"])
            settings = {str(key): str(value) for key, value in data["settings"].items()}
            reward = LearnedReward.model_validate(data["reward"]) if data["reward"] else None
            return cls(parts, waiting, tuple(map(str, data["skipped"])), settings, reward)
        except (KeyError, TypeError, AttributeError, ValueError, ValidationError) as error:
            raise InputError(
                f"{where}: this is no memory of an earlier fit ({error!s:.120}).",
                remedy="Fit the person anew with --refit; their records are in the store.",
            ) from error


def record_kind(records: Sequence[Record]) -> RecordKind:
    """The kind of records that are all texts or all choices."""
    return "choices" if are_choices(records) else "texts"


def _candidate(data: Any) -> Candidate:
    claim = StyleClaim.model_validate(data["claim"]) if data["claim"] else None
    return Candidate(Hypothesis.model_validate(data["hypothesis"]), frozenset(data["made_from"]), claim)


def carry_evidence(before: Profile | None, kept: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Give kept hypotheses the evidence that an earlier profile had for the same statements."""
    known = {(each.id, each.statement): each.evidence for each in (before.hypotheses if before else ())}
    return [each.model_copy(update={"evidence": known.get((each.id, each.statement), each.evidence)}) for each in kept]


def build_profile(
    chosen: Selection,
    records: Sequence[Record],
    made_with: Provenance,
    space: Space,
    *,
    before: Profile | None = None,
    invented: int = 0,
) -> Profile:
    """Build a profile from a selection.

    Args:
        chosen: the selection; kept hypotheses have their evidence.
        records: the person's, or the newest of them.
        made_with: names the model, scorer, population, program and seed.
        space: the space whose dimensions were tried.
        before: the earlier profile: its examples may still be shown, and its records count as read.
        invented: how many quotes of the model stand in no record.
    """
    direction = {name.removeprefix(SPACE_ID): p for name, p in chosen.direction.items()}
    shown = [*(before.examples if before else ()), *map(to_sample, records)]
    samples = {f"{EXAMPLE_ID}{sample.id}": sample for sample in shown}
    origin = before.provenance if before else Provenance()
    statements = [each for each in chosen.kept if each.kind == "statement"]
    chosen_ids = {record.id for record in records if other_text(record) is not None}
    read = {
        "records": list(dict.fromkeys([*origin.records, *(record.id for record in records)])),
        "choices": origin.choices + len(chosen_ids - set(origin.records)),
        "null_alpha": chosen.null_alpha,
        "invented_quotes": origin.invented_quotes + invented,
    }
    return Profile(
        user=records[0].user,
        hypotheses=[each for each in statements if _is_quoted(each, records, carried=before is not None)],
        examples=[samples[each.id] for each in chosen.kept if each.id in samples],
        style=measure_style(records),
        dropped=chosen.dropped,
        direction=direction,
        poles=own_poles(space, direction),
        provenance=made_with.model_copy(update=read),
    ).touched()


def _is_quoted(hypothesis: Hypothesis, records: Sequence[Record], *, carried: bool) -> bool:
    """Whether its quotes stand in the records; quotes carried over from older records were checked before."""
    if not carried:
        return check_evidence(hypothesis.evidence, records)
    names = {record.id for record in records}
    return check_evidence([item for item in hypothesis.evidence if item.record in names], records)


@dataclass(frozen=True)
class Fit:
    """The result of a fit.

    Attributes:
        profile: the tested profile.
        memory: what the profile rests on, and what ``Personalizer.update`` needs to add records later.
        unreadable: how many proposals of the model could not be parsed.
        asked: how many questions the model was asked; one call may hold many.
        undecided: how many of their answers could not be used.
        skipped: ids of records that teach nothing beside the others, each with the reason.
    """

    profile: Profile
    memory: Memory
    unreadable: int = 0
    asked: int = 0
    undecided: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def candidates(self) -> list[Hypothesis]:
        """All hypotheses that were tried; those of texts before those of choices."""
        tried = (each.hypothesis for part in self.memory.parts.values() for each in part.candidates)
        return list(_by_id(tried).values())

    @property
    def matrices(self) -> list[ScoreMatrix]:
        """One for each test; those of texts before those of choices."""
        return [matrix for part in self.memory.parts.values() for matrix in part.matrices]


def combine(parts: Mapping[str, FitPart], user: str) -> Profile:
    """Combine the profiles of a person's texts and of their choices; without parts, the profile is empty.

    What either kept is kept. Where both kept a statement of the same dimension or feature, that of the choices stays:
    choices show what the person wants to read. Style is measured in texts, and own texts are shown before chosen
    answers.
    """
    if len(parts) < 2:
        return next((part.profile for part in parts.values()), Profile(user=user))
    written, chosen = parts["texts"].profile, parts["choices"].profile
    duplicates = _find_duplicates(written.hypotheses, chosen.hypotheses)
    kept = _by_id([*(each for each in written.hypotheses if each.id not in duplicates), *chosen.hypotheses])
    hidden = _drop_examples(parts["choices"]) if written.examples else ()
    dropped = _by_id([*written.dropped, *duplicates.values(), *chosen.dropped, *hidden])
    origin, other = written.provenance, chosen.provenance
    read = {
        "records": [*origin.records, *other.records],
        "choices": origin.choices + other.choices,
        "null_alpha": other.null_alpha,
        "invented_quotes": origin.invented_quotes + other.invented_quotes,
    }
    combined = {
        "hypotheses": list(kept.values()),
        "dropped": [hypothesis for name, hypothesis in dropped.items() if name not in kept],
        "examples": written.examples or chosen.examples,
        "direction": chosen.direction,
        "poles": {**written.poles, **chosen.poles},
        "provenance": origin.model_copy(update=read),
    }
    return written.model_copy(update=combined)


def _find_duplicates(written: Iterable[Hypothesis], chosen: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    """Measured statements about texts that choices replace, by id, with the reason."""
    said = {_feature(each): each.statement for each in chosen if each.source == "measured"}
    return {
        each.id: drop(each, f"their choices say: '{said[_feature(each)]}'")
        for each in written
        if each.source == "measured" and _feature(each) in said
    }


def _feature(measured: Hypothesis) -> str:
    # An update may have turned it to its other pole.
    return measured.id.partition("-")[2].removesuffix("-turned")


def _drop_examples(choices: FitPart) -> list[Hypothesis]:
    names = {f"{EXAMPLE_ID}{example.id}" for example in choices.profile.examples}
    tried = [each.hypothesis for each in choices.candidates if each.hypothesis.id in names]
    return [drop(each, "the person's own texts are shown") for each in tried]


def _by_id(hypotheses: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    return {hypothesis.id: hypothesis for hypothesis in hypotheses}
