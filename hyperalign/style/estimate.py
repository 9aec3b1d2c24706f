"""What a few texts say of a person's measured style: the mean of each feature, shrunken toward what is usual.

People differ by so much, one person's texts by so much, and a few texts are noisy: with those three the person's true
mean has a belief, and so has their next text (the normal model of empirical Bayes). This file makes no claim and
compares no text: ``claims`` and ``likeness`` do.

How much likelier a text is from a person than from anybody, by measured style alone.

Each feature of the text has a density under the person (about their shrunken mean) and one under everybody (about the
usual); the log of their ratio is evidence in nats, as in forensic comparison of texts. Features of one family tell the
same story and are averaged; families are added, and the sum is tempered, since families overlap too. This file knows no
profile: it is handed numbers.

The measured style of a profile, from the texts that a person wrote. This file knows no test and no model.
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
# How many texts the reference's within-person spread is worth beside the person's own.
PRIOR_TEXTS = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """One feature of one person.

    Attributes:
        value: the mean over their texts, in the feature's unit.
        usual: the reference mean.
        z: distance of the two in between-person deviations, shrunken for sampling noise.
        margin: half of the 95 % interval of the person's true mean.
        spread: standard deviation of one further text about the shrunken mean: what texts differ by, and what is not
            known of the mean.
        texts: how many texts show the feature.
    """

    value: float
    usual: float
    z: float
    margin: float
    spread: float
    texts: int


def estimate(texts: Sequence[str], reference: Reference | None = None) -> dict[str, Estimate]:
    """Estimate every feature that some text shows.

    Args:
        texts: what the person wrote; empty ones are passed over, short ones count for less.
        reference: what is usual; the one that ships if left out.
    """
    reference = reference or load_reference()
    filled = [text for text in texts if words_of(text)]
    rows = [measure(text) for text in filled]
    sizes = [min(1.0, len(words_of(text)) / reference.excerpt_words) for text in filled]
    found: dict[str, Estimate] = {}
    for name in FEATURES.keys() & reference.features.keys():
        known = [(value, size) for row, size in zip(rows, sizes, strict=True) if (value := row[name]) is not None]
        if known:
            found[name] = _estimate(name, known, reference)
    return {name: found[name] for name in FEATURES if name in found}


def _estimate(name: str, known: Sequence[tuple[float, float]], reference: Reference) -> Estimate:
    """From values and how much of a full excerpt each text is, 0 to 1: short texts are noisier."""
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


Value = TypeVar("Value")
# What the beginning of a text does not show, however like its writer it is.
_OF_WHOLE_TEXTS = frozenset({"paragraph_words", "sign_off"})

# One odd feature, such as a single dash in a short text, must not decide alone.
_MOST_NATS = 2.0
# The slope of a logistic regression of "own or another's answer" on the difference of plain sums: 0.31 over 108 pairs
# of answers by nine development writers of SQuALITY.
_TEMPER = 0.3


class Measured(Protocol):
    """One feature of a person: see ``Estimate``."""

    @property
    def z(self) -> float:
        """Distance from the usual in between-person deviations, shrunken."""

    @property
    def spread(self) -> float | None:
        """Standard deviation of a further text, in the feature's unit; None where only
        the reference's is known."""


def likeness(text: str, style: Mapping[str, Measured], reference: Reference | None = None) -> float:
    """Log-odds that a text is the person's and not anybody's, in nats; 0.0 where nothing can be compared.

    Args:
        text: a text that the style was not measured on, or a draft.
        style: the person's features by name.
        reference: what is usual; the one that ships if left out.
    """
    reference = reference or load_reference()
    features = measure(text)
    # In a short text every feature is noisier than in those that the reference was measured on.
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
    """The part of a person's style that the beginning of a text shows: all but how it ends and how it is laid out.

    Args:
        style: features by name, measured on whole texts.
    """
    return {name: value for name, value in style.items() if name not in _OF_WHOLE_TEXTS}


def _log_density(distance: float, variance: float) -> float:
    return -0.5 * (distance**2 / variance + math.log(variance))


def measure_style(records: Sequence[Record]) -> dict[str, Measurement]:
    """Measured style of what a person wrote; what they chose or corrected is somebody else's writing too.

    Args:
        records: one person's; only samples count.
    """
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
