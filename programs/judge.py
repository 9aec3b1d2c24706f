"""Which of several answers is a person's, or would be taken by them, how probable that is, and what decided.

**Measured style** gives each answer log-odds of being theirs (``hyperalign.style.estimate``); it needs no model, and
is known only of people who wrote something.

**Kept statements** read every two answers beside each other, as they read the person's own choices (the test by
likelihood, or by choice where a model is asked). If a statement's cells there lie about its tested gain when the
person's choice comes first, and about the opposite when it comes second, a cell c speaks for the first answer with
2 * gain * c / variance nats of log-odds. Statements overlap, so their log-odds are averaged and not added. What
somebody said of themselves (a leaning that was set or flipped by hand) has no test, and counts as one whose test was
clear.

Where nothing of the person has held, all answers are equally probable.
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
"""A 90 % interval has so many standard errors."""
_SAID = {"likelihood": 0.8, "choice": 2.0}
"""Log-odds by unit of a cell, by test, where somebody said so: choices lie one spread of single choices to either side.
Cells of the embedded model's likelihoods spread by 2.5 nats (the median over statements kept of choices); a choice that
is sure in both orders, half a unit, is taken for right in three of four cases."""


class Judge(Program):
    """Says which of several answers is a person's, or would be taken by them.

    Args:
        scorer: gives log-probabilities of text.
        lm: asked which answer each statement fits, where there is no scorer; with neither, measured style decides.
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
            with the nats that each gives the best answer over the next one, the weightiest first) and ``style`` (the
            nats that measured style gives it).

        Raises:
            InputError: there are fewer than two answers, or one is blank.
        """
        return self._judged(prompt, answers, profile)

    async def aforward(self, prompt: str, answers: Sequence[str], profile: Profile) -> dspy.Prediction:
        """The same, asynchronously; the texts are read in a thread."""
        return await asyncio.to_thread(self._judged, prompt, answers, profile)

    def _judged(self, prompt: str, answers: Sequence[str], profile: Profile) -> dspy.Prediction:
        if len(answers) < 2 or not all(answer.strip() for answer in answers):
            raise InputError("There are not two answers to judge.", remedy="Give two or more, none of them blank.")
        test, style = self._test, np.array([likeness(answer, profile.style) for answer in answers])
        kept = narrow(profile, prompt).hypotheses if test is not None else []
        statements = [h for h in kept if test is not None and test.applies(h) and _odds_a_cell(h, test.name) > 0]
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


def _odds(
    test: HypothesisTest | None, prompt: str, answers: Sequence[str], user: str, statements: Sequence[Hypothesis]
) -> NDArray[np.float64]:
    """Log-odds of each answer over each other one, by statement."""
    odds = np.zeros((len(answers), len(answers), len(statements)))
    if test is None or not statements:
        return odds
    every_two = list(itertools.combinations(range(len(answers)), 2))
    pairs = [Pair(user=user, prompt=prompt, chosen=answers[one], rejected=answers[other]) for one, other in every_two]
    worth = np.array([_odds_a_cell(statement, test.name) for statement in statements])
    for (one, other), cells in zip(every_two, fill(test, statements, pairs, made_from={}).values, strict=True):
        odds[one, other] = cells * worth
    return odds - odds.transpose(1, 0, 2)


def _odds_a_cell(statement: Hypothesis, by: str) -> float:
    """Log-odds that one unit of a test's cell is worth: 0 for what was never tested, unless somebody said it."""
    test = statement.test
    if test is None:
        return _SAID[by] * statement.weight if statement.source in BY_HAND else 0.0
    if test.test != by:
        # Its bounds are in the other test's unit (nats, or shares of a choice), and say nothing of this one's spread.
        return _SAID[by] * statement.weight
    error = max((test.high - test.low) / _INTERVAL, 1e-6)
    variance = error**2 * max(1, len(test.records))
    # The tested gain is shrunken by what is believed of it; without bounds one odd cell would decide alone.
    return min(2.0 * statement.weight * test.gain / variance, 2.0 / math.sqrt(variance))
