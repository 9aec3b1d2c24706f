"""Chooses what to believe: pure functions of score matrices.

A hypothesis is kept if its cells on the person's records lie above those on other people's
(one-sided permutation test, studentized mean difference), at a stated false-discovery rate
over all statements, and over all raw examples (Benjamini and Hochberg 1995). A hypothesis with two poles is turned to
the pole that fits, and pays for that with a doubled p. What is dropped keeps its reason, and
nothing at all may be kept. This file runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, TestResult
from hyperalign.scores import ScoreMatrix

from .difference import studentized

__all__ = ["Rules", "Selection", "select"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What it takes to be kept.

    Attributes:
        fdr: false-discovery rate: the expected share of kept hypotheses that are chance.
        min_records: cells needed on the person's records, and on other people's.
        max_statements: at most so many statements, the surest first.
        max_measured: at most so many of them from measured style, which stands in the profile anyway.
        max_examples: at most so many raw examples.
        permutations: at most so many relabelings; all of them where there are fewer.
        seed: of the sampled permutations.

    Raises:
        InputError: ``min_records`` is below 2, where nothing has a spread.
    """

    fdr: float = 0.10
    min_records: int = 3
    max_statements: int = 8
    max_measured: int = 4
    max_examples: int = 2
    permutations: int = 9_999
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_records < 2:
            raise InputError(f"min_records is {self.min_records}.", remedy="A spread needs at least 2 records.")


@dataclass(frozen=True)
class Selection:
    """What was kept, the surest first, and what was dropped, each with its reason."""

    kept: list[Hypothesis] = field(default_factory=list)
    dropped: list[Hypothesis] = field(default_factory=list)


@dataclass(frozen=True)
class _Tested:
    hypothesis: Hypothesis
    result: TestResult


def select(
    hypotheses: Sequence[Hypothesis], matrices: Sequence[ScoreMatrix], user: str, rules: Rules | None = None
) -> Selection:
    """Split candidates into kept and dropped.

    Args:
        hypotheses: the candidates.
        matrices: one for each test; a candidate is judged by the first that has a column for it.
        user: whose profile this is; all other rows are the reference population.
        rules: what it takes; ``Rules()`` if None.

    Returns:
        The selection; each hypothesis carries its ``TestResult`` where it could be tested.
    """
    rules = rules or Rules()
    tested: list[_Tested] = []
    dropped: list[Hypothesis] = []
    for hypothesis in hypotheses:
        matrix = next((m for m in matrices if hypothesis.id in m.columns), None)
        if matrix is None:
            dropped.append(_drop(hypothesis, "no test could judge it"))
            continue
        outcome = _try(hypothesis, matrix, user, rules)
        if isinstance(outcome, _Tested):
            tested.append(outcome)
        else:
            dropped.append(outcome)
    passed: list[Hypothesis] = []
    by_kind = [[t for t in tested if t.hypothesis.kind == kind] for kind in ("statement", "example")]
    for hypothesis, reason in (each for family in by_kind for each in _judge(family, rules)):
        if reason:
            dropped.append(_drop(hypothesis, reason))
        else:
            passed.append(hypothesis)
    kept, surplus = _budgeted(passed, rules)
    return Selection(kept, [*surplus, *dropped])


def _try(hypothesis: Hypothesis, matrix: ScoreMatrix, user: str, rules: Rules) -> _Tested | Hypothesis:
    records, own = matrix.of(hypothesis.id, lambda row: row.user == user)
    _, others = matrix.of(hypothesis.id, lambda row: row.user != user)
    if len(own) < rules.min_records:
        return _drop(hypothesis, f"only {len(own)} of the person's records could test it (needs {rules.min_records})")
    if len(others) < rules.min_records:
        return _drop(hypothesis, f"only {len(others)} records of other people to compare with")
    turned = hypothesis.source == "space" and float(own.mean()) < float(others.mean())
    if turned:
        own, others = -own, -others
        hypothesis = hypothesis.model_copy(update={"statement": hypothesis.opposite, "opposite": hypothesis.statement})
    gain, low, high = _interval(own, others)
    p = _permutation_p(own, others, rules) * (2 if hypothesis.source == "space" else 1)
    result = TestResult(
        test=matrix.test,
        gain=_rounded(gain),
        low=_rounded(low),
        high=_rounded(high),
        p=_rounded(min(1.0, p)),
        q=1.0,
        records=records,
        reference_records=len(others),
        scorer=matrix.scorer,
    )
    return _Tested(hypothesis, result)


