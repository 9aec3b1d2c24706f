"""Solver of choices: which of two answers a profile makes more likely, and which one a model picks by letter.

By likelihood, the answers are scored as the model's next turn after the strategy's messages; with an agreement
question, "Yes" and "No" are scored as answers to it. A fitted profile also picks by its reward, or by its tested
hypotheses where it has none (``hyperalign.programs.judge``).
"""

from __future__ import annotations

from typing import Any

import dspy

from hyperalign.concurrency import concurrency_of, run_concurrently
from hyperalign.profile import Profile
from hyperalign.programs.binary_choice import ChooseByLetter
from hyperalign.programs.judge import Judge
from hyperalign.programs.reward.features import Encoder
from hyperalign.programs.strategies import PROFILE_WORDS, Strategy
from hyperalign.scores import Scorer, TextScore

from ..cases import Case
from ..conditions import BARE, GOLD, NONE, VERIFIED, VOTES, Condition, Conditions, votes
from ..metrics.choice import Letters, Margin, margin, win

__all__ = ["ChoiceSolver", "ask_letters", "fill_picks", "pick_probability", "pick_scores", "read_margin"]

_PICKS = {"accuracy": "pick", "own_over_other": "pick_own_over_other"}
_ANSWERS = ["Yes", "No"]


def read_margin(
    scorer: Scorer, case: Case, strategy: Strategy, profile: Profile, max_words: int = PROFILE_WORDS
) -> Margin:
    """How much likelier the preferred answer is after what a strategy says of the person.

    Args:
        scorer: gives log-probabilities of text.
        case: two answers.
        strategy: how the profile is put before the model.
        profile: of the person.
        max_words: that the strategy may use for it.
    """

    def score(prompt: str, texts: list[str]) -> list[TextScore]:
        # An empty system turn asks for the instructions of ``generate``, which do not belong here.
        turns = [turn for turn in strategy.condition(profile, prompt, max_words) if turn["content"]]
        return scorer.score(turns, texts)

    if not case.agreement:
        return margin(*score(case.prompt, [case.chosen, case.rejected]))
    chosen, rejected = (
        margin(*score(case.agreement.format(text=text), _ANSWERS)) for text in (case.chosen, case.rejected)
    )
    return chosen - rejected


def ask_letters(
    scorer: Scorer | None, case: Case, strategy: Strategy, profile: Profile, max_words: int = PROFILE_WORDS
) -> Letters:
    """The probabilities of picking the preferred answer by letter, in both orders.

    Args:
        scorer: gives log-probabilities of the letters; DSPy's configured model is asked if None.
        case: two answers.
        strategy: how the profile is put before the model.
        profile: of the person.
        max_words: that the strategy may use for it.
    """
    choose = ChooseByLetter(strategy, max_words=max_words, scorer=scorer)
    concurrency = concurrency_of(dspy.settings.lm) if scorer is None else 1

    def first_of(order: tuple[str, str]) -> float:
        return float(choose(prompt=case.prompt, first=order[0], second=order[1], profile=profile).probability)

    orders = [(case.chosen, case.rejected), (case.rejected, case.chosen)]
    shown_first, shown_second = run_concurrently(first_of, orders, concurrency)
    return Letters(shown_first, 1.0 - shown_second)


def pick_probability(judge: Judge, case: Case, profile: Profile) -> float:
    """The probability of the preferred answer, by the profile's reward or its tested statements."""
    answers = [case.chosen, case.rejected]
    found = judge(prompt=case.prompt, answers=answers, profile=profile, draft=case.draft or None)
    return float(found.probabilities[0])


def pick_scores(case: Case, condition: Condition, judge: Judge) -> dict[str, float]:
    """``pick`` and ``pick_own_over_other`` of a condition with a fitted profile; empty for any other.

    Args:
        case: two answers.
        condition: a strategy or a control.
        judge: picks by the profile's reward, or by its tested statements where it has none.
    """
    if condition.strategy.name != VERIFIED or condition.name == GOLD:
        return {}
    own = pick_probability(judge, case, condition.profile)
    scores = {"pick": win(own, 0.5)}
    if condition.other is not None:
        scores["pick_own_over_other"] = win(own, pick_probability(judge, case, condition.other))
    return scores


