"""Statements judged by what people chose: each cell holds a chosen answer against the one turned down.

Two things are asked. **Do the choices point one way at all, and another than everybody's?** (``flips``) If tossed
coins would do so as often, nothing is believed. **Which way?** Leanings are shrunken (``effects``), and statements are
kept, the surest first, while the mean probability of a wrong sign stays within a stated share (the local false sign
rate of Stephens 2017). A statement that says much the same as a surer one is left out. This file runs no model.

Statements that hold on one subject alone: what was dropped on all choices is looked at again, subject by subject.

Looking again is another chance for coins to pass for a person, so both looks share one error rate: a fifth of it goes
to all subjects together (``Rules.scope_share``), the rest to the look at all choices. Within that fifth, the choices on
a subject must point another way than those on the rest (``flips.apart_p``). Then they are judged as if they were all
that the person ever chose, and a statement is kept for the subject if it passes there, was not kept for everything, and
leans the other way on the rest. Only choices are searched, and only for statements of the space, which saw all of them:
texts have too few records a subject for the false-discovery rate to leave anything. This file runs no model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis, TestResult
from hyperalign.scores import Row, ScoreMatrix

from .effects import Effects, Table, any_permutation_p, estimate_effects, interaction_p, permutation_p, widest_table
from .rules import Judged, Rules, rounded, turned

__all__ = ["ByChoices", "Subjects", "find_redundant", "judge_choices", "judge_choices_by_scope"]

_ALIKE = 0.9
_INTERVAL = 1.645


@dataclass(frozen=True)
class ByChoices:
    """What choices say.

    Attributes:
        judged: each hypothesis, with its test, and why it is dropped.
        direction: by hypothesis id of the space, the probability of its high pole.
        null_alpha: how often tossed coins in place of the choices may pass; None where none could be judged.
    """

    judged: list[Judged] = field(default_factory=list)
    direction: dict[str, float] = field(default_factory=dict)
    null_alpha: float | None = None


def judge_choices(tried: Sequence[tuple[Hypothesis, ScoreMatrix]], user: str, rules: Rules) -> ByChoices:
    """Judge hypotheses by choices.

    Args:
        tried: each hypothesis with the matrix that has a column for it.
        user: whose profile this is; all other rows are the reference population.
        rules: what it takes.
    """
    # Hypotheses of one matrix that saw the same choices, the person's and others', share one model.
    together: dict[tuple[int, tuple[str, ...], tuple[str, ...]], list[tuple[Hypothesis, ScoreMatrix]]] = {}
    for hypothesis, matrix in tried:
        seen, beside = (tuple(matrix.of(hypothesis.id, part)[0]) for part in (_is(user), _is_not(user)))
        together.setdefault((id(matrix), seen, beside), []).append((hypothesis, matrix))
    # Statements made from some of the choices are tested by the others alone. What coins may do goes by all of them.
    limit = rules.null_alpha_for(max((_worth(matrix.weights([], user)) for _, matrix in tried), default=1.0))
    weighed = [
        _weigh([hypothesis for hypothesis, _ in alike], alike[0][1], list(seen), user, rules, limit=limit)
        for (_, seen, _), alike in together.items()
    ]
    tested = [each for each in weighed if isinstance(each, _Weighed)]
    # Each group by itself is one more chance for coins: all of them together must point one way, too.
    gate = any_permutation_p(_aligned(tested), seed=rules.seed)
    parts = [each if isinstance(each, ByChoices) else _judge(each, max(gate, each.one_way), rules) for each in weighed]
    return ByChoices(
        [judged for part in parts for judged in part.judged],
        {name: probability for part in parts for name, probability in part.direction.items()},
        min(1.0, limit) if tested else None,
    )


def _is(user: str) -> Callable[[Row], bool]:
    return lambda row: row.user == user


def _is_not(user: str) -> Callable[[Row], bool]:
    return lambda row: row.user != user


@dataclass(frozen=True)
class _Weighed:
    """Statements that saw the same choices, and what came out.

    Attributes:
        hypotheses: the statements.
        matrix: where their cells are.
        cells: shape (choices, statements), the person's and then other people's.
        records: the person's choices.
        others: how many of other people's.
        effects: how far the person leans.
        told: the person's cells, shape (choices, statements), in units of noise: as they are, and beyond everybody's
            taste.
        one_way: how often coins point one way as clearly.
        limit: how often they may.
    """

    hypotheses: Sequence[Hypothesis]
    matrix: ScoreMatrix
    cells: NDArray[np.float64]
    records: list[str]
    others: int
    effects: Effects
    told: Sequence[NDArray[np.float64]]
    one_way: float
    limit: float


def _weigh(
    hypotheses: Sequence[Hypothesis], matrix: ScoreMatrix, records: list[str], user: str, rules: Rules, *, limit: float
) -> _Weighed | ByChoices:
    """What the choices say of statements; what is dropped, where they are too few."""
    columns = [hypothesis.id for hypothesis in hypotheses]
    own, weights = matrix.complete(columns, user), matrix.weights(columns, user)
    people = dict.fromkeys(row.user for row in matrix.rows if row.user != user)
    others = [cells for cells in (matrix.complete(columns, name) for name in people) if len(cells)]
    count = sum(map(len, others))
    if reason := rules.explain_too_few(len(own), count, "choices"):
        return ByChoices([(hypothesis, reason) for hypothesis in hypotheses])
    found = estimate_effects(own, others, rules.prior, weights)
    # Neither tossed coins nor everybody's taste: the choices, and what is left of them beyond other people's.
    common = weights @ own / weights.sum() - found.raw
    told = [weights[:, None] * (own - shift) / found.scale for shift in (0.0, common)]
    one_way = max(permutation_p(each, seed=rules.seed) for each in told)
    return _Weighed(hypotheses, matrix, np.vstack([own, *others]), records, count, found, told, one_way, limit)


def _worth(weights: NDArray[np.float64]) -> float:
    """As how many new choices some count that may be old: those are not seen as often by chance."""
    return float(weights.sum() ** 2 / (weights @ weights)) if weights.any() else 1.0


def _aligned(weighed: Sequence[_Weighed]) -> list[list[NDArray[np.float64]]]:
    """What each group was told, with a row for each of the person's choices: empty where it did not see one."""
    place = {record: at for at, record in enumerate(dict.fromkeys(name for each in weighed for name in each.records))}
    aligned = []
    for each in weighed:
        seen = [np.full((len(place), cells.shape[1]), np.nan) for cells in each.told]
        for whole, cells in zip(seen, each.told, strict=True):
            whole[[place[record] for record in each.records]] = cells
        aligned.append(seen)
    return aligned


