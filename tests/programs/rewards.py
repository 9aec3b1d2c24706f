"""A population of weak tastes for tests of rewards, so that few choices say something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hyperalign.profile import Profile
from hyperalign.programs.reward import Reward, RewardPopulation, load_population
from hyperalign.records import Record

__all__ = ["population", "profile_of"]


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
