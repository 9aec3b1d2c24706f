"""Votes of features that need no model: what a choice metric must beat to mean anything.

Each vote learns from the person's own history alone: do they prefer the longer answer, the longer
words, the easier text? Where the history is undecided, so is the vote, and it counts half. On
some benchmarks length alone finds the chosen answer in four cases of five.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from hyperalign.records import Record, Sample, other_text, own_text
from hyperalign.style.features import reading_ease
from hyperalign.style.parsed import parse

__all__ = ["FEATURES", "vote"]

_WORD = re.compile(r"\w+")


def _length(text: str) -> float:
    return float(len(_WORD.findall(text)))


def _word_length(text: str) -> float:
    words = _WORD.findall(text)
    return fmean(map(len, words)) if words else 0.0


def _readability(text: str) -> float:
    return reading_ease(parse(text)) or 0.0


FEATURES: Mapping[str, Callable[[str], float]] = {
    "length": _length,
    "word-length": _word_length,
    "readability": _readability,
}


def vote(name: str, records: Sequence[Record], chosen: str, rejected: str) -> float:
    """Whether a feature, preferred as in the person's history, picks the chosen answer.

    For pairs and edits the history says which side they took; for samples, which of the two answers is nearer to
    their own mean.

    Args:
        name: one of ``FEATURES``.
        records: the person's history.
        chosen: the answer they prefer.
        rejected: the other one.

    Returns:
        1.0, 0.0, or 0.5 where nothing can be said.
    """
    feature = FEATURES[name]
    own = [feature(record.text) for record in records if isinstance(record, Sample)]
    if own:
        mean = fmean(own)
        apart = abs(feature(rejected) - mean) - abs(feature(chosen) - mean)
    else:
        sides = [_sign(feature(own_text(record)) - feature(other_text(record) or "")) for record in records]
        apart = _sign(sum(sides)) * (feature(chosen) - feature(rejected))
    return (_sign(apart) + 1) / 2


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