def _interval(own: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean difference with its 90 % interval (Welch)."""
    gain = float(own.mean() - others.mean())
    # Not scipy's own t-test: it warns where cells are alike on one side, as they often are by choice, and people are
    # fitted in threads, where a warning cannot be held back.
    mine, theirs = own.var(ddof=1) / len(own), others.var(ddof=1) / len(others)
    variance = mine + theirs
    if variance == 0:
        return gain, gain, gain
    # In shares of the variance, since the square of a tiny variance is no number any more.
    share = mine / variance
    freedom = 1 / (share**2 / (len(own) - 1) + (1 - share) ** 2 / (len(others) - 1))
    half = float(stats.t.ppf(0.95, freedom) * np.sqrt(variance))
    return gain, gain - half, gain + half


def _permutation_p(own: NDArray[np.float64], others: NDArray[np.float64], rules: Rules) -> float:
    """One-sided p that the person's cells are not above other people's: exact where that is affordable."""
    if np.ptp(np.concatenate([own, others])) == 0:
        return 1.0
    outcome = stats.permutation_test(
        (own, others),
        studentized,
        permutation_type="independent",
        vectorized=True,
        n_resamples=rules.permutations,
        alternative="greater",
        rng=np.random.default_rng(rules.seed),
    )
    return float(outcome.pvalue)


def _judge(tested: Sequence[_Tested], rules: Rules) -> list[tuple[Hypothesis, str]]:
    """Each tested hypothesis with its q and weight, and why it is dropped (empty if it is not)."""
    if not tested:
        return []
    rates = stats.false_discovery_control([t.result.p for t in tested])
    judged = []
    for item, q in zip(tested, rates, strict=True):
        result = item.result.model_copy(update={"q": _rounded(float(q))})
        sure = result.gain > 0 and result.low > 0 and q <= rules.fdr
        # How much of the gain is sure: the interval's lower end as a share of it.
        weight = _rounded(result.low / result.gain) if sure else 0.0
        hypothesis = item.hypothesis.model_copy(update={"test": result, "weight": weight})
        judged.append((hypothesis, "" if sure else _reason(result, rules)))
    return judged


def _reason(result: TestResult, rules: Rules) -> str:
    if result.gain <= 0:
        return "fits other people at least as well"
    if result.low <= 0:
        return "may be chance: the interval of its gain includes zero"
    return f"may be chance among so many candidates (q {result.q:.2f}, needs {rules.fdr:.2f})"


def _budgeted(passed: Sequence[Hypothesis], rules: Rules) -> tuple[list[Hypothesis], list[Hypothesis]]:
    """The surest of each kind, within their number."""
    surest = sorted(passed, key=lambda h: (h.test.q if h.test else 1.0, -h.weight, h.id))
    kept: list[Hypothesis] = []
    surplus: list[Hypothesis] = []
    for hypothesis in surest:
        same = [k for k in kept if k.kind == hypothesis.kind]
        limit = rules.max_statements if hypothesis.kind == "statement" else rules.max_examples
        if hypothesis.source == "measured" and sum(k.source == "measured" for k in same) >= rules.max_measured:
            surplus.append(_drop(hypothesis, f"{rules.max_measured} surer measurements were kept"))
        elif len(same) >= limit:
            surplus.append(_drop(hypothesis, f"{limit} surer ones were kept"))
        else:
            kept.append(hypothesis)
    return kept, surplus


def _drop(hypothesis: Hypothesis, reason: str) -> Hypothesis:
    return hypothesis.model_copy(update={"dropped_because": reason, "weight": 0.0})


def _rounded(value: float) -> float:
    return round(value, 5)
