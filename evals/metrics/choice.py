"""Which of two values is higher: what accuracies, win rates and own over other are shares of.

Which of two answers a model takes for the person's, by letter and in both orders.

Models favor a position: an answer is asked about first and second, and the share of cases in which both
orders agree is told beside the accuracy. Where they disagree, the surer order decides; a tie counts half.
This file asks nothing: it is handed probabilities.

What a profile adds to the answer that a person prefers: the choice metric (AlignX, section 5, "alignment accuracy").

margin = log p(chosen | profile, prompt) - log p(rejected | profile, prompt), and its gain is the margin
above that of the prompt alone. Accuracy is the share of cases with a gain above zero; own over
other is the share where the person's own profile has a higher margin than another person's.
This file runs no model: it is handed scores.

Votes of features that need no model: what a choice metric must beat to mean anything.

Each vote learns from the person's own history alone: do they prefer the longer answer, the longer
words, the easier text? Where the history is undecided, so is the vote, and it counts half. On
some benchmarks length alone finds the chosen answer in four cases of five.
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

__all__ = ["FEATURES", "Letters", "Margin", "accuracy", "margin", "own_over_other", "vote", "vote_condition", "win"]


def win(own: float, other: float) -> float:
    """1 where the first is higher, 0 where the second is; a tie counts half."""
    return 0.5 if own == other else float(own > other)


@dataclass(frozen=True, slots=True)
class Letters:
    """What was answered.

    Attributes:
        first: probability that the chosen answer is taken where it stands first.
        second: the same where it stands second.
    """

    first: float
    second: float

    @property
    def chosen(self) -> float:
        """Probability of the chosen answer over both orders."""
        return (self.first + self.second) / 2

    @property
    def accuracy(self) -> float:
        """1 if the chosen answer is likelier over both orders, 0 if the other is; a tie counts half."""
        return win(self.chosen, 0.5)

    @property
    def consistency(self) -> float:
        """1 if both orders take the same answer, 0 if not; a tie in either counts half."""
        return win((self.first - 0.5) * (self.second - 0.5), 0.0)


@dataclass(frozen=True, slots=True)
class Margin:
    """How much likelier the chosen answer is than the rejected one.

    Attributes:
        total: in nats, over the whole answers.
        mean: in nats per token: long answers weigh no more than short ones.
    """

    total: float
    mean: float

    def __sub__(self, other: Margin) -> Margin:
        return Margin(self.total - other.total, self.mean - other.mean)


def margin(chosen: TextScore, rejected: TextScore) -> Margin:
    """The margin of two scored answers."""
    return Margin(chosen.logprob - rejected.logprob, chosen.mean - rejected.mean)


def accuracy(gain: float) -> float:
    """1 where a profile raises the chosen answer above the rejected one, 0 where it lowers it; a tie counts half."""
    return win(gain, 0.0)


def own_over_other(own: float, other: float) -> float:
    """1 where the person's own profile has the higher margin, 0 where another person's has; a tie counts half."""
    return win(own, other)


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


def vote_condition(feature: str) -> str:
    """The name of the condition that votes by a feature."""
    return f"vote-{feature}"
