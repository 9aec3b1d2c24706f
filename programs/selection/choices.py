"""Selection from choices: each cell compares a chosen answer with the one that was rejected beside it.

First a permutation test (``effects``) decides whether the choices agree with each other more than random choices would,
and beyond what other people prefer. Only then are statements kept, the most certain first, while the mean probability
of a sign error stays within a stated rate (the local false sign rate of Stephens 2017). A statement that is redundant
with a kept one is dropped.

Statements of the space that fail on all choices are tested again on each subject. Both searches share one error rate
(``Rules.scope_share``): choices on a subject must differ from the rest (``interaction_p``), the statement must pass on
the subject alone, and the person must lean the other way on the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import Hypothesis
from hyperalign.scores import ScoreMatrix

from .effects import (
    Effects,
    Floats,
    Table,
    Tried,
    any_permutation_p,
    estimate_effects,
    find_questions,
    group_by_choices,
    interaction_p,
    permutation_p,
)
from .rules import Z_90, Judged, Rules, make_result, reverse, round_figure

__all__ = ["ChoiceSelection", "Subjects", "find_redundant", "judge_choices", "judge_choices_by_scope"]

Subjects = Mapping[str, Collection[str]]
"""For each scope, the ids of the records that fall under it, of all people."""

_REDUNDANT = 0.9


@dataclass(frozen=True)
class ChoiceSelection:
    """What was kept by choices.

    Attributes:
        judged: each hypothesis with its test result, and why it is dropped.
        direction: by id of hypotheses of the space, the probability of the high pole.
        null_alpha: how often something may be kept under random choices; None where nothing could be tested.
    """

    judged: list[Judged] = field(default_factory=list)
    direction: dict[str, float] = field(default_factory=dict)
    null_alpha: float | None = None


@dataclass(frozen=True)
class _Group:
    """Statements that were tested on the same choices, with the person's effects and the permutation p."""

    table: Table
    effects: Effects
    versions: Sequence[Floats]
    """The person's cells in units of noise: as they are, and minus what other people prefer; the larger p counts."""
    p: float


def judge_choices(tried: Tried, user: str, rules: Rules) -> ChoiceSelection:
    """Judge hypotheses by choices.

    Args:
        tried: the hypotheses.
        user: whose profile this is; all other rows are the reference population.
        rules: what a hypothesis needs to be kept.
    """
    # The null rate goes by all choices, also for statements that only some of them could test.
    matrices = list({id(matrix): matrix for _, matrix in tried}.values())
    questions = find_questions(matrices, user)
    counts = [_effective_count(matrix, user, questions) for matrix in matrices]
    limit = rules.null_alpha_for(max(counts, default=1.0))
    tables = group_by_choices(tried, user)
    reasons = [rules.explain_too_few(len(each.own), each.reference, "choices") for each in tables]
    groups = [None if reason else _test_group(each, rules) for each, reason in zip(tables, reasons, strict=True)]
    tested = [group for group in groups if group]
    # To test several groups is several chances to pass: all of them together must pass, too.
    gate = any_permutation_p(_align(tested), seed=rules.seed)
    judged: list[Judged] = []
    for table, reason, group in zip(tables, reasons, groups, strict=True):
        judged += _judge(group, gate, limit, rules) if group else [(each, reason) for each in table.hypotheses]
    direction = {
        hypothesis.id: round_figure(probability)
        for group in tested
        for hypothesis, probability in zip(group.table.hypotheses, group.effects.positive.tolist(), strict=True)
        if hypothesis.source == "space"
    }
    return ChoiceSelection(judged, direction, min(1.0, limit) if tested else None)


def _effective_count(matrix: ScoreMatrix, user: str, questions: Mapping[str, str]) -> float:
    """The effective sample size of a person's weighted questions (Kish 1965)."""
    by_question = {questions[row.record]: row.weight for row in matrix.rows if row.user == user}
    weights = np.array([*by_question.values()])
    return float(weights.sum() ** 2 / (weights @ weights)) if weights.any() else 1.0


def _test_group(table: Table, rules: Rules) -> _Group:
    own, weights = table.own, table.weights
    found = estimate_effects(own, table.others, rules.prior, weights)
    common = weights @ own / weights.sum() - found.raw
    versions = [weights[:, None] * (own - shift) / found.scale for shift in (0.0, common)]
    return _Group(table, found, versions, max(permutation_p(each, seed=rules.seed) for each in versions))


def _align(groups: Sequence[_Group]) -> list[list[Floats]]:
    """The versions of each group, with a row for each of the person's questions: NaN where the group has no cells."""
    place = {record: at for at, record in enumerate(dict.fromkeys(name for g in groups for name in g.table.records))}
    aligned = []
    for group in groups:
        wide = [np.full((len(place), cells.shape[1]), np.nan) for cells in group.versions]
        for whole, cells in zip(wide, group.versions, strict=True):
            whole[[place[record] for record in group.table.records]] = cells
        aligned.append(wide)
    return aligned


