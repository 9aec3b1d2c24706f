"""Adds new records to a fit without reading the old ones again.

Their rows join the score matrices, and selection runs anew on all cells; with a half-life, older rows count less. Where
most of the newest records contradict the profile, the model proposes new hypotheses, which are tested on a few of them.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hyperalign.dependence import content_of, pass_over
from hyperalign.errors import InputError
from hyperalign.profile import Evidence, Hypothesis, LearnedReward, Profile
from hyperalign.records import Edit, Record, RecordLike, are_choices, as_records, prompt_of, sort_by_time, split_by_kind
from hyperalign.scores import ScoreMatrix

from .candidates import Candidate, from_examples, from_measurement, proposal_split
from .evidence import quotable_sentences
from .fit_result import RECENT, FitPart, Memory, combine, record_kind
from .fitting import CHOICE_EXAMPLES, Fitter
from .replies import tally_answers
from .scope import falls_under
from .selection import Subjects

__all__ = ["HALF_LIFE", "Contradiction", "Update", "update"]

HALF_LIFE = 10.0
"""The default half-life of the command line, in records."""

_MIN_RECORDS = 4
"""The fewest records of a kind that statements are made of."""
_KEPT_HALF_LIVES = 8
"""Half-lives after which a row is dropped: it would count for less than half a percent."""
_FAILING_WINDOW = 8
_FAILING_SHARE = 0.5
_RETESTED_RECORDS = 4
_MAX_PROPOSED = 8
_CONTRADICTION = 0.5
"""How far below other people's mean a cell must lie to contradict, in the column's root mean square."""
_MAX_CONTRARY_QUOTES = 3


@dataclass(frozen=True)
class Contradiction:
    """A new record that contradicts a statement of the profile.

    Attributes:
        record: its id.
        statement: the statement, as the profile had it when the record came.
    """

    record: str
    statement: str


@dataclass(frozen=True)
class Update:
    """The result of an update.

    Attributes:
        profile: the new profile.
        memory: for the next update.
        added: ids of the records that were added.
        skipped: ids of records that carry no information, each with the reason.
        contradictions: what the new records contradicted.
        gained: statements that are new in the profile.
        lost: statements that left the profile.
        asked: how many questions the model was asked; one call may hold many.
        undecided: how many of their answers could not be used.
    """

    profile: Profile
    memory: Memory
    added: Sequence[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    contradictions: Sequence[Contradiction] = ()
    gained: Sequence[str] = ()
    lost: Sequence[str] = ()
    asked: int = 0
    undecided: int = 0


def update(fitter: Fitter, records: Sequence[RecordLike], memory: Memory | None) -> Update:
    """Add records; ``Personalizer.update`` describes it."""
    with tally_answers() as tally:
        found = _update(fitter, records, memory)
    return replace(found, asked=tally.asked, undecided=tally.undecided)


def _update(fitter: Fitter, items: Sequence[RecordLike], memory: Memory | None) -> Update:
    memory = memory or Memory()
    records = as_records(items, user=next(iter(_users(memory)), None))
    user = _check_user(memory, records)
    if not fitter.config.statements:
        return _update_reward(fitter, user, records, memory)
    empty = fitter.remember({})
    if memory.parts and memory.settings != empty.settings:
        raise InputError(
            f"What is remembered of {user} was made by {dict(memory.settings)}, and these tests are by "
            f"{dict(empty.settings)}: their figures can't be put together.",
            remedy="Use the same --model, --scorer and --space as before, or fit anew with --refit.",
        )
    given = sort_by_time(list({record.id: record for record in records}.values()))
    skipped, opposed = _find_skipped(given, memory, memory.known)
    new = [record for record in given if record.id not in skipped]
    parts = {kind: _without(fitter, part, opposed) for kind, part in memory.parts.items()}
    waiting = [record for record in memory.waiting if record.id not in opposed]
    contradictions: list[Contradiction] = []
    for some in split_by_kind(new):
        kind = record_kind(some)
        if kind in parts:
            parts[kind], found = _add(fitter, parts[kind], some)
            contradictions += found
            continue
        same = [record for record in waiting if record_kind([record]) == kind]
        waiting = [record for record in waiting if record not in same]
        if len(same) + len(some) < _MIN_RECORDS:
            waiting += [*same, *some]
        else:
            parts |= fitter.fit([*same, *some]).memory.parts
    # Also of those that contradict each other, which then count for nothing in it.
    reward = fitter.learn_reward(user, [each for each in given if each.id not in memory.learned], memory.reward)
    before, profile = combine(memory.parts, user), combine(parts, user)
    old, now = ([each.statement for each in one.hypotheses] for one in (before, profile))
    remembered = fitter.remember(parts, waiting, tuple(dict.fromkeys((*memory.skipped, *skipped, *opposed))))
    return Update(
        _with_reward(fitter, profile, reward, is_bare=not parts),
        replace(remembered, reward=reward),
        [record.id for record in new],
        skipped,
        contradictions,
        [each for each in now if each not in old],
        [each for each in old if each not in now],
    )


def _update_reward(fitter: Fitter, user: str, records: Sequence[Record], memory: Memory) -> Update:
    """Add records to the reward alone; statements stay as they are."""
    given = sort_by_time(list({record.id: record for record in records}.values()))
    skipped, _ = _find_skipped(given, memory, memory.learned)
    new = [record for record in given if record.id not in skipped]
    reward = fitter.learn_reward(user, [each for each in given if each.id not in memory.learned], memory.reward)
    profile = _with_reward(fitter, combine(memory.parts, user), reward, is_bare=not memory.parts)
    return Update(profile, replace(memory, reward=reward), [record.id for record in new], skipped)


def _with_reward(fitter: Fitter, profile: Profile, reward: LearnedReward, *, is_bare: bool) -> Profile:
    if is_bare:
        return fitter.build_bare_profile(profile.user, reward)
    return profile.model_copy(update={"reward": reward})


def _users(memory: Memory) -> set[str]:
    return {part.profile.user for part in memory.parts.values()} | {record.user for record in memory.waiting}


def _check_user(memory: Memory, records: Sequence[Record]) -> str:
    users = sorted(_users(memory) | {record.user for record in records})
    if len(users) != 1 or not records:
        raise InputError(
            f"An update is of one person's new records, but here are {len(records)} of {', '.join(users) or 'nobody'}.",
            remedy="Give records of one user.",
        )
    return users[0]


def _find_skipped(
    records: Sequence[Record], memory: Memory, known: Container[str]
) -> tuple[dict[str, str], frozenset[str]]:
    """Ids of the records that carry no information, each with the reason; and of known ones that they contradict."""
    ids = {record.id for record in records}
    earlier = {name: content for name, content in memory.contents.items() if name not in ids or name in known}
    contents = set(earlier.values())
    recent = {content_of(each) for part in memory.parts.values() for each in (*part.recent, *memory.waiting)}
    among = pass_over(records)
    reasons: dict[str, str] = {}
    opposed: set[str] = set()
    for record in records:
        own, other = content_of(record)
        against = (
            {name for name, content in earlier.items() if content == (other, own)} if (other, own) in contents else ()
        )
        if record.id in memory.skipped:
            reasons[record.id] = "it taught nothing before"
        elif record.id in known:
            reasons[record.id] = "it was read before"
        elif against and own != other:
            reasons[record.id] = "it contradicts a choice that was read before: neither counts"
            opposed |= against
        elif (own, other) in contents:
            when = "just read" if (own, other) in recent else "read before"
            reasons[record.id] = f"it repeats a record that was {when}"
        elif record.id in among:
            reasons[record.id] = among[record.id]
    return reasons, frozenset(opposed)


def _without(fitter: Fitter, part: FitPart, names: Collection[str]) -> FitPart:
    """The part without records that count for nothing now, selected anew; the same where it has none of them."""
    user = part.profile.user
    rows = {row.record for matrix in part.matrices for row in matrix.rows if row.user == user}
    recent = tuple(record for record in part.recent if record.id not in names)
    if rows.isdisjoint(names):
        return part
    left = replace(part, matrices=tuple(matrix.without(set(names)) for matrix in part.matrices), recent=recent)
    # Without any record at hand, the next one selects.
    return _reselect(fitter, left, fitter.draw_reference(user, recent)[0], ()) if recent else left


def _add(fitter: Fitter, part: FitPart, new: Sequence[Record]) -> tuple[FitPart, list[Contradiction]]:
    """Test the part's candidates on new records of its kind, note contradictions, and select anew."""
    user = part.profile.user
    others, shown = fitter.draw_reference(user, new)
    # A candidate that no test could judge stays untested: it would have cells on the newest records alone.
    tested = {column for matrix in part.matrices for column in matrix.columns}
    candidates = [each for each in part.candidates if each.hypothesis.id in tested]
    read = fitter.test(candidates, new, others, user=user, rows=new)
    contradictions, failing = _find_contradictions(part, read, new)
    part = _join(part, read).with_records(new)
    # Records that are older than known ones do not say that the taste has changed.
    newest = {record.id for record in part.recent[-_FAILING_WINDOW:]}
    late = [fails for record, fails in zip(new, failing, strict=True) if record.id in newest]
    part = replace(
        part,
        about=_merge_subjects(part.about, fitter.find_subjects(new)),
        failing=(*part.failing, *late)[-_FAILING_WINDOW:],
    )
    part = _add_proposals(fitter, _add_measured(fitter, part, others), others, shown)
    return _reselect(fitter, _prune(part, fitter.config.half_life), others, contradictions), contradictions


