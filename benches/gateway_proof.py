"""How often the gateway's proof errs, and how soon it finds an effect: simulated deployments, watched all the time.

    python benches/gateway_proof.py --deployments 1000 --outcomes 2000

A deployment's outcomes are thumbs: each is of a conversation that was dealt to the profile with the probability that
``--holdout`` leaves. It counts as declared if the interval excludes 0 after any outcome, not at the end alone.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from numpy.typing import NDArray

from hyperalign.evals.sequential import LEVEL, log_capital, pair_arms


def declared(
    rng: np.random.Generator, base: float, effect: float, *, deployments: int, outcomes: int, holdout: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """After how many outcomes each deployment was first declared helpful and harmful; infinite where it never was."""
    on = rng.random((deployments, outcomes)) >= holdout
    values = (rng.random((deployments, outcomes)) < base + effect * on).astype(float)
    # Blocks of a deployment, padded by nothing that bets: a difference of the candidate itself.
    blocks = [pair_arms(zip(arm.tolist(), value.tolist(), strict=True)) for arm, value in zip(on, values, strict=True)]
    longest = max(map(len, blocks))
    padded = np.array([[*each, *[0.0] * (longest - len(each))] for each in blocks])
    needed = math.log(2 / (1 - LEVEL))
    scale = outcomes / longest
    first = []
    for sign in (1.0, -1.0):
        crossed = log_capital(sign * padded, 0.0) >= needed
        first.append(np.where(crossed.any(axis=1), (crossed.argmax(axis=1) + 1) * scale, np.inf))
    return first[0], first[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--outcomes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    began = time.perf_counter()
    print(f"{args.deployments} deployments of {args.outcomes} outcomes, level {LEVEL:.0%}, watched after each outcome")
    print(f"{'holdout':>8}{'base':>6}{'effect':>8}{'helpful':>9}{'harmful':>9}{'median outcomes':>17}")
    for holdout in (0.5, 0.3, 0.2):
        for base in (0.5, 0.7):
            for effect in (0.0, 0.1, -0.1):
                rng = np.random.default_rng(
                    (args.seed, round(holdout * 100), round(base * 100), round(effect * 100) + 100)
                )
                up, down = declared(
                    rng, base, effect, deployments=args.deployments, outcomes=args.outcomes, holdout=holdout
                )
                right = up if effect > 0 else down
                median = f"{np.median(right):.0f}" if effect and np.isfinite(np.median(right)) else "-"
                shares = [float(np.isfinite(each).mean()) for each in (up, down)]
                print(f"{holdout:>8.1f}{base:>6.1f}{effect:>+8.1f}{shares[0]:>9.1%}{shares[1]:>9.1%}{median:>17}")
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
