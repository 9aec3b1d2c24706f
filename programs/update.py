"""Adds new records to what is known of somebody, without reading the old ones again.

New rows join the score matrix, older ones count less (half as much every half-life), and everything is chosen anew from
its cells: that costs nothing. Only the new records are read by the tests. Records that teach nothing are skipped; what
speaks against what was believed is noted; and where most of what came lately does, new hypotheses are proposed and read
on the newest few records.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hyperalign.errors import InputError
from hyperalign.profile import Evidence, Hypothesis, Profile
from hyperalign.records import Edit, Record, by_kind, content_of, only_choices, other_text, own_text, prompt_of
from hyperalign.scores import ScoreMatrix

from .candidates import Candidate, from_examples, from_measurement, proposal_split
from .evidence import quotable_sentences
from .fit_result import RECENT, Fit, FitPart, Memory, kind_of, together
from .fitting import RecordLike, as_records
from .personalizer import CHOICES_TRIED, Personalizer
from .replies import tally_answers
from .scope import falls_under
from .selection import Subjects

__all__ = ["HALF_LIFE", "Contradiction", "Updated", "update"]

HALF_LIFE = 10.0
"""Records after which evidence counts half, where nothing else is said."""

_LEAST = 4
"""Records that it takes to fit somebody at all."""
_LIVES = 8
"""Half-lives after which a row is let go: it would count for less than half a percent."""
_LOOKED_AT = 8
_FAILING = 0.5
_READ_AGAIN = 4
_FREE = 8
_AGAINST = 0.5
_QUOTED_AGAINST = 3


@dataclass(frozen=True)
class Contradiction:
    """A new record that speaks against something believed.

    Attributes:
        record: its id.
        statement: what was believed when it came.
    """

    record: str
    statement: str


@dataclass(frozen=True)
class Updated:
    """What new records changed.

    Attributes:
        profile: what is believed now.
        memory: for the next update.
        taught: ids of the records that were added.
        skipped: records that teach nothing, by id, each with the reason.
        contradictions: what they spoke against.
        came: statements that are believed now and were not.
        gone: statements that are believed no more.
        asked: questions that were put to the model, of which one call may hold many.
        undecided: those of them whose answer could not be used.
    """

    profile: Profile
    memory: Memory
    taught: Sequence[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    contradictions: Sequence[Contradiction] = ()
    came: Sequence[str] = ()
    gone: Sequence[str] = ()
    asked: int = 0
    undecided: int = 0


def update(person: Personalizer, memory: Memory | None, records: Sequence[RecordLike]) -> Updated:
    """Add records, the oldest first.

    Args:
        person: fits, tests and chooses; older evidence counts less where it has a half-life.
        memory: what an earlier update or ``explain`` left; None for somebody new.
        records: one person's, as ``Personalizer.fit`` takes them.

    Raises:
        InputError: there are none, they are several people's, or the memory is of other tests.
        ModelError: the model can't be used, or most of its answers can't; nothing was changed.
        BudgetExceededError: a cap was reached; nothing was changed.
    """
    with tally_answers() as tally:
        found = _updated(person, memory, records)
    return replace(found, asked=tally.asked, undecided=tally.undecided)


def _updated(person: Personalizer, memory: Memory | None, records: Sequence[RecordLike]) -> Updated:
    fresh = person.memory({})
    memory = memory or fresh
    records = as_records(records, user=next(iter(_users(memory)), None))
    user = _user(memory, records)
    if memory.settings != fresh.settings:
        raise InputError(
            f"What is remembered of {user} was made by {dict(memory.settings)}, and these tests are by "
            f"{dict(fresh.settings)}: their figures can't be put together.",
            remedy="Use the same --model, --scorer and --space as before, or fit anew with --refit.",
        )
    given = {record.id: record for record in records}
    skipped = _skipped(given.values(), memory)
    new = [record for name, record in given.items() if name not in skipped]
    parts, waiting, contradictions = dict(memory.parts), list(memory.waiting), list[Contradiction]()
    for some in by_kind(new):
        kind = kind_of(some)
        if kind in parts:
            parts[kind], against = _added(person, parts[kind], some)
            contradictions += against
            continue
        same = [record for record in waiting if kind_of([record]) == kind]
        waiting = [record for record in waiting if record not in same]
        if len(same) + len(some) < _LEAST:
            waiting += [*same, *some]
        else:
            parts |= person.fit_detailed([*same, *some]).memory.parts
    before, profile = _whole(memory.parts, user), _whole(parts, user)
    old, now = ([each.statement for each in one.hypotheses] for one in (before, profile))
    return Updated(
        profile,
        person.memory(parts, waiting, tuple(dict.fromkeys((*memory.skipped, *skipped)))),
        [record.id for record in new],
        skipped,
        contradictions,
        [each for each in now if each not in old],
        [each for each in old if each not in now],
    )


def _users(memory: Memory) -> set[str]:
    return {part.profile.user for part in memory.parts.values()} | {record.user for record in memory.waiting}


def _user(memory: Memory, records: Sequence[Record]) -> str:
    users = sorted(_users(memory) | {record.user for record in records})
    if len(users) != 1 or not records:
        raise InputError(
            f"An update is of one person's new records, but here are {len(records)} of {', '.join(users) or 'nobody'}.",
            remedy="Give records of one user.",
        )
    return users[0]


def _skipped(records: Iterable[Record], memory: Memory) -> dict[str, str]:
    """Which records are not worth reading, each with the reason."""
    recent = [each for part in memory.parts.values() for each in part.recent]
    seen = {content_of(each) for each in (*recent, *memory.waiting)}
    reasons: dict[str, str] = {}
    for record in records:
        if reason := _teaches_nothing(record, memory, seen):
            reasons[record.id] = reason
        seen.add(content_of(record))
    return reasons


def _teaches_nothing(record: Record, memory: Memory, seen: Container[tuple[str, str, str | None]]) -> str:
    """Why a record is not worth reading; empty if it is."""
    if record.id in memory.skipped:
        return "it taught nothing before"
    if record.id in memory.known:
        return "it was read before"
    other = other_text(record)
    # Not so where capitals or layout differ: that may be all that was corrected.
    if other is not None and own_text(record).strip() == other.strip():
        return "both of its texts say the same"
    return "it repeats a record that was just read" if content_of(record) in seen else ""


def _whole(parts: Mapping[str, FitPart], user: str) -> Profile:
    """What the parts say together; nothing where there are none."""
    fits = [
        Fit(part.profile, [each.hypothesis for each in part.candidates], list(part.matrices))
        for part in (parts.get("texts"), parts.get("choices"))
        if part is not None
    ]
    if not fits:
        return Profile(user=user)
    return fits[0].profile if len(fits) == 1 else together(*fits).profile


def _added(person: Personalizer, part: FitPart, new: Sequence[Record]) -> tuple[FitPart, list[Contradiction]]:
    """A part with new records of its kind: read, held against what was believed, and chosen anew."""
    user = part.profile.user
    others, shown = person.others(user, new)
    # What no test could ever judge is not read now either: it would have cells on the newest records alone.
    tested = {column for matrix in part.matrices for column in matrix.columns}
    told = [each for each in part.candidates if each.hypothesis.id in tested]
    read = [person.filled(test, told, new, user) for test in person.tests(told, new, others)]
    against, failing = _against(part, read, new)
    part = replace(
        _joined(part, read),
        about=_about(part.about, person.about(new)),
        failing=(*part.failing, *failing)[-_LOOKED_AT:],
    ).with_records(new)
    part = _with_proposals(person, _with_measured(person, part, others), others, shown)
    return _chosen_anew(person, _pruned(part, person.half_life), others, against), against


def _joined(part: FitPart, read: Sequence[ScoreMatrix]) -> FitPart:
    matrices = {matrix.test: matrix for matrix in part.matrices}
    for matrix in read:
        matrices[matrix.test] = matrices[matrix.test].joined(matrix) if matrix.test in matrices else matrix
    return replace(part, matrices=tuple(matrices.values()))


def _against(
    part: FitPart, read: Sequence[ScoreMatrix], new: Sequence[Record]
) -> tuple[list[Contradiction], list[bool]]:
    """What the new records speak against, and which of them speak against what is believed on the whole."""
    before = {matrix.test: matrix for matrix in part.matrices}
    poles = {each.hypothesis.id: each.hypothesis.opposite for each in part.candidates}
    sums = dict.fromkeys((record.id for record in new), 0.0)
    found: list[Contradiction] = []
    prompts = {record.id: prompt_of(record) for record in new}
    for hypothesis in part.profile.hypotheses:
        for matrix in read:
            old = before.get(matrix.test)
            if old is None or hypothesis.id not in old.columns or hypothesis.id not in matrix.columns:
                continue
            _, theirs = old.of(hypothesis.id, lambda row: row.user != part.profile.user)
            _, everything = old.of(hypothesis.id, lambda row: True)
            scale = float(np.sqrt((everything**2).mean())) if len(everything) else 0.0
            usual = float(theirs.mean()) if len(theirs) else 0.0
            # A statement that was turned to its other pole is borne out by what lies below.
            sign = -1.0 if hypothesis.statement == poles.get(hypothesis.id) else 1.0
            ids, cells = matrix.of(hypothesis.id, lambda row: True)
            for record, cell in zip(ids, cells.tolist(), strict=True):
                # Off its subject it claims nothing.
                if not falls_under(prompts[record], hypothesis.scope):
                    continue
                apart = sign * (cell - usual) / scale if scale else 0.0
                sums[record] += hypothesis.weight * apart
                if apart < -_AGAINST:
                    found.append(Contradiction(record, hypothesis.statement))
            break
    # Where nothing is believed, nothing foretells what comes either.
    return found, [value < 0 or not part.profile.hypotheses for value in sums.values()]


def _with_measured(person: Personalizer, part: FitPart, others: Sequence[Record]) -> FitPart:
    """What can be measured in the newest records and was not claimed yet: no model reads anything for it."""
    rows = {row.record for matrix in part.matrices for row in matrix.rows if row.user == part.profile.user}
    recent = [record for record in part.recent if record.id in rows]
    made_from = [record for record in proposal_split(recent, person.rules) if not isinstance(record, Edit)]
    known = {each.hypothesis.id for each in part.candidates}
    claimed = {(each.claim.feature, each.claim.direction) for each in part.candidates if each.claim}
    fresh = [
        _renamed(each) if each.hypothesis.id in known else each
        for each in from_measurement(made_from)
        if each.claim and (each.claim.feature, each.claim.direction) not in claimed
    ]
    if not fresh:
        return part
    user = part.profile.user
    read = [person.filled(test, fresh, [*recent, *others], user) for test in person.tests(fresh, recent, others)]
    return _joined(replace(part, candidates=(*part.candidates, *fresh)), read)


def _renamed(candidate: Candidate) -> Candidate:
    """A measured claim beside an older one of the same feature, which it turns around."""
    name = f"{candidate.hypothesis.id}-turned"
    return replace(candidate, hypothesis=candidate.hypothesis.model_copy(update={"id": name}))


def _with_proposals(person: Personalizer, part: FitPart, others: Sequence[Record], shown: Sequence[Record]) -> FitPart:
    """New hypotheses where most of the newest records failed what is believed; at most one question to the model."""
    if len(part.failing) < _LOOKED_AT or np.mean(part.failing) < _FAILING:
        return part
    newest = part.recent[-_LOOKED_AT:]
    free, _, _ = person.proposed(proposal_split(newest, person.rules), shown)
    known = {each.hypothesis.id for each in part.candidates}
    fresh = [each for each in free if each.hypothesis.id not in known]
    part = replace(part, failing=(), candidates=_fewer((*part.candidates, *fresh), part.profile.hypotheses))
    if not fresh:
        return part
    made_from = frozenset().union(*(each.made_from for each in fresh))
    again = [record for record in newest if record.id not in made_from][-_READ_AGAIN:]
    # Beside other people's, without which nothing is judged.
    rows, user = [*again, *others[:_READ_AGAIN]], part.profile.user
    read = [person.filled(test, fresh, rows, user) for test in person.tests(fresh, again, others)]
    return _joined(part, read)


def _fewer(candidates: Sequence[Candidate], believed: Sequence[Hypothesis]) -> tuple[Candidate, ...]:
    """All candidates but the oldest free ones that nobody believes, where those have grown many."""
    kept = {each.id for each in believed}
    free = [c for c in candidates if c.hypothesis.source == "inferred" and c.hypothesis.id not in kept]
    gone = {each.hypothesis.id for each in free[:-_FREE]}
    return tuple(each for each in candidates if each.hypothesis.id not in gone)


def _pruned(part: FitPart, half_life: float | None) -> FitPart:
    """Without the rows that count for nothing any more, and the columns of candidates that are gone."""
    columns = {each.hypothesis.id for each in part.candidates}
    user, matrices = part.profile.user, [matrix.only(columns) for matrix in part.matrices]
    if half_life is not None:
        matrices = [matrix.newest(user, max(RECENT, round(_LIVES * half_life))) for matrix in matrices]
    alive = {row.record for matrix in matrices for row in matrix.rows}
    about = {scope: tuple(name for name in ids if name in alive) for scope, ids in part.about.items()}
    return replace(part, matrices=tuple(matrices), about=about)


def _about(known: Subjects, new: Subjects) -> dict[str, tuple[str, ...]]:
    scopes = dict.fromkeys((*known, *new))
    return {scope: tuple(dict.fromkeys((*known.get(scope, ()), *new.get(scope, ())))) for scope in scopes}


def _chosen_anew(
    person: Personalizer, part: FitPart, others: Sequence[Record], against: Sequence[Contradiction]
) -> FitPart:
    """What all cells say now; what the new records said against it stands beside it."""
    user, recent = part.profile.user, list(part.recent)
    # Choices bear each other out as examples by the cells that are there; texts would have to be read for it.
    shown = from_examples(recent, CHOICES_TRIED) if only_choices(recent) else []
    candidates = [*(each for each in part.candidates if not shown or each.hypothesis.kind == "statement"), *shown]
    chosen = person.selected(candidates, part.matrices, user, part.about)
    profile = person.believed(recent, others, chosen, part.matrices, before=part.profile)
    noted = [_noted(each, against, recent) for each in profile.hypotheses]
    return replace(part, profile=profile.model_copy(update={"hypotheses": noted}), candidates=tuple(candidates))


def _noted(hypothesis: Hypothesis, against: Sequence[Contradiction], records: Sequence[Record]) -> Hypothesis:
    by_id = {record.id: record for record in records}
    quoted = [
        Evidence(quote=quotes[0], record=each.record, supports=False)
        for each in against
        if each.statement == hypothesis.statement and each.record in by_id
        for quotes in [quotable_sentences(by_id[each.record])]
        if quotes
    ]
    if not quoted:
        return hypothesis
    known = [item for item in hypothesis.evidence if not item.supports]
    kept = [item for item in hypothesis.evidence if item.supports]
    return hypothesis.model_copy(update={"evidence": [*kept, *[*known, *quoted][-_QUOTED_AGAINST:]]})
