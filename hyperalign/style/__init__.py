"""Measured style: what can be counted in a text, what is usual, and where a person stands apart.

No model is needed, and nothing leaves the machine. ``claims`` makes checkable statements
about a writer from numbers; ``likeness`` weighs whether a text is theirs; ``distance`` tells how far it is from them.
"""

from __future__ import annotations

from .claims import STANDS_APART, StyleClaim, distance, find_claims, find_shifts
from .estimate import Estimate, Measured, estimate, keep_opening_features, likeness
from .features import FEATURES, Feature, Features, measure, measure_all
from .reference import FeatureReference, Reference, Source, build_reference, cut_excerpt, load_reference

__all__ = [
    "FEATURES",
    "STANDS_APART",
    "Estimate",
    "Feature",
    "FeatureReference",
    "Features",
    "Measured",
    "Reference",
    "Source",
    "StyleClaim",
    "build_reference",
    "cut_excerpt",
    "distance",
    "estimate",
    "find_claims",
    "find_shifts",
    "keep_opening_features",
    "likeness",
    "load_reference",
    "measure",
    "measure_all",
]