def _judge(group: _Group, gate: float, limit: float, rules: Rules) -> list[Judged]:
    """Keep statements, the most certain first, while the mean probability of a sign error stays within the rate."""
    hypotheses, p = group.table.hypotheses, max(gate, group.p)
    sign_errors = [
        min(positive, 1 - positive) if hypothesis.source == "space" else 1 - positive
        for hypothesis, positive in zip(hypotheses, group.effects.positive.tolist(), strict=True)
    ]
    redundant = find_redundant(np.vstack([group.table.own, *group.table.others]))
    judged: list[Judged] = []
    kept: dict[int, Hypothesis] = {}
    for at in np.argsort(sign_errors, kind="stable").tolist():
        error = sign_errors[at]
        # Over what is kept alone: a statement that is dropped must not lend its certainty to the next one.
        q = (sum(sign_errors[other] for other in kept) + error) / (len(kept) + 1)
        hypothesis = _with_result(group, at, error, q)
        like = next((said for other, said in kept.items() if redundant[at, other]), None)
        if p > limit:
            reason = f"the choices do not point one way (p {p:.2f})"
        elif error >= 0.5:
            reason = "fits other people at least as well"
        elif q > rules.sign_error_rate or error > rules.max_sign_error:
            reason = f"may be chance: wrong in {error:.0%} of such cases"
        elif like is not None:
            reason = f"says much the same as '{like.statement}'"
        elif len(kept) >= rules.max_chosen:
            reason = f"{rules.max_chosen} surer ones were kept"
        else:
            reason = ""
            kept[at] = hypothesis
        judged.append((hypothesis if not reason else hypothesis.model_copy(update={"weight": 0.0}), reason))
    return judged


def find_redundant(cells: Floats) -> NDArray[np.bool_]:
    """Which statements have nearly the same cells up to their sign; cells have shape (choices, statements), no gaps."""
    # Uncentered, so that exchanging chosen and rejected changes nothing.
    products = cells.T @ cells
    lengths = np.sqrt(np.diag(products))
    return np.asarray(np.abs(products) > _REDUNDANT * np.outer(lengths, lengths))


def _with_result(group: _Group, at: int, error: float, q: float) -> Hypothesis:
    hypothesis, found = group.table.hypotheses[at], group.effects
    gain, noise = float(found.raw[at]), float(found.noise[at])
    # The posterior mean decides the pole, not the raw gain.
    if hypothesis.source == "space" and found.mean[at] < 0:
        hypothesis, gain = reverse(hypothesis), -gain
    table, margin = group.table, Z_90 * noise
    result = make_result(table.matrix, table.records, table.reference, gain=gain, margin=margin, p=error, q=q)
    return hypothesis.model_copy(update={"test": result, "weight": round_figure(max(0.0, 1 - 2 * error))})


def judge_choices_by_scope(
    tried: Tried, table: Table | None, user: str, rules: Rules, subjects: Subjects
) -> ChoiceSelection:
    """Judge hypotheses by all choices, then by those on each subject that covers enough of them and not all.

    Args:
        tried: the hypotheses.
        table: the statements of the space among them that may get a scope; None if there are none.
        user: whose profile this is; all other rows are the reference population.
        rules: what a hypothesis needs to be kept.
        subjects: what prompts are about; must not depend on which answer was chosen.
    """
    splits = _find_splits(table.records, subjects, rules) if table else {}
    if table is None or not splits:
        return judge_choices(tried, user, rules)
    found = judge_choices(tried, user, replace(rules, null_alpha=rules.null_alpha * (1 - rules.scope_share)))
    kept = {hypothesis.id for hypothesis, reason in found.judged if not reason}
    scoped = _find_scoped(table, splits, kept, rules)
    judged = [(scoped[h.id], "") if h.id in scoped else (h, reason) for h, reason in found.judged]
    # Both searches together spend the whole rate.
    alpha = None if found.null_alpha is None else min(1.0, found.null_alpha / (1 - rules.scope_share))
    return ChoiceSelection(judged, found.direction, alpha)


def _find_splits(records: Sequence[str], subjects: Subjects, rules: Rules) -> Subjects:
    """The subjects with enough choices on them and enough on the rest, no two on the same choices."""
    splits: dict[tuple[bool, ...], str] = {}
    for scope, ids in subjects.items():
        inside = tuple(record in ids for record in records)
        if min(sum(inside), len(inside) - sum(inside)) >= rules.min_scoped:
            splits.setdefault(inside, scope)
    return {scope: subjects[scope] for scope in splits.values()}


def _find_scoped(table: Table, subjects: Subjects, kept: Collection[str], rules: Rules) -> dict[str, Hypothesis]:
    """Statements that hold on one subject only, by id; none that is kept or redundant with one that is."""
    columns, cells = table.columns, table.own
    inside = np.array([[record in ids for record in table.records] for ids in subjects.values()])
    # In units of scale, so that statements with large cells do not dominate.
    scale = np.sqrt((cells**2).mean(axis=0))
    apart = interaction_p(table.weights[:, None] * cells / np.where(scale > 0, scale, 1.0), inside, seed=rules.seed)
    limit = rules.scope_share * rules.null_alpha_for(len(cells))
    found = [
        hypothesis.model_copy(update={"scope": scope})
        for (scope, ids), p in zip(subjects.items(), apart.tolist(), strict=True)
        if p <= limit
        for hypothesis in _keep_on_subject(table, ids, rules)
    ]
    same = find_redundant(cells)[:, [name in kept for name in columns]]
    said = {*kept, *(columns[at] for at in np.flatnonzero(same.any(axis=1)).tolist())}
    scoped: dict[str, Hypothesis] = {}
    for hypothesis in sorted(found, key=lambda h: (h.test.q if h.test else 1.0, -h.weight, h.id)):
        if hypothesis.id not in said and len(scoped) < rules.max_scoped:
            scoped.setdefault(hypothesis.id, hypothesis)
    return scoped


def _keep_on_subject(table: Table, ids: Collection[str], rules: Rules) -> list[Hypothesis]:
    """Statements that pass on one subject, and lean the other way on the rest."""
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
    """The rows on a subject or on the rest; all rows of other people where too few of theirs are."""
    left_out = {row.record for row in table.matrix.rows if (row.record in ids) != on}
    others = [row for row in table.matrix.rows if row.user != table.user and row.record not in left_out]
    return table.matrix.without(left_out if len(others) >= rules.min_records else left_out & set(table.records))
