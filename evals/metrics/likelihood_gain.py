"""What a profile adds to the answer that a person prefers: the choice metric (AlignX, section 5, "alignment accuracy").

margin = log p(chosen | profile, prompt) - log p(rejected | profile, prompt), and its gain is the margin
above that of the prompt alone. Accuracy is the share of cases with a gain above zero; own over
other is the share where the person's own profile has a higher margin than another person's.
This file runs no model: it is handed scores.
"""

from __future__ import annotations

from dataclasses import dataclass

from hyperalign.scores import TextScore

from .win import win

__all__ = ["Margin", "accuracy", "margin", "own_over_other"]


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