def fill_picks(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Scores by condition; if any condition has picks, the others' accuracies stand for theirs."""
    if not any("pick" in found for found in scores.values()):
        return scores
    return {
        condition: {**{pick: found[metric] for metric, pick in _PICKS.items() if metric in found}, **found}
        for condition, found in scores.items()
    }


class ChoiceSolver:
    """Scores one choice case under all conditions.

    Called with a case, it returns ``prompt``, ``chosen``, ``rejected``, ``margins`` (in nats, by condition),
    ``context`` (what was said of the person, by condition) and ``scores`` (by condition and metric). By likelihood,
    ``none`` has a margin and no score, as gains are relative to it.

    Args:
        conditions: strategies and controls.
        scorer: gives log-probabilities of text; without one, choices are asked by letter.
        letters: whether choices are also asked by letter.
        encoder: the one that the profiles' rewards were learned with, if they were.
        max_words: that a strategy may use for a profile.
    """

    def __init__(
        self,
        conditions: Conditions,
        scorer: Scorer | None,
        *,
        letters: bool = False,
        encoder: Encoder | None = None,
        max_words: int = PROFILE_WORDS,
    ) -> None:
        self._conditions = conditions
        self._scorer = scorer
        self._judge = Judge(scorer, encoder=encoder)
        self._letters = letters or scorer is None
        self._max_words = max_words

    def __call__(self, case: Case) -> dict[str, Any]:
        """Score one case; see the class."""
        conditions = self._conditions.of(case)
        margins: dict[str, Margin] = {}
        scores: dict[str, dict[str, float]] = {condition.name: {} for condition in conditions}
        if self._scorer is not None:
            self._by_likelihood(case, conditions, self._scorer, margins, scores)
        if self._letters:
            self._by_letter(case, conditions, scores)
        if VOTES in self._conditions.controls:
            scores |= votes(case)
        return {
            "prompt": case.prompt,
            "chosen": case.chosen,
            "rejected": case.rejected,
            "margins": {condition: {"total": value.total, "mean": value.mean} for condition, value in margins.items()},
            "context": {condition.name: condition.shown(case.prompt, self._max_words) for condition in conditions},
            "scores": fill_picks(scores),
        }

    def _by_likelihood(
        self,
        case: Case,
        conditions: list[Condition],
        scorer: Scorer,
        margins: dict[str, Margin],
        scores: dict[str, dict[str, float]],
    ) -> None:
        def margin_of(strategy: Strategy, profile: Profile) -> Margin:
            return read_margin(scorer, case, strategy, profile, self._max_words)

        margins[NONE] = bare = margin_of(BARE.strategy, BARE.profile)
        for condition in conditions:
            margins[condition.name] = own = margin_of(condition.strategy, condition.profile)
            gain = own - bare
            scores[condition.name] |= {"accuracy": win(gain.mean, 0.0), "accuracy_sum": win(gain.total, 0.0)}
            if condition.other is not None:
                other = margin_of(condition.strategy, condition.other)
                margins[f"{condition.name}, other user"] = other
                scores[condition.name] |= {
                    "own_over_other": win(own.mean, other.mean),
                    "own_over_other_sum": win(own.total, other.total),
                }
            scores[condition.name] |= pick_scores(case, condition, self._judge)

    def _by_letter(self, case: Case, conditions: list[Condition], scores: dict[str, dict[str, float]]) -> None:
        def ask(strategy: Strategy, profile: Profile) -> Letters:
            return ask_letters(self._scorer, case, strategy, profile, self._max_words)

        # Without likelihoods, accuracy is by letter.
        name = "accuracy" if self._scorer is None else "accuracy_letter"
        if NONE in self._conditions.controls:
            conditions = [*conditions, BARE]
        for condition in conditions:
            own = ask(condition.strategy, condition.profile)
            found = scores.setdefault(condition.name, {})
            found |= {name: own.accuracy, "order_consistency": own.consistency}
            if condition.other is not None and self._scorer is None:
                found["own_over_other"] = win(own.chosen, ask(condition.strategy, condition.other).chosen)
