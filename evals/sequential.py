"""Whether something helps, watched all the time: an anytime-valid confidence sequence for a difference of two means.

A test of fixed size that is looked at again and again claims something in the end, even where nothing is. The interval
here holds at all times at once: the probability that it ever leaves out the true difference is at most ``1 - level``.

Outcomes between 0 and 1 of both arms are put into blocks, each with at least one outcome of either arm. A block's
difference of means lies between -1 and 1, and its expectation is the difference between the arms, whatever their common
level and however often each arm is answered. Betting on these differences gives the interval (Waudby-Smith and Ramdas
2023, "Estimating means of bounded random variables by betting", section 4): for each candidate difference, capital that
is bet against it grows beyond ``2 / (1 - level)`` with probability at most ``(1 - level) / 2`` if it is true (Ville's
inequality). Bets of several sizes share the capital, so that none need be chosen.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import InputError

__all__ = [
    "BETS",
    "LEVEL",
    "MARGIN",
    "Comparison",
    "Observed",
    "Pairing",
    "compare",
    "log_capital",
    "pair_arms",
    "should_switch_off",
]

LEVEL: Final = 0.95
MARGIN: Final = 0.05
"""A profile that surely helps by less than this is not worth its tokens."""
BETS: Final = {0.03: 0.1, 0.06: 0.1, 0.12: 0.2, 0.2: 0.2, 0.3: 0.2, 0.44: 0.2}
"""Sizes of bets, and the share of the capital that each gets: most for effects of some 5 to 20 points.

