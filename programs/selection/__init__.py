"""Selection: which tested hypotheses a profile may state. Pure functions of score matrices.

Texts (``samples``) and choices (``choices``) have tests of their own. Both compare the person's cells with other
people's and hold a stated error rate. What is dropped keeps its reason, and nothing at all may be kept.
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
        rules: what a hypothesis needs to be kept; ``Rules()`` if None.
        subjects: what the records' prompts are about; if None, statements are kept for all prompts or not at all.

    Returns:
        The selection; each hypothesis has its ``TestResult`` where it could be tested.
    """
    rules = rules or Rules()
    choices = any(matrix.all_paired(user) for matrix in matrices)
    shown = [hypothesis for hypothesis in hypotheses if choices and hypothesis.kind == "example"]
    hypotheses = [hypothesis for hypothesis in hypotheses if hypothesis not in shown]
    tried = [(h, next((matrix for matrix in matrices if h.id in matrix.columns), None)) for h in hypotheses]
    dropped = [drop(hypothesis, "no test could judge it") for hypothesis, matrix in tried if matrix is None]
    known = [(hypothesis, matrix) for hypothesis, matrix in tried if matrix is not None]
    # Where a person gave texts beside choices, all their records are compared with other people's as texts are.
    chosen = [(hypothesis, matrix) for hypothesis, matrix in known if matrix.all_paired(user)]
    written = [(hypothesis, matrix) for hypothesis, matrix in known if not matrix.all_paired(user)]
    table = widest_table(chosen, user)
    by_choices = judge_choices_by_scope(chosen, table, user, rules, subjects or {})
    # What holds on one subject alone is no evidence about the choices on all others.
    found_any = any(not reason and not hypothesis.scope for hypothesis, reason in by_choices.judged)
    judged = [
        *by_choices.judged,
        *judge_example_choices(shown, table, found_any, rules),
        *judge_samples(written, user, rules),
    ]
    kept, surplus = _limit([hypothesis for hypothesis, reason in judged if not reason], rules)
    dropped += [*surplus, *(drop(hypothesis, reason) for hypothesis, reason in judged if reason)]
    statements = {hypothesis.id: hypothesis.statement for hypothesis in hypotheses}
    turned = frozenset(each.id for each in kept if each.statement != statements.get(each.id, each.statement))
    return Selection(kept, dropped, by_choices.direction, turned, by_choices.null_alpha)


def _limit(passed: Sequence[Hypothesis], rules: Rules) -> tuple[list[Hypothesis], list[Hypothesis]]:
    """The most significant of each kind within their limits, and the rest."""
    kept: list[Hypothesis] = []
    surplus: list[Hypothesis] = []
    for hypothesis in sorted(passed, key=lambda h: (h.test.q if h.test else 1.0, -h.weight, h.id)):
        same = [k for k in kept if k.kind == hypothesis.kind]
        limit = rules.max_statements if hypothesis.kind == "statement" else rules.max_examples
        if hypothesis.source == "measured" and sum(k.source == "measured" for k in same) >= rules.max_measured:
            surplus.append(drop(hypothesis, f"{rules.max_measured} surer measurements were kept"))
        elif len(same) >= limit:
            surplus.append(drop(hypothesis, f"{limit} surer ones were kept"))
        else:
            kept.append(hypothesis)
    return kept, surplus
