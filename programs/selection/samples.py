"""Raw examples judged by texts: kept where what they add is probably more than nothing.

An example claims nothing, so it can be wrong in one way only: that it makes the person's texts no likelier than other
people's. What examples do for most people is known from development people, and three texts on each side say little by
themselves; so the gain is shrunken toward that (the normal model of empirical Bayes, Efron and Morris 1973), and an
example goes where the person's own texts speak against it. This file runs no model.

Which of somebody's choices may be shown as examples of what they like: those that their other choices bear out.

A choice shown as an example claims no more than itself, and carries what no statement of the space does: so it is shown
unless it is the odd one out. Each is held against the direction that the others point in, itself left out; where they
almost surely point the other way, it is not shown. Nor are anybody's choices of whom nothing is believed: where no
statement is kept, no example is, so that coins give no more profiles. The cells are those of the statements: no model
reads anything for it. This file runs no model.

How far a person's cells lie above other people's, in standard errors: what screening and selection both ask.

Statements and examples judged by what people wrote: cells on the person's texts against cells on other people's.

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
from hyperalign.scores import ScoreMatrix, welch_t

from .effects import Prior, Table, estimate_effects
from .rules import ExamplePrior, Judged, Rules, drop, rounded, turned

__all__ = ["judge_example_choices", "judge_samples", "leave_one_out", "no_gain"]

# How many cells the development people's spread is worth beside the person's own.
_PRIOR_CELLS = 4


def no_gain(own: NDArray[np.float64], others: NDArray[np.float64], prior: ExamplePrior) -> float:
    """Probability that an example adds nothing to the person's texts beyond what it adds to anybody's.

    Args:
        own: cells of the person's records, at least one.
        others: cells of other people's, at least one.
        prior: what examples do.
    """
    apart = sum(float(((cells - cells.mean()) ** 2).sum()) for cells in (own, others))
    freedom = len(own) + len(others) - 2
    cell = (_PRIOR_CELLS * prior.cell**2 + apart) / (_PRIOR_CELLS + freedom)
    noise = cell * (1 / len(own) + 1 / len(others))
    trust = prior.between**2 / (prior.between**2 + noise)
    believed = prior.mean + trust * (float(own.mean() - others.mean()) - prior.mean)
    return float(special.ndtr(-believed / np.sqrt((1 - trust) * prior.between**2)))


_INTERVAL = 1.645


def judge_example_choices(
    examples: Sequence[Hypothesis], table: Table | None, believed: bool, rules: Rules
) -> list[Judged]:
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
    if reason := rules.explain_too_few(len(own) - 1, sum(map(len, others)), "other choices"):
        return [(example, reason) for example in examples]
    judged: list[Judged] = []
    for example in examples:
        record = example.evidence[0].record if example.evidence else ""
        if record not in table.records:
            judged.append((example, "no test could judge it"))
            continue
        at = table.records.index(record)
        gain, spread = leave_one_out(own, others, at, rules.prior, weights)
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


def leave_one_out(
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
    found = estimate_effects(np.delete(own, at, axis=0), others, prior, left)
    # The log-odds between two normal densities that differ in sign alone are linear in the leanings.
    slope = 2 * np.linalg.solve(found.single, own[at])
    return float(slope @ found.mean), float(np.sqrt(max(slope @ found.covariance @ slope, 1e-12)))


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
    if reason := rules.explain_too_few(len(own), len(others)):
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
            welch_t,
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
