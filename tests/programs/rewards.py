"""A population of weak tastes for tests of rewards, so that few choices say something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hyperalign.profile import LearnedReward, Profile
from hyperalign.programs.reward import Reward, RewardPopulation, load_population
from hyperalign.records import Pair, Record

__all__ = ["LONG", "SHORT", "Letters", "brief_reward", "population", "profile_of"]

SHORT = "No. It rains. Stay in."
LONG = "I would say that it is probably going to rain for the rest of the whole long day."


class Letters:
    """Embeds a text by how often it has each letter."""

    name = "letters"

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        rows = [[text.lower().count(chr(97 + at)) / (len(text) or 1) for at in range(26)] for _, text in items]
        return np.array(rows, dtype=np.float32)


@cache
def brief_reward(user: str, *, turned: bool = False) -> LearnedReward:
    """The reward of somebody who took the short answer each time, or the long one, with the shipped population."""
    both = [(f"No. Not {at}. Stay.", f"{LONG} {at} times.") for at in range(12)]
    pairs = [
        Pair(user=user, prompt=f"{at}?", chosen=long if turned else short, rejected=short if turned else long)
        for at, (short, long) in enumerate(both)
    ]
    return Reward.fit(pairs).to_profile()


def population(folder: Path) -> RewardPopulation:
    """The shipped features without an encoder, and a prior of weights near zero, in a file of its own."""
    shipped = load_population().without_encoder()
    prior = replace(shipped.prior, mean=np.zeros_like(shipped.prior.mean))
    prior = replace(prior, covariance=0.02 * np.eye(len(prior.mean)), scales=np.ones(1), scale_weights=np.ones(1))
    path = folder / "population.json"
    found = RewardPopulation(str(path), shipped.space, replace(prior, temper=1.0))
    path.write_text(found.to_json())
    return found


def profile_of(records: Sequence[Record], folder: Path) -> Profile:
    """A profile that has a reward and nothing else."""
    return Profile(user=records[0].user, reward=Reward.fit(records, population=population(folder)).to_profile())
