"""A profile from what was kept: statements with their evidence, examples, measured style, and where it all came from.

This file neither tests nor chooses, and runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hyperalign.profile import EXAMPLE_ID, SPACE_ID, Evidence, Hypothesis, Profile, Provenance, check_evidence
from hyperalign.records import Record, as_sample, other_text
from hyperalign.space import Space, own_poles
from hyperalign.style.measured import measured_style

from .select import Selection

__all__ = ["Origin", "profile_of", "with_evidence_of"]


@dataclass(frozen=True)
class Origin:
    """What a profile was made with; see ``Provenance``."""

    model: str
    scorer: str
    contrast: str
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
            contrast=made.contrast,
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
