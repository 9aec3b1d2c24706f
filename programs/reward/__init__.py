"""A personal reward: read texts once, learn weights from few records, predict what somebody would choose."""

from .features import Encoder, FeatureSpace, Reading
from .population import RewardPopulation, estimate_population, find_population, load_population, read_population
from .posterior import Prediction
from .reward import Contribution, HeldOut, Reward, say_feature

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
