"""How much likelier a text is from a person than from anybody, by measured style alone.

Each feature of the text has a density under the person (about their shrunken mean) and one under everybody (about the
usual); the log of their ratio is evidence in nats, as in forensic comparison of texts. Features of one family tell the
same story and are averaged; families are added, and the sum is tempered, since families overlap too. This file knows no
profile: it is handed numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Protocol, TypeVar

from .features import FEATURES, measure
from .parsed import words_of
from .reference import Reference, load_reference

__all__ = ["Measured", "likeness", "of_beginnings"]

Kind = TypeVar("Kind")
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


def of_beginnings(style: Mapping[str, Kind]) -> dict[str, Kind]:
    """The part of a person's style that the beginning of a text shows: all but how it ends and how it is laid out.

    Args:
        style: features by name, measured on whole texts.
    """
    return {name: value for name, value in style.items() if name not in _OF_WHOLE_TEXTS}


def _log_density(distance: float, variance: float) -> float:
    return -0.5 * (distance**2 / variance + math.log(variance))
