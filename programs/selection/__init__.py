"""Chooses what to believe: pure functions of score matrices.

What people wrote and what they chose are judged in their own ways (``samples``, ``choices``); both hold the person's
cells against other people's, and state how many of what they keep is chance. What is dropped keeps its reason, and
nothing at all may be kept. This package runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence

from hyperalign.profile import Hypothesis
from hyperalign.scores import ScoreMatrix

from .choices import Subjects, judge_choices_by_scope
from .effects import widest_table
from .rules import Rules, Selection, drop
from .samples import judge_example_choices, judge_samples

__all__ = ["Rules", "Selection", "Subjects", "drop", "select"]


def select(
    hypotheses: Sequence[Hypothesis],
    matrices: Sequence[ScoreMatrix],
    user: str,
    rules: Rules | None = None,
    subjects: Subjects | None = None,
) -> Selection:
    """Split candidates into kept and dropped.

    Args:
        hypotheses: the candidates.
        matrices: one for each test; a candidate is judged by the first that has a column for it.
        user: whose profile this is; all other rows are the reference population.
        rules: what it takes; ``Rules()`` if None.
        subjects: what the records' prompts are about; without any, statements are kept for all prompts or not at all.

    Returns:
        The selection; each hypothesis carries its ``TestResult`` where it could be tested.
    """
    rules = rules or Rules()
    choices = any(matrix.all_paired(user) for matrix in matrices)
    shown = [hypothesis for hypothesis in hypotheses if choices and hypothesis.kind == "example"]
    hypotheses = [hypothesis for hypothesis in hypotheses if hypothesis not in shown]
    tried = [(hypothesis, _matrix_of(hypothesis, matrices)) for hypothesis in hypotheses]
    dropped = [drop(hypothesis, "no test could judge it") for hypothesis, matrix in tried if matrix is None]
    known = [(hypothesis, matrix) for hypothesis, matrix in tried if matrix is not None]
    # Somebody's choices are judged as such; where texts are among their records, all are held against other people's.
    chosen = [(hypothesis, matrix) for hypothesis, matrix in known if matrix.all_paired(user)]
    written = [(hypothesis, matrix) for hypothesis, matrix in known if not matrix.all_paired(user)]
    by_choices = judge_choices_by_scope(chosen, user, rules, subjects or {})
    # What holds on one subject alone says nothing of the choices on all the others.
    believed = any(not reason and not hypothesis.scope for hypothesis, reason in by_choices.judged)
    judged = [
        *by_choices.judged,
        *judge_example_choices(shown, widest_table(chosen, user), believed, rules),
        *judge_samples(written, user, rules),
    ]
    kept, surplus = _budgeted([hypothesis for hypothesis, reason in judged if not reason], rules)
    dropped += [*surplus, *(drop(hypothesis, reason) for hypothesis, reason in judged if reason)]
    originals = {hypothesis.id: hypothesis for hypothesis in hypotheses}
    turned = {each.id for each in kept if each.id in originals and each.statement != originals[each.id].statement}
    return Selection(kept, dropped, by_choices.direction, frozenset(turned), by_choices.null_alpha)


def _matrix_of(hypothesis: Hypothesis, matrices: Sequence[ScoreMatrix]) -> ScoreMatrix | None:
    return next((matrix for matrix in matrices if hypothesis.id in matrix.columns), None)


def _budgeted(passed: Sequence[Hypothesis], rules: Rules) -> tuple[list[Hypothesis], list[Hypothesis]]:
    """The surest of each kind, within their number."""
    surest = sorted(passed, key=lambda h: (h.test.q if h.test else 1.0, -h.weight, h.id))
    kept: list[Hypothesis] = []
    surplus: list[Hypothesis] = []
    for hypothesis in surest:
        same = [k for k in kept if k.kind == hypothesis.kind]
        limit = rules.max_statements if hypothesis.kind == "statement" else rules.max_examples
        if hypothesis.source == "measured" and sum(k.source == "measured" for k in same) >= rules.max_measured:
            surplus.append(drop(hypothesis, f"{rules.max_measured} surer measurements were kept"))
        elif len(same) >= limit:
            surplus.append(drop(hypothesis, f"{limit} surer ones were kept"))
        else:
            kept.append(hypothesis)
    return kept, surplus
