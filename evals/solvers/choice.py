"""Solver of choices: which of two answers a profile makes more likely, and which one a model picks by letter.

By likelihood, the answers are scored as the model's next turn after the strategy's messages; with an agreement
question, "Yes" and "No" are scored as answers to it. A fitted profile also picks by its tested hypotheses
(``hyperalign.programs.judge``).
"""

from __future__ import annotations

from typing import Any

import dspy

from hyperalign.concurrency import concurrency_of, run_concurrently
from hyperalign.profile import Profile
from hyperalign.programs.binary_choice import ChooseByLetter
from hyperalign.programs.judge import Judge
from hyperalign.programs.strategies import PROFILE_WORDS, Strategy
from hyperalign.scores import Scorer, TextScore

from ..cases import Case
from ..conditions import BARE, GOLD, NONE, VERIFIED, VOTES, Condition, Conditions
from ..controls import votes
from ..metrics.choice import Letters, Margin, margin, win

__all__ = ["ChoiceSolver", "fill_picks", "pick_scores"]

_PICKS = {"accuracy": "pick", "own_over_other": "pick_own_over_other"}
_ANSWERS = ["Yes", "No"]


def pick_scores(case: Case, condition: Condition, judge: Judge) -> dict[str, float]:
    """``pick`` and ``pick_own_over_other`` of a condition with tested hypotheses; empty for any other.

    Args:
        case: two answers.
        condition: a strategy or a control.
        judge: scores answers by hypotheses and measured style.
    """
    if condition.strategy.name != VERIFIED or condition.name == GOLD:
        return {}

    def probability(profile: Profile) -> float:
        return float(judge(prompt=case.prompt, answers=[case.chosen, case.rejected], profile=profile).probabilities[0])

    own = probability(condition.profile)
    scores = {"pick": win(own, 0.5)}
    if condition.other is not None:
        scores["pick_own_over_other"] = win(own, probability(condition.other))
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
        max_words: that a strategy may use for a profile.
    """

    def __init__(
        self, conditions: Conditions, scorer: Scorer | None, *, letters: bool = False, max_words: int = PROFILE_WORDS
    ) -> None:
        self._conditions = conditions
        self._scorer = scorer
        self._judge = Judge(scorer)
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
        def score(strategy: Strategy, profile: Profile, prompt: str, texts: list[str]) -> list[TextScore]:
            # An empty system turn asks for the instructions of ``generate``, which do not belong here.
            turns = [turn for turn in strategy.condition(profile, prompt, self._max_words) if turn["content"]]
            return scorer.score(turns, texts)

        def margin_of(strategy: Strategy, profile: Profile) -> Margin:
            if not case.agreement:
                return margin(*score(strategy, profile, case.prompt, [case.chosen, case.rejected]))
            chosen, rejected = (
                margin(*score(strategy, profile, case.agreement.format(text=text), _ANSWERS))
                for text in (case.chosen, case.rejected)
            )
            return chosen - rejected

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
            choose = ChooseByLetter(strategy, max_words=self._max_words, scorer=self._scorer)
            concurrency = concurrency_of(dspy.settings.lm) if self._scorer is None else 1

            def first_of(order: tuple[str, str]) -> float:
                found = choose(prompt=case.prompt, first=order[0], second=order[1], profile=profile)
                return float(found.probability)

            orders = [(case.chosen, case.rejected), (case.rejected, case.chosen)]
            shown_first, shown_second = run_concurrently(first_of, orders, concurrency)
            return Letters(shown_first, 1.0 - shown_second)

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
