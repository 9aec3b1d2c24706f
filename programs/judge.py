"""Which of several answers a person would take, how probable that is, and which hypotheses decided.

Each kept statement reads every two answers beside each other, as it read the person's own choices (the test by
likelihood). If its cells there lie about its tested gain when the person's choice comes first, and about the opposite
when it comes second, a cell c speaks for the first answer with 2 * gain * c / variance nats of log-odds. Statements
overlap, so their log-odds are averaged and not added. Where no statement is kept, all answers are equally probable.
This file knows no runtime: the scorer is handed in.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import dspy
import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Pair
from hyperalign.scores import Scorer

from .scope import narrowed
from .score import fill
from .testing.likelihood import LikelihoodTest

__all__ = ["Judge"]

_INTERVAL = 3.29
"""A 90 % interval has so many standard errors."""


class Judge(dspy.Module):
    """Says which of several answers a person would take.

    Args:
        scorer: gives log-probabilities of text.
        words: how many words of each answer are read.
    """

    def __init__(self, scorer: Scorer, *, words: int = 50) -> None:
        super().__init__()
        self._test = LikelihoodTest(scorer, words=words)

    def forward(self, prompt: str, answers: Sequence[str], profile: Profile) -> dspy.Prediction:
        """Judge.

        Args:
            prompt: what all of them answer.
            answers: two or more.
            profile: the person.

        Returns:
            ``best`` (its number, from 0), ``probabilities`` (one an answer, summing to 1) and ``decided`` (hypotheses
            with the nats that each gives the best answer over the next one, the weightiest first).

        Raises:
            InputError: there are fewer than two answers, or one is blank.
        """
        if len(answers) < 2 or not all(answer.strip() for answer in answers):
            raise InputError("There are not two answers to judge.", remedy="Give two or more, none of them blank.")
        statements = [h for h in narrowed(profile, prompt).hypotheses if self._test.applies(h) and _nats_a_cell(h) > 0]
        odds = self._odds(prompt, answers, profile.user, statements)
        # (answers, answers, statements) to one strength an answer, as Bradley and Terry (1952) have it.
        strengths = odds.mean(axis=2).sum(axis=1) / len(answers) if statements else np.zeros(len(answers))
        shares = np.exp(strengths - strengths.max())
        probabilities = (shares / shares.sum()).tolist()
        best, second = sorted(range(len(answers)), key=lambda at: -strengths[at])[:2]
        nats = [(statement, float(value)) for statement, value in zip(statements, odds[best, second], strict=True)]
        decided = sorted(nats, key=lambda each: -abs(each[1]))
        return dspy.Prediction(best=best, probabilities=probabilities, decided=decided)

    def _odds(
        self, prompt: str, answers: Sequence[str], user: str, statements: Sequence[Hypothesis]
    ) -> NDArray[np.float64]:
        """Log-odds of each answer over each other one, by statement."""
        odds = np.zeros((len(answers), len(answers), len(statements)))
        if not statements:
            return odds
        for one, other in itertools.combinations(range(len(answers)), 2):
            pair = Pair(user=user, prompt=prompt, chosen=answers[one], rejected=answers[other])
            cells = fill(self._test, statements, [pair], made_from={}).values[0]
            for number, (statement, cell) in enumerate(zip(statements, cells, strict=True)):
                odds[one, other, number] = cell * _nats_a_cell(statement)
        return odds - odds.transpose(1, 0, 2)


def _nats_a_cell(statement: Hypothesis) -> float:
    """Log-odds that one nat of a cell is worth; 0 for what was never tested."""
    test = statement.test
    if test is None:
        return 0.0
    error = max((test.high - test.low) / _INTERVAL, 1e-6)
    variance = error**2 * max(1, len(test.records))
    # The tested gain is shrunken by what is believed of it; without bounds one odd cell would decide alone.
    return min(2.0 * statement.weight * test.gain / variance, 2.0 / math.sqrt(variance))
