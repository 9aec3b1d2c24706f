"""How many questions a reward needs, chosen by expected gain or at random.

Log loss on held-out choices after a number of answered questions: of simulated people, on differences of real
arguments, whose weights are drawn from the shipped prior, and from one by which few features matter much; and of the
crowd workers of UKPConvArg's dev split, with a prior that is estimated from the other workers, and with the shipped one
without its mean, which knows nothing of arguments. The log loss of a simulated person is the expected one under their
weights. Intervals are of 90 %, from people drawn with replacement. It asks no language model. It prints Markdown. Run
it from the repository's folder with: python -m benches.asking --data ../shared/data/ukpconvarg1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hyperalign.evals.cases import Split
from hyperalign.evals.tasks.ukpconvarg import UKPConvArg
from hyperalign.programs.reward.asking import choose_question
from hyperalign.programs.reward.empirical_bayes import estimate_from_rows
from hyperalign.programs.reward.population import (
    FeatureRow,
    RewardPopulation,
    load_population,
    read_rows,
)
from hyperalign.programs.reward.posterior import Array, Observations, Prior, infer_posterior

__all__ = ["Curves", "follow", "main", "questions_needed"]

ASKED = (0, 4, 8, 12, 16, 24, 32)
COMPARED = (8, 16, 24, 32)
"""Random questions that chosen ones are compared with."""
RESAMPLES = 1_000
POOL, SIMULATED_POOL, HELD_OUT = 200, 1_000, 200
FALLS = 6.0
"""Features after which a variance is 1/e of the largest, where few matter much."""
FOLDS = 3
READ = 120
"""Votes of each other worker that the prior is estimated from."""

Curves = Mapping[str, Sequence[Array]]
"""By the way to choose, each person's log loss after 0, 1, 2, … questions."""


def follow(
    prior: Prior, pool: Array, held_out: Array, *, by_gain: bool, chosen: Array | None = None, seed: int = 0
) -> Array:
    """Ask questions, and give the log loss on held-out choices after each, shape (questions + 1,).

    Args:
        prior: of the weights.
        pool: features of the chosen answer minus those of the other, shape (n, d).
        held_out: features of the first answer minus those of the other, for choices that are never asked about.
        by_gain: whether the question with the largest expected gain is next; else any.
        chosen: the probability that each first answer is chosen, shape (m,); all are chosen if None.
        seed: of the order of the rest.
    """
    draw, left = np.random.default_rng(seed), list(range(len(pool)))
    taken = np.ones(len(held_out)) if chosen is None else chosen
    asked: list[int] = []
    losses, start = [], None
    for _ in range(min(ASKED[-1], len(pool) - 1) + 1):
        seen = Observations.of(pool[asked] if asked else None, dimensions=pool.shape[1])
        posterior = infer_posterior(prior, seen, start=start)
        start = posterior.mean
        told = np.clip(posterior.probabilities(held_out), 1e-12, 1 - 1e-12)
        losses.append(-float((taken * np.log(told) + (1 - taken) * np.log1p(-told)).mean()))
        # The pool's rows know who was chosen, and the gain of a question does not depend on it.
        best = choose_question(posterior, pool[left], pool)[0] if by_gain else int(draw.integers(len(left)))
        asked.append(left.pop(best))
    return np.array(losses)


def questions_needed(curve: Array, loss: float) -> int | None:
    """After how many questions a mean curve first reaches a log loss; None if it never does."""
    reached = np.flatnonzero(curve <= loss)
    return int(reached[0]) if len(reached) else None


def _both(prior: Prior, pool: Array, held_out: Array, seed: int, chosen: Array | None = None) -> dict[str, Array]:
    found = {"gain": follow(prior, pool, held_out, by_gain=True, chosen=chosen)}
    # Random orders differ: the mean of three.
    orders = [follow(prior, pool, held_out, by_gain=False, chosen=chosen, seed=10 * seed + at) for at in range(3)]
    return {**found, "random": np.mean(orders, axis=0)}


def _simulate(prior: Prior, rows: Array, people: int) -> Curves:
    """People whose weights are drawn from a prior, who choose between answers that differ as these rows do."""
    found: dict[str, list[Array]] = {"gain": [], "random": []}
    for number in range(people):
        draw = np.random.default_rng(number)
        scale = draw.choice(prior.scales, p=prior.scale_weights)
        weights = draw.multivariate_normal(prior.mean, prior.covariance * scale**2)
        some = rows[draw.permutation(len(rows))[: SIMULATED_POOL + HELD_OUT]]
        first = 1 / (1 + np.exp(-np.clip(some @ weights, -40, 40)))
        pool, held_out = some[:SIMULATED_POOL], some[SIMULATED_POOL:]
        took_first = draw.random(len(pool)) < first[:SIMULATED_POOL]
        answered = np.where(took_first[:, None], pool, -pool)
        for way, curve in _both(prior, answered, held_out, number, first[SIMULATED_POOL:]).items():
            found[way].append(curve)
    return found


