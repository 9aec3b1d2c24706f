"""Which of somebody's choices may be shown as examples of what they like: those that their other choices bear out.

A choice shown as an example claims no more than itself, and carries what no statement of the space does: so it is shown
unless it is the odd one out. Each is held against the direction that the others point in, itself left out; where they
almost surely point the other way, it is not shown. Nor are anybody's choices of whom nothing is believed: where no
statement is kept, no example is, so that coins give no more profiles. The cells are those of the statements: no model
reads anything for it. This file runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hyperalign.profile import Hypothesis, TestResult

from .effects import Prior, effects
from .rules import Judged, Rules, rounded
from .table import Table

__all__ = ["borne_out", "judge_chosen"]

_INTERVAL = 1.645


def judge_chosen(examples: Sequence[Hypothesis], table: Table | None, believed: bool, rules: Rules) -> list[Judged]:
    """Judge choices as examples.

    Args:
        examples: each with the record that it is, as its evidence.
        table: the cells of statements on the person's choices; None if there are none.
        believed: whether anything that these choices say was kept for all prompts.
        rules: what it takes.
    """
    if not believed or table is None:
        return [(example, "nothing that the choices say was kept for all prompts") for example in examples]
    own, others, weights = table.own, table.others, table.weights
    if reason := rules.too_few(len(own) - 1, sum(map(len, others)), "other choices"):
        return [(example, reason) for example in examples]
    judged: list[Judged] = []
    for example in examples:
        record = example.evidence[0].record if example.evidence else ""
        if record not in table.records:
            judged.append((example, "no test could judge it"))
            continue
        at = table.records.index(record)
        gain, spread = borne_out(own, others, at, rules.prior, weights)
        against = float(special.ndtr(-gain / spread))
        result = TestResult(
            test=table.matrix.test,
            gain=rounded(gain),
            low=rounded(gain - _INTERVAL * spread),
            high=rounded(gain + _INTERVAL * spread),
            p=rounded(against),
            q=rounded(against),
            records=[name for name in table.records if name != record],
            reference_records=sum(map(len, others)),
            scorer=table.matrix.scorer,
        )
        reason = f"the other choices do not bear it out (p {against:.2f})" if against > rules.odd_one_out else ""
        weight = 0.0 if reason else rounded(max(0.0, 1 - 2 * against))
        judged.append((example.model_copy(update={"test": result, "weight": weight}), reason))
    return judged


def borne_out(
    own: NDArray[np.float64],
    others: list[NDArray[np.float64]],
    at: int,
    prior: Prior,
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, float]:
    """How much the other choices of a person speak for one of them.

    Args:
        own: their cells, shape (choices, statements), without gaps.
        others: the same for each other person.
        at: which choice.
        prior: how far people differ.
        weights: how much each choice of theirs counts, shape (choices,); all alike if None.

    Returns:
        The log-odds that this answer was chosen and not the other, in nats, as the leanings that the other choices
        show would have it (mean), and how sure that is (standard deviation).
    """
    left = None if weights is None else np.delete(weights, at)
    found = effects(np.delete(own, at, axis=0), others, prior, left)
    # The log-odds between two normal densities that differ in sign alone are linear in the leanings.
    slope = 2 * np.linalg.solve(found.single, own[at])
    return float(slope @ found.mean), float(np.sqrt(max(slope @ found.covariance @ slope, 1e-12)))
