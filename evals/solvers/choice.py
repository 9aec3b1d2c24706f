"""What an arm picks by the best means that it has: a tested profile by its tests, everything else as it chooses anyway.

This file runs no model of its own: it is handed a judge.

Choice cases under every arm: which of two answers a profile makes likelier, and which one a model names.

By likelihood the two answers are scored as the model's next turn, after what the strategy puts before it; where a case
asks whether somebody would say them, the scores of "Yes" and "No" are taken instead. By letter the model is asked, in
both orders. A tested profile also picks by its tests (``hyperalign.programs.judge``), where other strategies have only
likelihood to pick by. This file is handed its arms, scorer and asker; it knows no runtime.
"""

from __future__ import annotations

from typing import Any

import dspy

from hyperalign.concurrency import calls_at_once, run_concurrently
from hyperalign.profile import Profile
from hyperalign.programs.binary_choice import ChooseByLetter
from hyperalign.programs.judge import Judge
from hyperalign.programs.scope import narrowed
from hyperalign.programs.strategies import PROFILE_WORDS, Strategy
from hyperalign.scores import Scorer, TextScore

from ..cases import Case
from ..conditions import BARE, GOLD, NONE, VOTES, Arm, Arms
from ..controls import votes
from ..metrics.choice import Letters, Margin, accuracy, margin, own_over_other, win

__all__ = ["Choosing", "judged", "picks"]

_TESTED = "verified"
"""The strategy whose profile is tested, and can judge."""
_PICKS = {"accuracy": "pick", "own_over_other": "pick_own_over_other"}


def judged(case: Case, arm: Arm, judge: Judge) -> dict[str, float]:
    """``pick`` and ``pick_own_over_other`` of an arm whose profile was tested; nothing for any other.

    Args:
        case: two answers.
        arm: a strategy or a control.
        judge: reads answers for kept statements and measured style.
    """
    if arm.strategy.name != _TESTED or arm.name == GOLD:
        return {}

    def probability(profile: Profile) -> float:
        return float(judge(prompt=case.prompt, answers=[case.chosen, case.rejected], profile=profile).probabilities[0])

    own = probability(arm.profile)
    found = {"pick": win(own, 0.5)}
    return found | ({"pick_own_over_other": win(own, probability(arm.other))} if arm.other is not None else {})


def picks(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Scores by arm; where some arm was judged, those that were not pick as they are accurate."""
    if not any("pick" in found for found in scores.values()):
        return scores
    return {
        arm: {**{pick: found[metric] for metric, pick in _PICKS.items() if metric in found}, **found}
        for arm, found in scores.items()
    }


_ANSWERS = ("Yes", "No")


class Choosing:
    """Work for ``run_cases``: scores one choice case under all arms.

    Called with a case, it returns ``prompt``, ``chosen``, ``rejected``, ``margins`` (nats, by arm) and ``scores``
    (by arm and metric). By likelihood ``none`` has a margin and no score, as gains are counted from it.

    Args:
        arms: strategies and controls.
        scorer: gives log-probabilities of text; without one only letters are asked for.
        letters: whether letters are asked for beside likelihoods.
        budget: words that a strategy may spend on a profile, the same for own, wrong and inverted.
    """

    def __init__(
        self, arms: Arms, scorer: Scorer | None, *, letters: bool = False, budget: int = PROFILE_WORDS
    ) -> None:
        self._arms = arms
        self._scorer = scorer
        self._judge = Judge(scorer)
        self._letters = letters or scorer is None
        self._budget = budget

    def __call__(self, case: Case) -> dict[str, Any]:
        """Score one case; see the class."""
        arms = self._arms.of(case)
        margins: dict[str, Margin] = {}
        scores: dict[str, dict[str, float]] = {arm.name: {} for arm in arms}
        if self._scorer is not None:
            self._by_likelihood(case, arms, self._scorer, margins, scores)
        if self._letters:
            self._by_letter(case, arms, scores)
        if VOTES in self._arms.controls:
            scores |= votes(case)
        return {
            "prompt": case.prompt,
            "chosen": case.chosen,
            "rejected": case.rejected,
            "margins": {arm: {"total": value.total, "mean": value.mean} for arm, value in margins.items()},
            "said": {
                arm.name: arm.strategy.condition(narrowed(arm.profile, case.prompt), "…", self._budget) for arm in arms
            },
            "scores": picks(scores),
        }

    def _by_likelihood(
        self,
        case: Case,
        arms: list[Arm],
        scorer: Scorer,
        margins: dict[str, Margin],
        scores: dict[str, dict[str, float]],
    ) -> None:
        def scores_after(each: Strategy, profile: Profile, prompt: str, texts: list[str]) -> list[TextScore]:
            # A system turn without content is a strategy's way to ask for the instructions of ``generate``: not here.
            turns = [turn for turn in each.condition(profile, prompt, self._budget) if turn["content"]]
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
        for arm in arms:
            margins[arm.name] = own = under(arm.strategy, arm.profile)
            gain = own - bare
            scores[arm.name] |= {"accuracy": accuracy(gain.mean), "accuracy_sum": accuracy(gain.total)}
            if arm.other is not None:
                margins[f"{arm.name} of another"] = other = under(arm.strategy, arm.other)
                scores[arm.name] |= {
                    "own_over_other": own_over_other(own.mean, other.mean),
                    "own_over_other_sum": own_over_other(own.total, other.total),
                }
            scores[arm.name] |= judged(case, arm, self._judge)

    def _by_letter(self, case: Case, arms: list[Arm], scores: dict[str, dict[str, float]]) -> None:
        def asked(each: Strategy, profile: Profile) -> Letters:
            choose = ChooseByLetter(each, budget=self._budget, scorer=self._scorer)
            at_once = calls_at_once(dspy.settings.lm) if self._scorer is None else 1

            def first_of(order: tuple[str, str]) -> float:
                found = choose(prompt=case.prompt, first=order[0], second=order[1], profile=profile)
                return float(found.probability)

            orders = [(case.chosen, case.rejected), (case.rejected, case.chosen)]
            shown_first, shown_second = run_concurrently(first_of, orders, at_once)
            return Letters(shown_first, 1.0 - shown_second)

        # Where there is no likelihood, the letter is the accuracy that strategies are held to.
        name = "accuracy" if self._scorer is None else "accuracy_letter"
        if NONE in self._arms.controls:
            arms = [*arms, BARE]
        for arm in arms:
            own = asked(arm.strategy, arm.profile)
            of_arm = scores.setdefault(arm.name, {})
            of_arm |= {name: own.accuracy, "order_consistency": own.consistency}
            if arm.other is not None and self._scorer is None:
                of_arm["own_over_other"] = own_over_other(own.chosen, asked(arm.strategy, arm.other).chosen)