def _join(part: FitPart, read: Sequence[ScoreMatrix]) -> FitPart:
    matrices = {matrix.test: matrix for matrix in part.matrices}
    for matrix in read:
        matrices[matrix.test] = matrices[matrix.test].joined(matrix) if matrix.test in matrices else matrix
    return replace(part, matrices=tuple(matrices.values()))


def _find_contradictions(
    part: FitPart, read: Sequence[ScoreMatrix], new: Sequence[Record]
) -> tuple[list[Contradiction], list[bool]]:
    """What the new records contradict, and whether each contradicts the profile as a whole."""
    before = {matrix.test: matrix for matrix in part.matrices}
    opposites = {each.hypothesis.id: each.hypothesis.opposite for each in part.candidates}
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
            # Low cells support a statement that was turned to its other pole.
            sign = -1.0 if hypothesis.statement == opposites.get(hypothesis.id) else 1.0
            ids, cells = matrix.of(hypothesis.id, lambda row: True)
            for record, cell in zip(ids, cells.tolist(), strict=True):
                # Outside its scope a statement claims nothing.
                if not falls_under(prompts[record], hypothesis.scope):
                    continue
                apart = sign * (cell - usual) / scale if scale else 0.0
                sums[record] += hypothesis.weight * apart
                if apart < -_CONTRADICTION:
                    found.append(Contradiction(record, hypothesis.statement))
            break
    # An empty profile predicts nothing, so every record fails it.
    return found, [value < 0 or not part.profile.hypotheses for value in sums.values()]


