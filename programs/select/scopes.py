"""Statements that hold on one subject alone: what was dropped on all choices is looked at again, subject by subject.

Looking again is another chance for coins to pass for a person, so both looks share one error rate: a fifth of it goes
to all subjects together (``Rules.scope_share``), the rest to the look at all choices. Within that fifth, the choices on
a subject must point another way than those on the rest (``flips.apart_p``). Then they are judged as if they were all
that the person ever chose, and a statement is kept for the subject if it passes there, was not kept for everything, and
leans the other way on the rest. Only choices are searched, and only for statements of the space, which saw all of them:
texts have too few records a subject for the false-discovery rate to leave anything. This file runs no model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hyperalign.profile import Hypothesis
from hyperalign.scores import ScoreMatrix

from .choices import ByChoices, judge_choices, much_the_same
from .flips import apart_p
from .rules import Rules
from .table import Table, widest_table

__all__ = ["Subjects", "judge_with_scopes"]

Subjects = Mapping[str, Collection[str]]
"""For each scope, the ids of the records that fall under it, anybody's."""


def judge_with_scopes(
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
    found = judge_choices(tried, user, replace(rules, coins=rules.coins * (1 - rules.scope_share)))
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
    apart = apart_p(table.weights[:, None] * cells / np.where(scale > 0, scale, 1.0), inside, seed=rules.seed)
    limit = rules.scope_share * rules.chance(len(cells))
    found = [
        hypothesis.model_copy(update={"scope": scope})
        for (scope, ids), p in zip(subjects.items(), apart.tolist(), strict=True)
        if p <= limit
        for hypothesis in _held(table, ids, rules)
    ]
    same = much_the_same(cells)[:, [name in kept for name in columns]]
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
