"""A personal reward: read texts once, learn weights from few records, predict what somebody would choose."""

from .empirical_bayes import estimate_population
from .features import Contribution, Encoder, FeatureSpace, Reading, say_feature
from .population import RewardPopulation, find_population, load_population, read_population
from .posterior import HeldOut, Prediction
from .reward import Reward

__all__ = [
    "Contribution",
    "Encoder",
    "FeatureSpace",
    "HeldOut",
    "Prediction",
    "Reading",
    "Reward",
    "RewardPopulation",
    "estimate_population",
    "find_population",
    "load_population",
    "read_population",
    "say_feature",
]
