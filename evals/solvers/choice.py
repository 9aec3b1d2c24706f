"""What a condition picks by its best means: a tested profile by its tests, everything else as it chooses anyway.

This file runs no model of its own: it is handed a judge.

Choice cases under every condition: which of two answers a profile makes likelier, and which one a model names.

By likelihood the two answers are scored as the model's next turn, after what the strategy puts before it; where a case
asks whether somebody would say them, the scores of "Yes" and "No" are taken instead. By letter the model is asked, in
both orders. A tested profile also picks by its tests (``hyperalign.programs.judge``), where other strategies have only
likelihood to pick by. This file is handed its conditions, scorer and asker; it knows no runtime.
"""

from __future__ import annotations

from typing import Any

import dspy

from hyperalign.concurrency import concurrency_of, run_concurrently
from hyperalign.profile import Profile
from hyperalign.programs.binary_choice import ChooseByLetter
from hyperalign.programs.judge import Judge
from hyperalign.programs.scope import narrow
from hyperalign.programs.strategies import PROFILE_WORDS, Strategy
from hyperalign.scores import Scorer, TextScore

from ..cases import Case
from ..conditions import BARE, GOLD, NONE, VOTES, Condition, Conditions
from ..controls import votes
from ..metrics.choice import Letters, Margin, accuracy, margin, own_over_other, win

__all__ = ["ChoiceSolver", "judged", "picks"]

_TESTED = "verified"
"""The strategy whose profile is tested, and can judge."""
_PICKS = {"accuracy": "pick", "own_over_other": "pick_own_over_other"}


def judged(case: Case, condition: Condition, judge: Judge) -> dict[str, float]:
    """``pick`` and ``pick_own_over_other`` of a condition whose profile was tested; nothing for any other.

    Args:
        case: two answers.
        condition: a strategy or a control.
        judge: reads answers for kept statements and measured style.
    """
    if condition.strategy.name != _TESTED or condition.name == GOLD:
        return {}

    def probability(profile: Profile) -> float:
        return float(judge(prompt=case.prompt, answers=[case.chosen, case.rejected], profile=profile).probabilities[0])

    own = probability(condition.profile)
    found = {"pick": win(own, 0.5)}
    return found | (
        {"pick_own_over_other": win(own, probability(condition.other))} if condition.other is not None else {}
    )


def picks(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Scores by condition; where some condition was judged, those that were not pick as they are accurate."""
    if not any("pick" in found for found in scores.values()):
        return scores
    return {
        condition: {**{pick: found[metric] for metric, pick in _PICKS.items() if metric in found}, **found}
        for condition, found in scores.items()
    }


_ANSWERS = ("Yes", "No")


class ChoiceSolver:
    """Work for ``run_cases``: scores one choice case under all conditions.

    Called with a case, it returns ``prompt``, ``chosen``, ``rejected``, ``margins`` (nats, by condition) and ``scores``
    (by condition and metric). By likelihood ``none`` has a margin and no score, as gains are counted from it.

    Args:
        conditions: strategies and controls.
        scorer: gives log-probabilities of text; without one only letters are asked for.
        letters: whether letters are asked for beside likelihoods.
        max_words: words that a strategy may spend on a profile, the same for own, wrong and inverted.
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
            "said": {
                condition.name: condition.strategy.condition(
                    narrow(condition.profile, case.prompt), "…", self._max_words
                )
                for condition in conditions
            },
            "scores": picks(scores),
        }

    def _by_likelihood(
        self,
        case: Case,
        conditions: list[Condition],
        scorer: Scorer,
        margins: dict[str, Margin],
        scores: dict[str, dict[str, float]],
    ) -> None:
        def scores_after(each: Strategy, profile: Profile, prompt: str, texts: list[str]) -> list[TextScore]:
            # A system turn without content is a strategy's way to ask for the instructions of ``generate``: not here.
            turns = [turn for turn in each.condition(profile, prompt, self._max_words) if turn["content"]]
            return scorer.score(turns, texts)

        def under(each: Strategy, profile: Profile) -> Margin:
            if not case.agreement:
                return margin(*scores_after(each, profile, case.prompt, [case.chosen, case.rejected]))
            chosen, rejected = (
                margin(*scores_after(each, profile, case.agreement.format(text=text), list(_ANSWERS)))
                for text in (case.chosen, case.rejected)
            )
            return chosen - rejected

        margins[NONE] = bare = under(BARE.strategy, BARE.profile)
        for condition in conditions:
            margins[condition.name] = own = under(condition.strategy, condition.profile)
            gain = own - bare
            scores[condition.name] |= {"accuracy": accuracy(gain.mean), "accuracy_sum": accuracy(gain.total)}
            if condition.other is not None:
                margins[f"{condition.name} of another"] = other = under(condition.strategy, condition.other)
                scores[condition.name] |= {
                    "own_over_other": own_over_other(own.mean, other.mean),
                    "own_over_other_sum": own_over_other(own.total, other.total),
                }
            scores[condition.name] |= judged(case, condition, self._judge)

    def _by_letter(self, case: Case, conditions: list[Condition], scores: dict[str, dict[str, float]]) -> None:
        def asked(each: Strategy, profile: Profile) -> Letters:
            choose = ChooseByLetter(each, max_words=self._max_words, scorer=self._scorer)
            concurrency = concurrency_of(dspy.settings.lm) if self._scorer is None else 1

            def first_of(order: tuple[str, str]) -> float:
                found = choose(prompt=case.prompt, first=order[0], second=order[1], profile=profile)
                return float(found.probability)

            orders = [(case.chosen, case.rejected), (case.rejected, case.chosen)]
            shown_first, shown_second = run_concurrently(first_of, orders, concurrency)
            return Letters(shown_first, 1.0 - shown_second)

        # Where there is no likelihood, the letter is the accuracy that strategies are held to.
        name = "accuracy" if self._scorer is None else "accuracy_letter"
        if NONE in self._conditions.controls:
            conditions = [*conditions, BARE]
        for condition in conditions:
            own = asked(condition.strategy, condition.profile)
            of_arm = scores.setdefault(condition.name, {})
            of_arm |= {name: own.accuracy, "order_consistency": own.consistency}
            if condition.other is not None and self._scorer is None:
                of_arm["own_over_other"] = own_over_other(own.chosen, asked(condition.strategy, condition.other).chosen)