def _add_measured(fitter: Fitter, part: FitPart, others: Sequence[Record]) -> FitPart:
    """Add what is newly measured in the newest records; that takes no model."""
    user = part.profile.user
    rows = {row.record for matrix in part.matrices for row in matrix.rows if row.user == user}
    recent = [record for record in part.recent if record.id in rows]
    split = [record for record in proposal_split(recent, fitter.config.rules) if not isinstance(record, Edit)]
    known = {each.hypothesis.id for each in part.candidates}
    claimed = {(each.claim.feature, each.claim.direction) for each in part.candidates if each.claim}
    fresh = [
        _rename_turned(each) if each.hypothesis.id in known else each
        for each in from_measurement(split)
        if each.claim and (each.claim.feature, each.claim.direction) not in claimed
    ]
    if not fresh:
        return part
    read = fitter.test(fresh, recent, others, user=user, rows=[*recent, *others])
    return _join(replace(part, candidates=(*part.candidates, *fresh)), read)


def _rename_turned(candidate: Candidate) -> Candidate:
    """Rename a measured claim that is the opposite of an earlier one about the same feature."""
    name = f"{candidate.hypothesis.id}-turned"
    return replace(candidate, hypothesis=candidate.hypothesis.model_copy(update={"id": name}))


def _add_proposals(fitter: Fitter, part: FitPart, others: Sequence[Record], shown: Sequence[Record]) -> FitPart:
    """Propose new hypotheses where most of the newest records contradict the profile."""
    if len(part.failing) < _FAILING_WINDOW or np.mean(part.failing) < _FAILING_SHARE:
        return part
    newest = part.recent[-_FAILING_WINDOW:]
    free, _, _ = fitter.propose(proposal_split(newest, fitter.config.rules), shown)
    known = {each.hypothesis.id for each in part.candidates}
    fresh = [each for each in free if each.hypothesis.id not in known]
    part = replace(part, failing=(), candidates=_limit_proposed((*part.candidates, *fresh), part.profile.hypotheses))
    if not fresh:
        return part
    made_from = frozenset().union(*(each.made_from for each in fresh))
    again = [record for record in newest if record.id not in made_from][-_RETESTED_RECORDS:]
    # Other people's cells are needed too: without them nothing is judged.
    rows = [*again, *others[:_RETESTED_RECORDS]]
    return _join(part, fitter.test(fresh, again, others, user=part.profile.user, rows=rows))