def _judge(weighed: _Weighed, one_way: float, rules: Rules) -> ByChoices:
    return ByChoices(_kept_or_not(weighed, one_way, rules), _direction(weighed.hypotheses, weighed.effects))


def _direction(hypotheses: Sequence[Hypothesis], leanings: Effects) -> dict[str, float]:
    return {
        hypothesis.id: rounded(float(probability))
        for hypothesis, probability in zip(hypotheses, leanings.positive, strict=True)
        if hypothesis.source == "space"
    }


def _kept_or_not(weighed: _Weighed, one_way: float, rules: Rules) -> list[Judged]:
    """The surest first: each is kept while the mean probability of a wrong sign stays within the rate."""
    hypotheses = weighed.hypotheses
    wrong = np.array(
        [
            min(p, 1 - p) if hypothesis.source == "space" else 1 - p
            for hypothesis, p in zip(hypotheses, weighed.effects.positive, strict=True)
        ]
    )
    alike = find_redundant(weighed.cells)
    judged: list[Judged] = []
    kept: dict[int, Hypothesis] = {}
    for at in np.argsort(wrong, kind="stable").tolist():
        # Only what is kept counts: a statement that is left out anyway must not lend its sureness to the next.
        q = (sum(float(wrong[other]) for other in kept) + float(wrong[at])) / (len(kept) + 1)
        hypothesis = _tested(hypotheses[at], at, q, float(wrong[at]), weighed)
        like = next((said for other, said in kept.items() if alike[at, other]), None)
        if one_way > weighed.limit:
            reason = f"the choices do not point one way (p {one_way:.2f})"
        elif wrong[at] >= 0.5:
            reason = "fits other people at least as well"
        elif q > rules.sign_error_rate or wrong[at] > rules.max_sign_error:
            reason = f"may be chance: wrong in {wrong[at]:.0%} of such cases"
        elif like is not None:
            reason = f"says much the same as '{like.statement}'"
        elif len(kept) >= rules.max_chosen:
            reason = f"{rules.max_chosen} surer ones were kept"
        else:
            reason = ""
            kept[at] = hypothesis
        judged.append((hypothesis if not reason else hypothesis.model_copy(update={"weight": 0.0}), reason))
    return judged


