"""Estimate a person's measured style from a few texts, and how likely a further text is theirs.

Each feature is estimated by the normal model of empirical Bayes: people differ by a between-person variance, one
person's texts by a within-person variance, and a person's mean is shrunken toward the reference mean. The likelihood
ratio of a text follows from it, as in forensic comparison of texts: its density under the person's style over its
density under anybody's. Features of one family are averaged, families are added, and the sum is tempered, since
families overlap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol, TypeVar

from hyperalign.profile import Measurement
from hyperalign.records import Record, Sample

from .features import FEATURES, measure
from .parsed import words_of
from .reference import Reference, load_reference

__all__ = ["Estimate", "Measured", "estimate", "keep_opening_features", "likeness", "measure_style"]

CONFIDENCE = 1.96
# How many texts the reference's within-person variance counts for beside the person's own.
PRIOR_TEXTS = 4
# Features that the beginning of a text does not show.
_OF_WHOLE_TEXTS = frozenset({"paragraph_words", "sign_off"})
# A single odd feature, such as one dash in a short text, must not decide alone.
_MOST_NATS = 2.0
# The slope of a logistic regression of "own or another's answer" on the difference of plain sums: 0.31 over 108 pairs
# of answers by nine dev writers of SQuALITY.
_TEMPER = 0.3

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Estimate:
    """One feature of one person.

    Attributes:
        value: the mean over their texts, in the feature's unit.
        usual: the reference mean.
        z: the distance of the two in between-person standard deviations, shrunken for sampling noise.
        margin: half the width of the 95 % interval of the person's true mean.
        spread: the standard deviation of one further text about the shrunken mean, including what is not known of it.
        texts: how many texts show the feature.
    """

    value: float
    usual: float
    z: float
    margin: float
    spread: float
    texts: int


def estimate(texts: Sequence[str], reference: Reference | None = None) -> dict[str, Estimate]:
    """Estimate every feature that at least one text shows.

    Args:
        texts: the person's texts; empty ones are skipped, short ones count less.
        reference: the reference statistics; the shipped ones if None.
    """
    reference = reference or load_reference()
    filled = [text for text in texts if words_of(text)]
    rows = [measure(text) for text in filled]
    sizes = [min(1.0, len(words_of(text)) / reference.excerpt_words) for text in filled]
    found: dict[str, Estimate] = {}
    for name in FEATURES.keys() & reference.features.keys():
        known = [(value, size) for row, size in zip(rows, sizes, strict=True) if (value := row[name]) is not None]
        if known:
            found[name] = _estimate_feature(name, known, reference)
    return {name: found[name] for name in FEATURES if name in found}


def _estimate_feature(name: str, known: Sequence[tuple[float, float]], reference: Reference) -> Estimate:
    """Estimate a feature from its values, weighted by each text's share of a full excerpt: short texts are noisier."""
    usual = reference.features[name].mean
    between, within = reference.spread(name)
    values, weights = [value for value, _ in known], [size for _, size in known]
    count = sum(weights)
    value = fmean(values, weights)
    own = fmean([(each - value) ** 2 for each in values], weights) * count
    variance = (PRIOR_TEXTS * within**2 + own) / (PRIOR_TEXTS + max(0.0, count - 1))
    trust = between**2 / (between**2 + variance / count)
    return Estimate(
        value=value,
        usual=usual,
        z=trust * (value - usual) / between,
        margin=CONFIDENCE * (variance / count) ** 0.5,
        spread=(variance + (1 - trust) * between**2) ** 0.5,
        texts=len(values),
    )


class Measured(Protocol):
    """One feature of a person, such as an ``Estimate`` or a profile's ``Measurement``."""

    @property
    def z(self) -> float:
        """The distance from the reference mean in between-person standard deviations, shrunken."""

    @property
    def spread(self) -> float | None:
        """The standard deviation of a further text, in the feature's unit; None: the reference's."""


def likeness(text: str, style: Mapping[str, Measured], reference: Reference | None = None) -> float:
    """The log-likelihood ratio that a text is the person's and not anybody's, in nats; 0.0 if nothing can be compared.

    Args:
        text: a text that the style was not measured on.
        style: the person's features by name.
        reference: the reference statistics; the shipped ones if None.
    """
    reference = reference or load_reference()
    features = measure(text)
    # In a text shorter than the reference's, every feature is noisier.
    noisier = max(1.0, reference.excerpt_words / max(1, len(words_of(text))))
    families: dict[str, list[float]] = {}
    for name, of_person in style.items():
        value = features.get(name)
        if value is None or name not in reference.features:
            continue
        between, within = reference.spread(name)
        usual, extra = reference.features[name].mean, within**2 * (noisier - 1)
        person = _log_density(value - usual - of_person.z * between, (of_person.spread or within) ** 2 + extra)
        anybody = _log_density(value - usual, within**2 * noisier + between**2)
        nats = max(-_MOST_NATS, min(_MOST_NATS, person - anybody))
        families.setdefault(FEATURES[name].family, []).append(nats)
    return _TEMPER * sum(map(fmean, families.values()))


def keep_opening_features(style: Mapping[str, Value]) -> dict[str, Value]:
    """Keep the features that the beginning of a text shows: all but its ending and its paragraphs."""
    return {name: value for name, value in style.items() if name not in _OF_WHOLE_TEXTS}


def _log_density(distance: float, variance: float) -> float:
    return -0.5 * (distance**2 / variance + math.log(variance))


def measure_style(records: Sequence[Record]) -> dict[str, Measurement]:
    """Measure the style of a person's samples. Texts they chose or corrected were written by others, too, and are
    left out."""
    written = [record.text for record in records if isinstance(record, Sample)]
    return {
        name: Measurement(
            value=round(found.value, 4),
            reference=round(found.usual, 4),
            z=round(found.z, 3),
            spread=round(max(found.spread, 0.0001), 4),
        )
        for name, found in estimate(written).items()
    }
