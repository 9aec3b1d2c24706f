"""Judges which of several answers is a person's, or would be chosen by them, with probabilities and reasons.

Measured style gives each answer log-odds without a model (``hyperalign.style.reference``).

Kept statements are tested on each pair of answers as on the person's own choices, by likelihood or by choice. If the
cells of a pair are normal around the statement's tested gain when the person's answer comes first, and around its
negative when it comes second, a cell c adds 2 * gain * c / variance nats for the first answer. Statements overlap, so
their log-odds are averaged. A statement that was set by hand has no test, and counts as if its test were clear.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence

import dspy
import numpy as np
from numpy.typing import NDArray

from hyperalign.errors import InputError
from hyperalign.profile import BY_HAND, Hypothesis, Profile
from hyperalign.records import Pair
from hyperalign.scores import Scorer
from hyperalign.style import likeness

from .hypothesis_tests import HypothesisTest, fill
from .hypothesis_tests.choice import ChoiceTest, WhichFits
from .hypothesis_tests.likelihood import LikelihoodTest
from .program import Program
from .scope import narrow

__all__ = ["Judge"]

_INTERVAL = 3.29
"""The width of a 90 % interval in standard errors."""
_SET_BY_HAND = {"likelihood": 0.8, "choice": 2.0}
"""Log-odds per unit of a cell, by test, of statements set by hand. For likelihoods, choices are taken to lie one spread
(2.5 nats, the median of kept statements with the embedded model) to either side; by choice, one that is sure in both
orders, half a unit, is taken to be right in three of four cases."""


class Judge(Program):
    """Judges which of several answers is a person's, or would be chosen by them; with an empty profile, all are equal.

    Args:
        scorer: gives log-probabilities of text.
        lm: asked which answer each statement fits, without a scorer; with neither, measured style decides.
        words: how many words of each answer are read.
    """

    def __init__(self, scorer: Scorer | None = None, *, lm: dspy.LM | None = None, words: int = 50) -> None:
        super().__init__()
        self._test: HypothesisTest | None = LikelihoodTest(scorer, words=words) if scorer is not None else None
        if scorer is None and lm is not None:
            self.question = WhichFits(lm)
            self._test = ChoiceTest(lm, {}, words=words, question=self.question)

    def forward(self, prompt: str, answers: Sequence[str], profile: Profile) -> dspy.Prediction:
        """Judge.

        Args:
            prompt: what all of them answer.
            answers: two or more.
            profile: the person.

        Returns:
            ``best`` (its number, from 0), ``probabilities`` (one an answer, summing to 1), ``decided`` (hypotheses
            with the nats that each adds to the best answer over the second, the largest first) and ``style`` (the nats
            of measured style).

        Raises:
            InputError: there are fewer than two answers, or one is blank.
        """
        if len(answers) < 2 or not all(answer.strip() for answer in answers):
            raise InputError("There are not two answers to judge.", remedy="Give two or more, none of them blank.")
        test, style = self._test, np.array([likeness(answer, profile.style) for answer in answers])
        kept = narrow(profile, prompt).hypotheses if test is not None else []
        statements = [h for h in kept if test is not None and test.applies(h) and _odds_per_unit(h, test.name) > 0]
        odds = _odds(test, prompt, answers, profile.user, statements)
        # (answers, answers, statements) to one strength an answer, as Bradley and Terry (1952) have it.
        read = odds.mean(axis=2).sum(axis=1) / len(answers) if statements else np.zeros(len(answers))
        strengths = style + read
        shares = np.exp(strengths - strengths.max())
        probabilities = (shares / shares.sum()).tolist()
        best, second = sorted(range(len(answers)), key=lambda at: -strengths[at])[:2]
        nats = [(statement, float(value)) for statement, value in zip(statements, odds[best, second], strict=True)]
        decided = sorted(nats, key=lambda each: -abs(each[1]))
        measured = float(style[best] - style[second])
        return dspy.Prediction(best=best, probabilities=probabilities, decided=decided, style=measured)

    async def aforward(self, prompt: str, answers: Sequence[str], profile: Profile) -> dspy.Prediction:
        """``forward``, in a thread."""
        return await asyncio.to_thread(self.forward, prompt, answers, profile)


def _odds(
    test: HypothesisTest | None, prompt: str, answers: Sequence[str], user: str, statements: Sequence[Hypothesis]
) -> NDArray[np.float64]:
    """Log-odds of each answer over each other one, by statement."""
    odds = np.zeros((len(answers), len(answers), len(statements)))
    if test is None or not statements:
        return odds
    every_two = list(itertools.combinations(range(len(answers)), 2))
    pairs = [Pair(user=user, prompt=prompt, chosen=answers[one], rejected=answers[other]) for one, other in every_two]
    worth = np.array([_odds_per_unit(statement, test.name) for statement in statements])
    for (one, other), cells in zip(every_two, fill(test, statements, pairs, made_from={}).values, strict=True):
        odds[one, other] = cells * worth
    return odds - odds.transpose(1, 0, 2)


def _odds_per_unit(statement: Hypothesis, by: str) -> float:
    """Log-odds per unit of a test's cell; 0 for a statement that was neither tested nor set by hand."""
    test = statement.test
    if test is None:
        return _SET_BY_HAND[by] * statement.weight if statement.source in BY_HAND else 0.0
    if test.test != by:
        # The bounds of another test are in another unit.
        return _SET_BY_HAND[by] * statement.weight
    error = max((test.high - test.low) / _INTERVAL, 1e-6)
    variance = error**2 * max(1, len(test.records))
    # The gain is shrunk by the weight; the bound keeps one outlying cell from deciding alone.
    return min(2.0 * statement.weight * test.gain / variance, 2.0 / math.sqrt(variance))