def find_redundant(cells: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which statements say much the same, either way round, shape (statements, statements).

    Args:
        cells: shape (choices, statements), without gaps.
    """
    # About zero, not about the mean: exchanging chosen and rejected must not change what is alike.
    products = cells.T @ cells
    lengths = np.sqrt(np.diag(products))
    return np.asarray(np.abs(products) > _ALIKE * np.outer(lengths, lengths))


def _tested(hypothesis: Hypothesis, at: int, q: float, wrong: float, weighed: _Weighed) -> Hypothesis:
    found = weighed.effects
    gain, noise = float(found.raw[at]), float(found.noise[at])
    # Not the raw gain's sign: what is believed of it decides which pole is said.
    if hypothesis.source == "space" and found.mean[at] < 0:
        hypothesis, gain = turned(hypothesis), -gain
    result = TestResult(
        test=weighed.matrix.test,
        gain=rounded(gain),
        low=rounded(gain - _INTERVAL * noise),
        high=rounded(gain + _INTERVAL * noise),
        p=rounded(wrong),
        q=rounded(min(1.0, q)),
        records=weighed.records,
        reference_records=weighed.others,
        scorer=weighed.matrix.scorer,
    )
    return hypothesis.model_copy(update={"test": result, "weight": rounded(max(0.0, 1 - 2 * wrong))})


Subjects = Mapping[str, Collection[str]]
"""For each scope, the ids of the records that fall under it, anybody's."""


def judge_choices_by_scope(
    tried: Sequence[tuple[Hypothesis, ScoreMatrix]], user: str, rules: Rules, subjects: Subjects
) -> ByChoices:
    """Judge hypotheses by choices, on all of them and on each subject that covers enough of them and not all.

    Args:
        tried: each hypothesis with the matrix that has a column for it.
        user: whose profile this is; all other rows are the reference population.
        rules: what it takes.
        subjects: what prompts are about; which answer was taken must play no part in it.
    """
    table = widest_table(tried, user)
    splits = _splits(table.records, subjects, rules) if table else {}
    if table is None or not splits:
        return judge_choices(tried, user, rules)
    found = judge_choices(tried, user, replace(rules, null_alpha=rules.null_alpha * (1 - rules.scope_share)))
    kept = {hypothesis.id for hypothesis, reason in found.judged if not reason}
    scoped = _scoped(table, splits, kept, rules)
    judged = [(scoped[h.id], "") if h.id in scoped else (h, reason) for h, reason in found.judged]
    # Both looks together spend the whole rate.
    alpha = None if found.null_alpha is None else min(1.0, found.null_alpha / (1 - rules.scope_share))
    return ByChoices(judged, found.direction, alpha)


def _splits(records: Sequence[str], subjects: Subjects, rules: Rules) -> Subjects:
    """The subjects to look at: with enough choices on them and enough on the rest, no two on the same ones."""
    splits: dict[tuple[bool, ...], str] = {}
    for scope, ids in subjects.items():
        inside = tuple(record in ids for record in records)
        if min(sum(inside), len(inside) - sum(inside)) >= rules.min_scoped:
            splits.setdefault(inside, scope)
    return {scope: subjects[scope] for scope in splits.values()}


def _scoped(table: Table, subjects: Subjects, kept: Collection[str], rules: Rules) -> dict[str, Hypothesis]:
    """Statements that hold on one subject, by id.

    Args:
        table: what was tried.
        subjects: those to look at.
        kept: ids of what holds for everything: neither that nor what says much the same gets a scope.
        rules: what it takes.
    """
    columns, cells = table.columns, table.own
    inside = np.array([[record in ids for record in table.records] for ids in subjects.values()])
    # Statements with loud cells must not decide alone where the choices point.
    scale = np.sqrt((cells**2).mean(axis=0))
    apart = interaction_p(table.weights[:, None] * cells / np.where(scale > 0, scale, 1.0), inside, seed=rules.seed)
    limit = rules.scope_share * rules.null_alpha_for(len(cells))
    found = [
        hypothesis.model_copy(update={"scope": scope})
        for (scope, ids), p in zip(subjects.items(), apart.tolist(), strict=True)
        if p <= limit
        for hypothesis in _held(table, ids, rules)
    ]
    same = find_redundant(cells)[:, [name in kept for name in columns]]
    said = {*kept, *(columns[at] for at in np.flatnonzero(same.any(axis=1)).tolist())}
    scoped: dict[str, Hypothesis] = {}
    for hypothesis in sorted(found, key=lambda h: (h.test.q if h.test else 1.0, -h.weight, h.id)):
        if hypothesis.id not in said and len(scoped) < rules.max_scoped:
            scoped.setdefault(hypothesis.id, hypothesis)
    return scoped


def _held(table: Table, ids: Collection[str], rules: Rules) -> list[Hypothesis]:
    """What passes on one subject, and leans the other way on the rest."""
    on, off = (
        judge_choices([(h, part) for h in table.hypotheses], table.user, rules)
        for part in (_part(table, ids, True, rules), _part(table, ids, False, rules))
    )
    return [
        hypothesis
        for hypothesis, reason in on.judged
        if not reason
        and hypothesis.id in off.direction
        and (on.direction[hypothesis.id] > 0.5) != (off.direction[hypothesis.id] > 0.5)
    ]


def _part(table: Table, ids: Collection[str], on: bool, rules: Rules) -> ScoreMatrix:
    """The choices on a subject or on the rest: other people's too, or all of theirs where those are too few."""
    left_out = {row.record for row in table.matrix.rows if (row.record in ids) != on}
    others = [row for row in table.matrix.rows if row.user != table.user and row.record not in left_out]
    return table.matrix.without(left_out if len(others) >= rules.min_records else left_out & set(table.records))
