"""Measured style: what can be counted in a text, what is usual, and where a person stands apart.

No model is needed, and nothing leaves the machine. ``claims`` makes checkable statements
about a writer from numbers; ``distance`` tells how far a draft is from their measured style.
"""

from __future__ import annotations

from .claims import StyleClaim, claims, distance
from .features import FEATURES, Feature, Features, measure, measure_all
from .reference import FeatureReference, Reference, Source, build_reference, cut_excerpt, load_reference
from .shifts import shifts

__all__ = [
    "FEATURES",
    "Feature",
    "FeatureReference",
    "Features",
    "Reference",
    "Source",
    "StyleClaim",
    "build_reference",
    "claims",
    "cut_excerpt",
    "distance",
    "load_reference",
    "measure",
    "measure_all",
    "shifts",
]