Below 1/2, so that capital stays positive for every candidate difference from -1 to 1."""
_MOST_IN_BLOCK = 20
_STEPS = 12

Observed = tuple[bool | None, float]
"""Whether the profile was on, and the outcome; for a choice between both, None and 1 or -1."""
Verdict = Literal["helps", "harms", "open"]


class Pairing:
    """Puts outcomes of two arms, as they come, into blocks.

    A block has one outcome of the rarer arm and of the other as many as there are for each, so that with a share of 0.2
    held out few outcomes wait in vain. Which outcomes make a block depends on arms alone, never on outcomes.
    """

    def __init__(self) -> None:
        self._waiting: tuple[deque[float], deque[float]] = deque(), deque()
        self._counts = [0, 0]

    def add(self, value: float, *, is_on: bool) -> list[float]:
        """Take an outcome; returns the differences of the blocks that it completes, on minus off.

        Args:
            value: from 0 to 1.
            is_on: whether the profile was on.

        Raises:
            InputError: the value is out of range.
        """
        if not 0.0 <= value <= 1.0:
            raise InputError(f"An outcome of {value:g}.", remedy="Scale outcomes to lie between 0 and 1.")
        self._waiting[is_on].append(value)
        self._counts[is_on] += 1
        found: list[float] = []
        off, on = self._waiting
        while off and on:
            ratio = self._counts[1] / self._counts[0]
            wanted = (_clamp(1 / ratio), _clamp(ratio))
            if len(off) < wanted[0] or len(on) < wanted[1]:
                break
            means = [math.fsum(arm.popleft() for _ in range(n)) / n for arm, n in zip((off, on), wanted, strict=True)]
            found.append(means[1] - means[0])
        return found


def _clamp(ratio: float) -> int:
    return min(_MOST_IN_BLOCK, max(1, round(ratio)))


def pair_arms(outcomes: Iterable[Observed], strata: Iterable[str] = ()) -> list[float]:
    """The differences of all blocks and choices, in the order in which they are complete.

    Args:
        outcomes: whether the profile was on, and the outcome from 0 to 1, in the order in which they came; of a choice
            between an answer with the profile and one without it None, and 1 or -1.
        strata: a label for each outcome, such as its kind: blocks have outcomes of one label. None by default.

    Raises:
        InputError: an outcome is out of range.
    """
    pairings: defaultdict[str, Pairing] = defaultdict(Pairing)
    found: list[float] = []
    for (is_on, value), stratum in zip(outcomes, chain(strata, repeat(""))):  # noqa: B905  # the labels never end
        if is_on is not None:
            found += pairings[stratum].add(value, is_on=is_on)
        elif -1.0 <= value <= 1.0:
            found.append(value)
        else:
            raise InputError("A choice is neither 1 nor -1.", remedy="Give 1 where the profile won, else -1.")
    return found


def log_capital(differences: NDArray[np.float64], against: float) -> NDArray[np.float64]:
    """Log capital after each difference, of bets that their mean lies above a candidate.

    Args:
        differences: between -1 and 1, along the last axis.
        against: the candidate mean, from -1 to 1.

    Returns:
        An array of the same shape. Its exponential is a nonnegative martingale that starts at 1 if the candidate is the
        mean, and a supermartingale if the mean is lower.
    """
    total = np.full(differences.shape, -np.inf)
    for bet, share in BETS.items():
        grown = np.cumsum(np.log1p(bet * (differences - against)), axis=-1)
        np.logaddexp(total, grown + math.log(share), out=total)
    return total


@dataclass(frozen=True, slots=True)
class Comparison:
    """The profile on against off.

    Attributes:
        n_on: outcomes with the profile.
        n_off: outcomes without it.
        mean_on: mean outcome with the profile; NaN if there is none.
        mean_off: mean outcome without it.
        difference: estimate of the difference of means; NaN with no complete block.
        low: lower end of the interval that holds at any time.
        high: its upper end.
        verdict: ``helps`` or ``harms`` if the interval excludes 0, else ``open``.
    """

    n_on: int
    n_off: int
    mean_on: float
    mean_off: float
    difference: float
    low: float
    high: float
    verdict: Verdict


def compare(outcomes: Sequence[Observed], strata: Sequence[str] = (), *, level: float = LEVEL) -> Comparison:
    """Compare the profile on and off by all outcomes up to now.

    Args:
        outcomes: as ``pair_arms`` takes them.
        strata: labels of the outcomes; see ``pair_arms``.
        level: of confidence, over all times together.

    Raises:
        InputError: an outcome is out of range.
    """
    differences = np.array(pair_arms(outcomes, strata), dtype=np.float64)
    on, off, chosen = ([value for is_on, value in outcomes if is_on is arm] for arm in (True, False, None))
    low, high = interval(differences, level=level)
    means = [float(np.mean(arm)) if arm else math.nan for arm in (on, off)]
    apart = math.nan
    if len(differences):
        # Arms whose kinds are mixed unevenly have means that tell nothing of each other.
        apart = float(differences.mean()) if chosen or len(set(strata)) > 1 else means[0] - means[1]
    verdict: Verdict = "helps" if low > 0 else "harms" if high < 0 else "open"
    return Comparison(len(on) + len(chosen), len(off) + len(chosen), means[0], means[1], apart, low, high, verdict)


def interval(differences: NDArray[np.float64], *, level: float = LEVEL) -> tuple[float, float]:
    """The interval for the mean of differences that holds at any time, intersected over all times.

    Args:
        differences: between -1 and 1, in the order in which they came.
        level: of confidence.
    """
    needed = math.log(2.0 / (1.0 - level))
    if not len(differences):
        return -1.0, 1.0
    return _reach(differences, needed), -_reach(-differences, needed)


def _reach(differences: NDArray[np.float64], needed: float) -> float:
    """The largest candidate that was ever refuted from below, by bisection: capital falls as the candidate rises."""
    low, high = -1.0, 1.0
    if log_capital(differences, low).max() < needed:
        return low
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if log_capital(differences, middle).max() >= needed:
            low = middle
        else:
            high = middle
    return low


def should_switch_off(found: Comparison, *, margin: float = MARGIN) -> str:
    """Why a person's profile is to be switched off; empty if it is not.

    A person for whom nothing is wrong loses a profile with probability at most half of one minus the level.

    Args:
        found: the comparison over this person's own outcomes.
        margin: the least help that a profile is worth.
    """
    if found.verdict == "harms":
        return f"answers with it fared worse: {found.difference:+.0%} ({found.low:+.0%} to {found.high:+.0%})"
    if found.high < margin:
        return f"it helps by less than {margin:.0%}: {found.difference:+.0%} ({found.low:+.0%} to {found.high:+.0%})"
    return ""
