"""Selection from texts, and of raw examples: cells on the person's records against cells on other people's.

A statement passes if its cells on the person's texts lie above those on other people's (one-sided permutation test of
Welch's t), at a stated false-discovery rate over all statements (Benjamini and Hochberg 1995). A statement of the space
may be reversed, for twice the p.

A raw example makes no claim; it only may add nothing. Its gain is shrunken toward what examples do for most people (the
normal model of empirical Bayes, Efron and Morris 1973), and it is dropped where the person's texts speak against it.

A choice may be shown as an example unless the person's choices about other questions contradict it, and only where a
statement was kept for all prompts, so that random choices get no more profiles.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hyperalign.profile import Hypothesis, TestResult
from hyperalign.scores import ScoreMatrix

from .effects import Floats, Prior, Table, Tried, estimate_effects
from .rules import Z_90, ExamplePrior, Judged, Rules, drop, make_result, reverse, round_figure

__all__ = [
    "false_discovery_qs",
    "judge_example_choices",
    "judge_samples",
    "leave_one_out",
    "no_gain_probability",
    "permutation_ps",
]

_PRIOR_CELLS = 4
"""How many cells the standard deviation of ``ExamplePrior`` is worth beside the cells themselves."""
_MIN_WEIGHT = 0.25
"""Texts with a lower weight are too old: the permutation test has no weights."""
_BATCH_CELLS = 1_000_000
"""Cells of permutations in memory at one time."""
_TIE = 1e-9
"""By how much a t may be lower, by rounding, and still be as high."""


@dataclass(frozen=True)
class _Cells:
    """A hypothesis, reversed where its opposite fits better, with its cells on the person's records and on others."""

    hypothesis: Hypothesis
    matrix: ScoreMatrix
    records: list[str]
    own: Floats
    others: Floats

    def result(self, p: float, q: float) -> TestResult:
        gain, margin = float(self.own.mean() - self.others.mean()), _margin(self.own, self.others)
        return make_result(self.matrix, self.records, len(self.others), gain=gain, margin=margin, p=p, q=q)


def judge_samples(tried: Tried, user: str, rules: Rules) -> list[Judged]:
    """Judge hypotheses by texts.

    Args:
        tried: the hypotheses.
        user: whose profile this is; all other rows are the reference population.
        rules: what a hypothesis needs to be kept.

    Returns:
        Each hypothesis with its ``TestResult``, where it could be tested, and why it is dropped.
    """
    outcomes = [_take_cells(hypothesis, matrix, user, rules) for hypothesis, matrix in tried]
    cells = [outcome for outcome in outcomes if isinstance(outcome, _Cells)]
    return [
        *((outcome, outcome.dropped_because) for outcome in outcomes if isinstance(outcome, Hypothesis)),
        *_judge_statements([each for each in cells if each.hypothesis.kind == "statement"], rules),
        *(_judge_example(each, rules) for each in cells if each.hypothesis.kind == "example"),
    ]


def _take_cells(hypothesis: Hypothesis, matrix: ScoreMatrix, user: str, rules: Rules) -> _Cells | Hypothesis:
    records, own = matrix.of(hypothesis.id, lambda row: row.user == user and row.weight >= _MIN_WEIGHT)
    _, others = matrix.of(hypothesis.id, lambda row: row.user != user)
    if reason := rules.explain_too_few(len(own), len(others)):
        return drop(hypothesis, reason)
    if hypothesis.source == "space" and float(own.mean()) < float(others.mean()):
        own, others = -own, -others
        hypothesis = reverse(hypothesis)
    return _Cells(hypothesis, matrix, records, own, others)


def _margin(own: Floats, others: Floats) -> float:
    """Half the width of the 90 % interval of the mean difference (Welch 1947)."""
    # scipy's t-test warns where all cells on one side are equal, as the choice test often gives them, and people are
    # fitted in threads, where a warning can't be suppressed.
    mine, theirs = own.var(ddof=1) / len(own), others.var(ddof=1) / len(others)
    variance = mine + theirs
    if variance == 0:
        return 0.0
    # As shares of the variance: the square of a tiny variance underflows.
    share = mine / variance
    freedom = 1 / (share**2 / (len(own) - 1) + (1 - share) ** 2 / (len(others) - 1))
    return float(special.stdtrit(freedom, 0.95) * np.sqrt(variance))


