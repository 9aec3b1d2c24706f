"""Statements and examples judged by what people wrote: cells on the person's texts against cells on other people's.

A statement passes if its cells on the person's records lie above those on other people's (one-sided permutation
test, studentized mean difference), at a stated false-discovery rate over all statements (Benjamini and Hochberg 1995).
One with two poles is turned to the pole that fits, and pays for that with a doubled p. Raw examples claim nothing, and
pass where they probably help (``examples``). This file runs no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hyperalign.profile import Hypothesis, TestResult
from hyperalign.scores import ScoreMatrix

from ..difference import studentized
from .examples import no_gain
from .rules import Judged, Rules, drop, rounded, turned

__all__ = ["judge_samples"]


_COUNTS = 0.25
"""Texts that count for less are too old: relabelings have no weights."""
_AT_ONCE = 1_000
"""Relabelings in memory at one time."""


@dataclass(frozen=True)
class _Seen:
    """A hypothesis turned to the pole that fits, and its cells on either side."""

    hypothesis: Hypothesis
    matrix: ScoreMatrix
    records: list[str]
    own: NDArray[np.float64]
    others: NDArray[np.float64]


@dataclass(frozen=True)
class _Tested:
    hypothesis: Hypothesis
    result: TestResult


def judge_samples(tried: Iterable[tuple[Hypothesis, ScoreMatrix]], user: str, rules: Rules) -> list[Judged]:
    """Judge hypotheses by texts.

    Args:
        tried: each hypothesis with the matrix that has a column for it.
        user: whose profile this is; all other rows are the reference population.
        rules: what it takes.

    Returns:
        Each hypothesis with its ``TestResult``, where it could be tested, and why it is dropped.
    """
    outcomes = [_try(hypothesis, matrix, user, rules) for hypothesis, matrix in tried]
    seen = [outcome for outcome in outcomes if isinstance(outcome, _Seen)]
    claims = [each for each in seen if each.hypothesis.kind == "statement"]
    examples = [each for each in seen if each.hypothesis.kind == "example"]
    tested = [_tested(each, p) for each, p in zip(claims, _permutation_ps(claims, rules), strict=True)]
    return [
        *((outcome, outcome.dropped_because) for outcome in outcomes if isinstance(outcome, Hypothesis)),
        *_judge(tested, rules),
        *(_judged_example(each, rules) for each in examples),
    ]


def _try(hypothesis: Hypothesis, matrix: ScoreMatrix, user: str, rules: Rules) -> _Seen | Hypothesis:
    records, own = matrix.of(hypothesis.id, lambda row: row.user == user and row.weight >= _COUNTS)
    _, others = matrix.of(hypothesis.id, lambda row: row.user != user)
    if reason := rules.too_few(len(own), len(others)):
        return drop(hypothesis, reason)
    if hypothesis.source == "space" and float(own.mean()) < float(others.mean()):
        own, others = -own, -others
        hypothesis = turned(hypothesis)
    return _Seen(hypothesis, matrix, records, own, others)


def _tested(seen: _Seen, p: float) -> _Tested:
    gain, low, high = _interval(seen.own, seen.others)
    result = TestResult(
        test=seen.matrix.test,
        gain=rounded(gain),
        low=rounded(low),
        high=rounded(high),
        p=rounded(min(1.0, p * (2 if seen.hypothesis.source == "space" else 1))),
        q=1.0,
        records=seen.records,
        reference_records=len(seen.others),
        scorer=seen.matrix.scorer,
    )
    return _Tested(seen.hypothesis, result)


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
    half = float(special.stdtrit(freedom, 0.95) * np.sqrt(variance))
    return gain, gain - half, gain + half


def _permutation_ps(seen: Sequence[_Seen], rules: Rules) -> list[float]:
    """One-sided p of each that the person's cells are not above other people's: exact where that is affordable."""
    from scipy import stats  # half a second to load, so only where something is tested

    # To draw relabelings is the work here, and they are the same for all that have as many cells on each side.
    together: dict[tuple[int, int], list[int]] = {}
    for at, each in enumerate(seen):
        together.setdefault((len(each.own), len(each.others)), []).append(at)
    ps = [1.0] * len(seen)
    for alike in together.values():
        own, others = np.array([seen[at].own for at in alike]), np.array([seen[at].others for at in alike])
        outcome = stats.permutation_test(
            (own, others),
            studentized,
            permutation_type="independent",
            vectorized=True,
            n_resamples=rules.permutations,
            batch=_AT_ONCE,
            axis=-1,
            alternative="greater",
            rng=np.random.default_rng(rules.seed),
        )
        for at, p in zip(alike, outcome.pvalue.tolist(), strict=True):
            if np.ptp(np.concatenate([seen[at].own, seen[at].others])) > 0:
                ps[at] = p
    return ps


def _judged_example(seen: _Seen, rules: Rules) -> Judged:
    wrong = no_gain(seen.own, seen.others, rules.example)
    tested = _tested(seen, wrong)
    result = tested.result.model_copy(update={"q": tested.result.p})
    sure = wrong <= rules.no_gain
    reason = "" if sure else f"may add nothing: so in {wrong:.0%} of such cases"
    weight = rounded(1 - 2 * wrong) if sure else 0.0
    return tested.hypothesis.model_copy(update={"test": result, "weight": weight}), reason


def _judge(tested: Sequence[_Tested], rules: Rules) -> list[Judged]:
    """Each tested hypothesis with its q and weight, and why it is dropped (empty if it is not)."""
    if not tested:
        return []
    from scipy import stats

    rates = stats.false_discovery_control([t.result.p for t in tested])
    judged = []
    for item, q in zip(tested, rates, strict=True):
        result = item.result.model_copy(update={"q": rounded(float(q))})
        sure = result.gain > 0 and result.low > 0 and q <= rules.fdr
        # How much of the gain is sure: the interval's lower end as a share of it.
        weight = rounded(result.low / result.gain) if sure else 0.0
        hypothesis = item.hypothesis.model_copy(update={"test": result, "weight": weight})
        judged.append((hypothesis, "" if sure else _reason(result, rules)))
    return judged


def _reason(result: TestResult, rules: Rules) -> str:
    if result.gain <= 0:
        return "fits other people at least as well"
    if result.low <= 0:
        return "may be chance: the interval of its gain includes zero"
    return f"may be chance among so many candidates (q {result.q:.2f}, needs {rules.fdr:.2f})"