def _few_features(prior: Prior, seed: int = 0) -> Prior:
    """A prior with as much variance in all, most of it on few features."""
    falling = np.exp(-np.random.default_rng(seed).permutation(len(prior.mean)) / FALLS)
    return replace(prior, covariance=np.diag(falling * np.trace(prior.covariance) / falling.sum() + 1e-4))


def _of_workers(people: Mapping[str, Array], prior_without: Mapping[str, Prior]) -> Curves:
    found: dict[str, list[Array]] = {"gain": [], "random": []}
    for number, (worker, rows) in enumerate(people.items()):
        shuffled = rows[np.random.default_rng(number).permutation(len(rows))]
        pool = shuffled[: min(POOL, 2 * len(rows) // 3)]
        held_out = shuffled[-min(HELD_OUT, len(rows) // 3) :]
        if len(pool) <= ASKED[-1]:
            continue
        for way, curve in _both(prior_without[worker], pool, held_out, number).items():
            found[way].append(curve)
    return found


def _priors(people: Mapping[str, Array], base: RewardPopulation) -> dict[str, Prior]:
    """By worker, a prior that is estimated from the workers of the other folds."""
    names, found = sorted(people), dict[str, Prior]()
    for fold in range(FOLDS):
        others = {
            name: [FeatureRow(str(at), "choice", row) for at, row in enumerate(people[name][:READ])]
            for place, name in enumerate(names)
            if place % FOLDS != fold
        }
        prior = estimate_from_rows(others, base, name="other workers").prior
        found |= dict.fromkeys(names[fold::FOLDS], prior)
    return found


def _table(name: str, curves: Curves) -> Iterator[str]:
    yield f"| {name}, {len(curves['random'])} people | {' | '.join(map(str, ASKED))} |"
    yield "|---" * (len(ASKED) + 1) + "|"
    means = {way: np.mean(some, axis=0) for way, some in curves.items()}
    for way, mean in means.items():
        yield f"| by {way} | {' | '.join(f'{mean[count]:.3f}' for count in ASKED)} |"
    for count in COMPARED:
        needed = questions_needed(means["gain"], float(means["random"][count]))
        said = "are not reached" if needed is None else f"are reached by gain after {needed}"
        low, high = _interval(curves, count)
        start = "\n" if count == COMPARED[0] else ""
        yield f"{start}{count} questions at random {said} ({low} to {high})."
    yield ""


def _interval(curves: Curves, count: int) -> tuple[str, str]:
    """Where nine in ten samples of the people have the number of questions needed."""
    draw = np.random.default_rng(0)
    gain, random = np.array(curves["gain"]), np.array(curves["random"])
    found = []
    for some in draw.integers(len(gain), size=(RESAMPLES, len(gain))):
        needed = questions_needed(gain[some].mean(axis=0), float(random[some, count].mean()))
        found.append(np.inf if needed is None else needed)
    low, high = np.quantile(found, (0.05, 0.95), method="inverted_cdf")
    first, last = ("never" if np.isinf(end) else f"{end:.0f}" for end in (low, high))
    return first, last


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of UKPConvArg")
    parser.add_argument("--split", choices=("dev", "test"), default="dev")
    parser.add_argument("--people", type=int, default=40, help="simulated people")
    asked = parser.parse_args()
    split: Split = asked.split
    base = load_population().without_encoder()
    votes = UKPConvArg(asked.data).people(split=split)
    people = {
        worker: np.array([row.values for row in read_rows(base.space, records)]) for worker, records in votes.items()
    }
    print(f"{len(people)} workers read", file=sys.stderr, flush=True)
    rows = np.vstack([some[:READ] for some in people.values()])
    for name, prior in (("shipped prior", base.prior), ("few features matter", _few_features(base.prior))):
        print("\n".join(_table(f"simulated, {name}", _simulate(prior, rows, asked.people))), flush=True)
    print("\n".join(_table("workers, prior of other workers", _of_workers(people, _priors(people, base)))), flush=True)
    ignorant = replace(base.prior, mean=np.zeros_like(base.prior.mean))
    print(
        "\n".join(_table("workers, shipped prior without mean", _of_workers(people, dict.fromkeys(people, ignorant))))
    )


if __name__ == "__main__":
    main()
