"""Choice metrics: margins of likelihood (AlignX, section 5, "alignment accuracy"), letters, and votes of features.

The margin is log p(chosen | profile, prompt) - log p(rejected | profile, prompt), and its gain is the margin above that
of the prompt alone. Accuracy is the share of gains above zero; own over other is the share of cases in which the
person's own profile has a higher margin than another user's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from hyperalign.records import Record, Sample, other_text, own_text
from hyperalign.scores import TextScore
from hyperalign.style.features import reading_ease
from hyperalign.style.parsed import parse

__all__ = ["FEATURES", "Letters", "Margin", "margin", "vote", "vote_condition", "win"]


def win(own: float, other: float) -> float:
    """1.0 if the first value is higher, 0.0 if the second is, 0.5 for a tie."""
    return 0.5 if own == other else float(own > other)


@dataclass(frozen=True, slots=True)
class Letters:
    """Probabilities of picking the chosen answer by letter, in both orders, as models favor a position.

    Attributes:
        first: where the chosen answer is shown first.
        second: where it is shown second.
    """

    first: float
    second: float

    @property
    def chosen(self) -> float:
        """The mean probability of both orders."""
        return (self.first + self.second) / 2

    @property
    def accuracy(self) -> float:
        """Whether the chosen answer is likelier over both orders, as ``win``."""
        return win(self.chosen, 0.5)

    @property
    def consistency(self) -> float:
        """Whether both orders pick the same answer, as ``win``."""
        return win((self.first - 0.5) * (self.second - 0.5), 0.0)


@dataclass(frozen=True, slots=True)
class Margin:
    """How much likelier the chosen answer is than the rejected one.

    Attributes:
        total: in nats, over the whole answers.
        mean: in nats per token, so that long answers weigh no more than short ones.
    """

    total: float
    mean: float

    def __sub__(self, other: Margin) -> Margin:
        return Margin(self.total - other.total, self.mean - other.mean)


def margin(chosen: TextScore, rejected: TextScore) -> Margin:
    """The margin of two scored answers."""
    return Margin(chosen.logprob - rejected.logprob, chosen.mean - rejected.mean)


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
    """Whether a feature picks the chosen answer, judged by the person's history alone.

    On some benchmarks length alone picks the chosen answer in four of five cases: a choice metric means little below
    these votes. From pairs and edits the vote learns whether the person prefers higher values; from samples, it picks
    the answer that is nearer to their mean.

    Args:
        name: one of ``FEATURES``.
        records: the person's history.
        chosen: the answer that the person prefers.
        rejected: the other answer.

    Returns:
        1.0, 0.0, or 0.5 where the history is undecided.
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


def vote_condition(feature: str) -> str:
    """The name of a feature vote's condition."""
    return f"vote-{feature}"
