"""Which of two answers a model takes for the person's, by letter and in both orders.

Models favor a position: an answer is asked about first and second, and the share of cases in which both
orders agree is told beside the accuracy. Where they disagree, the surer order decides; a tie counts half.
This file asks nothing: it is handed probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

from .win import win

__all__ = ["Letters"]


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
