"""How often 95 % intervals hold with few people: percentile bootstrap, wild cluster bootstrap, and Student's t.

People have 2 to 8 cases each and differ in how often they are served well. Prints shares of simulations; the evals use
Student's t. Run it with: python benches/intervals.py
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy import stats

TRUTH = 4 / 6.5
DRAWS = 499


def person_means(rng: np.random.Generator, clusters: int) -> NDArray[np.float64]:
    """Mean score of each person, of shape (clusters,)."""
    sizes = rng.integers(2, 9, clusters)
    return rng.binomial(sizes, rng.beta(4, 2.5, clusters)) / sizes


def percentile(rng: np.random.Generator, means: NDArray[np.float64]) -> tuple[float, float]:
    """Resampled people."""
    drawn = rng.choice(means, size=(DRAWS, len(means))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def wild(rng: np.random.Generator, means: NDArray[np.float64]) -> tuple[float, float]:
    """Residuals with random signs, studentized (Cameron, Gelbach and Miller 2008), as a symmetric interval."""
    center, error = means.mean(), means.std(ddof=1) / np.sqrt(len(means))
    signs = rng.choice([-1.0, 1.0], size=(DRAWS, len(means)))
    drawn = center + signs * (means - center)
    spread = drawn.std(ddof=1, axis=1) / np.sqrt(len(means))
    t = np.abs(drawn.mean(axis=1) - center) / np.where(spread > 0, spread, np.inf)
    half = float(np.quantile(t, 0.95) * error)
    return center - half, center + half


def student(rng: np.random.Generator, means: NDArray[np.float64]) -> tuple[float, float]:
    """One degree of freedom less than people."""
    del rng
    half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return float(means.mean() - half), float(means.mean() + half)


def main(runs: int) -> None:
    """Print the table."""
    print(f"{'people':>8}{'percentile':>14}{'wild cluster':>14}{'Student':>10}   (share of {runs} intervals that hold)")
    for clusters in (6, 10, 20, 40):
        rng = np.random.default_rng(clusters)
        held = [0, 0, 0]
        for _ in range(runs):
            means = person_means(rng, clusters)
            for number, method in enumerate((percentile, wild, student)):
                low, high = method(rng, means)
                held[number] += low <= TRUTH <= high
        print(
            f"{clusters:>8}"
            + "".join(f"{count / runs:>{width}.1%}" for count, width in zip(held, (14, 14, 10), strict=True))
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000)
    main(parser.parse_args().runs)