def _permutation_ps(cells: Sequence[_Cells], rules: Rules) -> list[float]:
    """One-sided p that each hypothesis' own cells are not above the others: exact within ``rules.permutations``."""
    # Permutations are the same for all with as many cells on each side.
    together: dict[tuple[int, int], list[int]] = {}
    for at, each in enumerate(cells):
        together.setdefault((len(each.own), len(each.others)), []).append(at)
    ps = [1.0] * len(cells)
    for (own, _), alike in together.items():
        table = np.array([np.concatenate([cells[at].own, cells[at].others]) for at in alike])
        for at, p in zip(alike, permutation_ps(table, own, rules).tolist(), strict=True):
            if np.ptp(np.concatenate([cells[at].own, cells[at].others])) > 0:
                ps[at] = p
    return ps


def permutation_ps(cells: Floats, own: int, rules: Rules) -> Floats:
    """How often a random split of records has a Welch t at least as high as the person's records against the others.

    A split is known by the records of its smaller side, so that many records cost hardly more than few.

    Args:
        cells: shape (hypotheses, records), the person's records first.
        own: how many of them are the person's, at least two and at most all but two.
        rules: how many splits are sampled where there are more.

    Returns:
        Shape (hypotheses,).
    """
    count = cells.shape[1]
    side = slice(0, own) if 2 * own <= count else slice(own, count)
    fewer = len(range(count)[side])
    splits: Iterator[Sequence[int] | NDArray[np.int64]]
    is_exact = math.comb(count, own) <= rules.permutations
    if is_exact:
        splits = itertools.combinations(range(count), fewer)
    else:
        rng = np.random.default_rng(rules.seed)
        # A copy, as a view would keep the whole permutation.
        splits = (rng.permutation(count)[side].copy() for _ in range(rules.permutations))
    # Variances are differences of sums: these are small around the mean.
    centered = cells - cells.mean(axis=1, keepdims=True)
    observed = _welch_ts(centered, np.arange(count)[None, side], is_own=side.start == 0)
    least = observed - _TIE * (1 + np.abs(observed))
    tried, higher = 0 if is_exact else 1, np.full(len(cells), 0 if is_exact else 1)
    while batch := list(itertools.islice(splits, max(1, _BATCH_CELLS // (fewer * len(cells))))):
        tried += len(batch)
        higher += (_welch_ts(centered, np.array(batch), is_own=side.start == 0) >= least).sum(axis=1)
    return np.asarray(higher / tried, dtype=np.float64)


def _welch_ts(centered: Floats, side: NDArray[np.int64], *, is_own: bool) -> Floats:
    """Welch's t by hypothesis and split, as ``scores.welch_t`` gives it.

    Args:
        centered: cells around their mean, shape (hypotheses, records).
        side: the records on one side of each split, shape (splits, n).
        is_own: whether that side is the person's.
    """
    count, some = centered.shape[1], centered[:, side]
    sums, squares = some.sum(axis=2), (some**2).sum(axis=2)
    rest = centered.sum(axis=1, keepdims=True) - sums, (centered**2).sum(axis=1, keepdims=True) - squares
    means, variances = [], []
    for size, added, squared in ((side.shape[1], sums, squares), (count - side.shape[1], *rest)):
        means.append(added / size)
        variances.append(np.maximum(squared - added**2 / size, 0.0) / ((size - 1) * size))
    apart = means[0] - means[1] if is_own else means[1] - means[0]
    return np.asarray(apart / np.sqrt(np.maximum(variances[0] + variances[1], 1e-12)), dtype=np.float64)


def _judge_statements(cells: Sequence[_Cells], rules: Rules) -> list[Judged]:
    if not cells:
        return []
    # A statement that may be reversed was tested twice.
    results = [
        each.result(min(1.0, p * (2 if each.hypothesis.source == "space" else 1)), 1.0)
        for each, p in zip(cells, _permutation_ps(cells, rules), strict=True)
    ]
    qs = false_discovery_qs([result.p for result in results])
    judged = []
    for each, untested, q in zip(cells, results, qs.tolist(), strict=True):
        result = untested.model_copy(update={"q": round_figure(q)})
        if result.gain <= 0:
            reason = "fits other people at least as well"
        elif result.low <= 0:
            reason = "may be chance: the interval of its gain includes zero"
        elif q > rules.fdr:
            reason = f"may be chance among so many candidates (q {result.q:.2f}, needs {rules.fdr:.2f})"
        else:
            reason = ""
        # The share of the gain that is certain: its interval's lower end.
        weight = 0.0 if reason else round_figure(result.low / result.gain)
        judged.append((each.hypothesis.model_copy(update={"test": result, "weight": weight}), reason))
    return judged


def false_discovery_qs(ps: Sequence[float]) -> Floats:
    """The false discovery rate of calling a test and all with a smaller p significant (Benjamini and Hochberg 1995).

    As ``scipy.stats.false_discovery_control``, whose package takes two seconds to import.

    Args:
        ps: from 0 to 1.

    Returns:
        Shape (ps,).

    Raises:
        ValueError: one is below 0, above 1, or no number.
    """
    values = np.asarray(ps, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"no probabilities: {[p for p in ps if not 0 <= p <= 1]}")
    order = np.argsort(values)
    scaled = values[order] * len(ps) / np.arange(1, len(ps) + 1)
    qs = np.empty(len(ps))
    qs[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(qs, 1.0)


def _judge_example(cells: _Cells, rules: Rules) -> Judged:
    p = no_gain_probability(cells.own, cells.others, rules.example)
    reason = "" if p <= rules.no_gain else f"may add nothing: so in {p:.0%} of such cases"
    weight = 0.0 if reason else round_figure(1 - 2 * p)
    return cells.hypothesis.model_copy(update={"test": cells.result(p, p), "weight": weight}), reason


def no_gain_probability(own: Floats, others: Floats, prior: ExamplePrior) -> float:
    """Posterior probability that an example adds nothing to the person's texts beyond what it adds to other people's.

    Args:
        own: cells of the person's records, at least one.
        others: cells of other people's, at least one.
        prior: the effect of examples.
    """
    squares = sum(float(((cells - cells.mean()) ** 2).sum()) for cells in (own, others))
    freedom = len(own) + len(others) - 2
    cell = (_PRIOR_CELLS * prior.cell**2 + squares) / (_PRIOR_CELLS + freedom)
    noise = cell * (1 / len(own) + 1 / len(others))
    trust = prior.between**2 / (prior.between**2 + noise)
    mean = prior.mean + trust * (float(own.mean() - others.mean()) - prior.mean)
    return float(special.ndtr(-mean / np.sqrt((1 - trust) * prior.between**2)))


def judge_example_choices(
    examples: Sequence[Hypothesis], table: Table | None, found_any: bool, rules: Rules
) -> list[Judged]:
    """Judge choices as examples, by the cells that statements have on the person's other choices.

    Args:
        examples: each has the record that it shows as its evidence.
        table: the cells of statements on the person's choices; None if there are none.
        found_any: whether a statement was kept for all prompts.
        rules: what a hypothesis needs to be kept.
    """
    if not found_any or table is None:
        return [(example, "nothing that the choices say was kept for all prompts") for example in examples]
    if reason := rules.explain_too_few(len(table.own) - 1, table.reference, "other choices"):
        return [(example, reason) for example in examples]
    judged: list[Judged] = []
    for example in examples:
        question = table.question_of(example.evidence[0].record if example.evidence else "")
        if question not in table.records:
            judged.append((example, "no test could judge it"))
            continue
        at = table.records.index(question)
        gain, spread = leave_one_out(table.own, table.others, at, rules.prior, table.weights)
        p = float(special.ndtr(-gain / spread))
        rest = [name for name in table.records if name != question]
        result = make_result(table.matrix, rest, table.reference, gain=gain, margin=Z_90 * spread, p=p, q=p)
        reason = f"the other choices do not bear it out (p {p:.2f})" if p > rules.odd_one_out else ""
        weight = 0.0 if reason else round_figure(max(0.0, 1 - 2 * p))
        judged.append((example.model_copy(update={"test": result, "weight": weight}), reason))
    return judged


def leave_one_out(
    own: Floats, others: list[Floats], at: int, prior: Prior, weights: Floats | None = None
) -> tuple[float, float]:
    """Predict one choice of a person from their other choices.

    Args:
        own: the person's cells, shape (choices, statements), without gaps.
        others: the same for each other person.
        at: index of the choice.
        prior: how far people differ.
        weights: of the person's choices, shape (choices,); equal if None.

    Returns:
        The log-odds in nats that the chosen answer is chosen, under the effects that the other choices show: posterior
        mean and standard deviation.
    """
    left = None if weights is None else np.delete(weights, at)
    found = estimate_effects(np.delete(own, at, axis=0), others, prior, left)
    # The log-odds between two normal densities that differ in sign alone are linear in the effects.
    slope = 2 * np.linalg.solve(found.single, own[at])
    return float(slope @ found.mean), float(np.sqrt(max(slope @ found.covariance @ slope, 1e-12)))
