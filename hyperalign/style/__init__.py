"""Measured style, without a model: features of texts, reference statistics, claims about a writer, and likelihoods.

``find_claims`` says where a writer differs from most people, ``likeness`` how likely a text is theirs, and ``distance``
how far a text is from their style.
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