def _limit_proposed(candidates: Sequence[Candidate], kept: Sequence[Hypothesis]) -> tuple[Candidate, ...]:
    """Drop the oldest proposed hypotheses that are not in the profile, down to a fixed number."""
    names = {each.id for each in kept}
    free = [c for c in candidates if c.hypothesis.source == "inferred" and c.hypothesis.id not in names]
    dropped = {each.hypothesis.id for each in free[:-_MAX_PROPOSED]}
    return tuple(each for each in candidates if each.hypothesis.id not in dropped)


def _prune(part: FitPart, half_life: float | None) -> FitPart:
    """Drop rows that hardly count any more, and columns of candidates that were dropped."""
    columns = {each.hypothesis.id for each in part.candidates}
    user, matrices = part.profile.user, [matrix.only(columns) for matrix in part.matrices]
    if half_life is not None:
        matrices = [matrix.newest(user, max(RECENT, round(_KEPT_HALF_LIVES * half_life))) for matrix in matrices]
    rows = {row.record for matrix in matrices for row in matrix.rows}
    about = {scope: tuple(name for name in ids if name in rows) for scope, ids in part.about.items()}
    return replace(part, matrices=tuple(matrices), about=about)


def _merge_subjects(known: Subjects, new: Subjects) -> dict[str, tuple[str, ...]]:
    scopes = dict.fromkeys((*known, *new))
    return {scope: tuple(dict.fromkeys((*known.get(scope, ()), *new.get(scope, ())))) for scope in scopes}


def _reselect(
    fitter: Fitter, part: FitPart, others: Sequence[Record], contradictions: Sequence[Contradiction]
) -> FitPart:
    """Select among all candidates anew, and quote contradictions beside the statements that stay."""
    user, recent = part.profile.user, list(part.recent)
    # Choices as examples are judged by cells that are there; texts would have to be read for it.
    shown = from_examples(recent, CHOICE_EXAMPLES) if are_choices(recent) else []
    candidates = [*(each for each in part.candidates if not shown or each.hypothesis.kind == "statement"), *shown]
    chosen = fitter.select(candidates, part.matrices, user, part.about)
    profile = fitter.build_profile(recent, others, chosen, part.matrices, before=part.profile)
    quoted = [_quote_contradictions(each, contradictions, recent) for each in profile.hypotheses]
    return replace(part, profile=profile.model_copy(update={"hypotheses": quoted}), candidates=tuple(candidates))


def _quote_contradictions(
    hypothesis: Hypothesis, contradictions: Sequence[Contradiction], records: Sequence[Record]
) -> Hypothesis:
    by_id = {record.id: record for record in records}
    new = [
        Evidence(quote=quotes[0], record=each.record, supports=False)
        for each in contradictions
        if each.statement == hypothesis.statement and each.record in by_id
        for quotes in [quotable_sentences(by_id[each.record])]
        if quotes
    ]
    if not new:
        return hypothesis
    known = [item for item in hypothesis.evidence if not item.supports]
    kept = [item for item in hypothesis.evidence if item.supports]
    return hypothesis.model_copy(update={"evidence": [*kept, *[*known, *new][-_MAX_CONTRARY_QUOTES:]]})
