"""Fit a language model to one person: infer hypotheses, test each on evidence, answer as they would want.

The names below are the public face; each is loaded when it is first used, so that
``import hyperalign`` stays light::

    import hyperalign as ha

    lm = ha.connect("local:qwen2.5-coder-1.5b-instruct")
    person = ha.Personalizer(lm=lm)
    profile = person.fit(ha.read_records(["letters"], user="ada").records)
    print(person(prompt="Decline the invitation.", profile=profile).answer)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backends.models.connect import connect as connect
    from .backends.models.scorers import open_scorer as open_scorer
    from .budget import Budget as Budget
    from .budget import Usage as Usage
    from .errors import HyperalignError as HyperalignError
    from .population import FolderPopulation as FolderPopulation
    from .population import ShippedPopulation as ShippedPopulation
    from .population import StorePopulation as StorePopulation
    from .profile import Evidence as Evidence
    from .profile import Hypothesis as Hypothesis
    from .profile import Profile as Profile
    from .programs.extract import ExtractPreferences as ExtractPreferences
    from .programs.generate import Generate as Generate
    from .programs.infer import InferHypotheses as InferHypotheses
    from .programs.judge import Judge as Judge
    from .programs.personalizer import Personalizer as Personalizer
    from .programs.selection import Rules as Rules
    from .programs.selection import select as select
    from .programs.strategies import strategy as strategy
    from .programs.update import update as update
    from .reading import read_records as read_records
    from .records import Edit as Edit
    from .records import Pair as Pair
    from .records import Rating as Rating
    from .records import Sample as Sample
    from .scores import ScoreMatrix as ScoreMatrix
    from .space import load_space as load_space
    from .store import Store as Store

__version__ = "0.1.0"

_HOMES = {
    "Budget": "budget",
    "Edit": "records",
    "Evidence": "profile",
    "ExtractPreferences": "programs.extract",
    "FolderPopulation": "population",
    "Generate": "programs.generate",
    "HyperalignError": "errors",
    "Hypothesis": "profile",
    "InferHypotheses": "programs.infer",
    "Judge": "programs.judge",
    "Pair": "records",
    "Personalizer": "programs.personalizer",
    "Profile": "profile",
    "Rating": "records",
    "Rules": "programs.selection",
    "Sample": "records",
    "ScoreMatrix": "scores",
    "ShippedPopulation": "population",
    "Store": "store",
    "StorePopulation": "population",
    "Usage": "budget",
    "connect": "backends.models.connect",
    "load_space": "space",
    "open_scorer": "backends.models.scorers",
    "read_records": "reading",
    "select": "programs.selection",
    "strategy": "programs.strategies",
    "update": "programs.update",
}

_PACKAGES = ("backends", "evals", "programs")

__all__ = [
    "Budget",
    "Edit",
    "Evidence",
    "ExtractPreferences",
    "FolderPopulation",
    "Generate",
    "HyperalignError",
    "Hypothesis",
    "InferHypotheses",
    "Judge",
    "Pair",
    "Personalizer",
    "Profile",
    "Rating",
    "Rules",
    "Sample",
    "ScoreMatrix",
    "ShippedPopulation",
    "Store",
    "StorePopulation",
    "Usage",
    "connect",
    "load_space",
    "open_scorer",
    "read_records",
    "select",
    "strategy",
    "update",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if name in _PACKAGES:
        return import_module(f".{name}", __name__)
    if home is None:
        raise AttributeError(f"module 'hyperalign' has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
