"""Judges which of several answers is a person's, or would be chosen by them, with probabilities and reasons.

Where the profile has a reward (``hyperalign.programs.reward``), it decides: its probabilities are calibrated on other
people, and need no language model. Tested statements can be read beside it, to say more.

Without a reward, kept statements decide. They are tested on each pair of answers as on the person's own choices, by
likelihood or by choice. If the cells of a pair are normal around the statement's tested gain when the person's answer
comes first, and around its negative when it comes second, a cell c adds 2 * gain * c / variance nats for the first
answer. Statements overlap, so their log-odds are averaged. A statement that was set by hand has no test, and counts as
if its test were clear.
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

from .hypothesis_tests import HypothesisTest, fill
from .hypothesis_tests.choice import ChoiceTest, WhichFits
from .hypothesis_tests.likelihood import LikelihoodTest
from .program import Program
from .reward import Encoder, Reward
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
        scorer: gives log-probabilities of text, to read statements by.
        lm: asked which answer each statement fits, without a scorer; with neither, no statement is read.
        words: how many words of each answer are read for statements.
        encoder: the one that the profile's reward was learned with, if it was learned with one.
        explain: whether statements are read where a reward decides. They change no probability.
    """

    def __init__(
        self,
        scorer: Scorer | None = None,
        *,
        lm: dspy.LM | None = None,
        words: int = 50,
        encoder: Encoder | None = None,
        explain: bool = False,
    ) -> None:
        super().__init__()
        self._test: HypothesisTest | None = LikelihoodTest(scorer, words=words) if scorer is not None else None
        if scorer is None and lm is not None:
            self.question = WhichFits(lm)
            self._test = ChoiceTest(lm, {}, words=words, question=self.question)
        self._encoder = encoder
        self._explain = explain

    def forward(
        self, prompt: str, answers: Sequence[str], profile: Profile, draft: str | None = None
    ) -> dspy.Prediction:
        """Judge.

        Args:
            prompt: what all of them answer.
            answers: two or more.
            profile: the person.
            draft: what all of them correct, if they do; only a reward knows what that means.

        Returns:
            ``best`` (its number, from 0), ``probabilities`` (one an answer, summing to 1), ``prediction`` (of the best
            answer over the second, with its interval; None without a reward), ``features`` (what each feature adds to
            it, the most first) and ``decided`` (hypotheses with the nats that each adds to the best answer over the
            second, the most first).

        Raises:
            InputError: there are fewer than two answers, one is blank, or the reward was learned with another encoder.
        """
        if len(answers) < 2 or not all(answer.strip() for answer in answers):
            raise InputError("There are not two answers to judge.", remedy="Give two or more, none of them blank.")
        reward = Reward.from_profile(profile.reward, encoder=self._encoder) if profile.reward else None
        statements, odds = self._read_statements(prompt, answers, profile, is_needed=reward is None)
        if reward is None:
            # (answers, answers, statements) to one strength an answer, as Bradley and Terry (1952) have it.
            read = odds.mean(axis=2).sum(axis=1) / len(answers) if statements else np.zeros(len(answers))
            shares = np.exp(read - read.max())
            probabilities = shares / shares.sum()
        else:
            probabilities = reward.choose(prompt, answers, draft=draft)
        best, second = np.argsort(-probabilities, kind="stable")[:2].tolist()
        nats = [(statement, float(value)) for statement, value in zip(statements, odds[best, second], strict=True)]
        two = (prompt, answers[best], answers[second])
        return dspy.Prediction(
            best=best,
            probabilities=probabilities.tolist(),
            prediction=reward.prefer(*two, draft=draft) if reward else None,
            features=reward.explain(*two, draft=draft) if reward else [],
            decided=sorted(nats, key=lambda each: -abs(each[1])),
        )

    def _read_statements(
        self, prompt: str, answers: Sequence[str], profile: Profile, *, is_needed: bool
    ) -> tuple[list[Hypothesis], NDArray[np.float64]]:
        """The statements that bear on the prompt, and their log-odds, shape (answers, answers, statements)."""
        test = self._test if is_needed or self._explain else None
        if test is None:
            return [], np.zeros((len(answers), len(answers), 0))
        kept = narrow(profile, prompt).hypotheses
        statements = [each for each in kept if test.applies(each) and _odds_per_unit(each, test.name) > 0]
        return statements, _odds(test, prompt, answers, profile.user, statements)

    async def aforward(
        self, prompt: str, answers: Sequence[str], profile: Profile, draft: str | None = None
    ) -> dspy.Prediction:
        """``forward``, in a thread."""
        return await asyncio.to_thread(self.forward, prompt, answers, profile, draft)


def _odds(
    test: HypothesisTest, prompt: str, answers: Sequence[str], user: str, statements: Sequence[Hypothesis]
) -> NDArray[np.float64]:
    """Log-odds of each answer over each other one, by statement."""
    odds = np.zeros((len(answers), len(answers), len(statements)))
    if not statements:
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
