"""Judging answers for a person: what was kept decides, and where nothing was, nothing does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hyperalign.edits import flip, set_leaning
from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Profile, TestResult
from hyperalign.programs.judge import Judge
from hyperalign.records import Edit, Pair
from hyperalign.space import Dimension, Space

from .rewards import profile_of
from .toys import OverlapScorer


def kept(name: str, high: str, low: str, weight: float = 0.9) -> Hypothesis:
    result = TestResult(
        test="likelihood", gain=4, low=2, high=6, p=0.02, q=0.05, records=["a", "b", "c", "d"], reference_records=6,
        scorer="m",
    )  # fmt: skip
    return Hypothesis(id=name, statement=high, opposite=low, aspect="style", weight=weight, test=result)


JAM = kept("jam", "Marmalade jam toast.", "Engine oil smoke.")
RAIN = kept("rain", "Umbrella puddle.", "Desert camel.", 0.1)
FOND = Profile(user="ada", hypotheses=[JAM, RAIN])
ANSWERS = ["Engine oil and smoke, again.", "Toast with marmalade and jam.", "Nothing of either."]


def test_the_answer_that_fits_the_person_is_taken() -> None:
    found = Judge(OverlapScorer())(prompt="What news?", answers=ANSWERS, profile=FOND)
    assert found.best == 1
    assert sum(found.probabilities) == pytest.approx(1)
    assert found.probabilities[1] > found.probabilities[2] > found.probabilities[0]
    (deciding, nats), (other, none) = found.decided
    assert (deciding, other) == (JAM, RAIN)
    assert nats > 0 == none


def test_the_order_of_answers_and_the_opposite_turn_it_around() -> None:
    judge = Judge(OverlapScorer())
    there = judge(prompt="", answers=ANSWERS[:2], profile=FOND).probabilities
    back = judge(prompt="", answers=ANSWERS[1::-1], profile=FOND).probabilities
    assert there == pytest.approx(back[::-1])
    hater = FOND.model_copy(update={"hypotheses": [kept("oil", JAM.opposite, JAM.statement)]})
    assert judge(prompt="", answers=ANSWERS[:2], profile=hater).best == 0


def test_what_is_surer_weighs_more() -> None:
    judge = Judge(OverlapScorer())
    sure, unsure = (
        judge(prompt="", answers=ANSWERS[:2], profile=Profile(user="ada", hypotheses=[kept("j", *POLES, weight)]))
        for weight in (0.9, 0.05)
    )
    assert sure.probabilities[1] > unsure.probabilities[1] > 0.5


POLES = (JAM.statement, JAM.opposite)


def test_a_statement_that_was_tested_by_choice_is_as_sure_as_its_weight_and_no_surer() -> None:
    # Gains and bounds of that test are shares of a choice, and answers are judged by nats.
    shares = {"test": "choice", "gain": 0.4, "low": 0.3, "high": 0.5}
    by_choice = JAM.model_copy(update={"test": JAM.test.model_copy(update=shares) if JAM.test else None})
    seen, unseen = (
        Judge(OverlapScorer())(prompt="", answers=ANSWERS[:2], profile=Profile(user="ada", hypotheses=[each])).decided[
            0
        ][1]
        for each in (by_choice, by_choice.model_copy(update={"weight": 0.3}))
    )
    assert seen == pytest.approx(3 * unseen)
    likely = Judge(OverlapScorer())(
        prompt="", answers=ANSWERS[:2], profile=Profile(user="ada", hypotheses=[JAM])
    ).decided
    assert 0.2 < seen / likely[0][1] < 5


def test_what_somebody_set_by_hand_decides_and_flipping_it_turns_the_choice_around() -> None:
    space = Space(
        name="foods", dimensions=[Dimension(name="jam", aspect="style", source="", high=POLES[0], low=POLES[1])]
    )
    judge = Judge(OverlapScorer())
    fond = set_leaning(Profile(user="ada"), "jam", 0.95, space)
    likes = judge(prompt="", answers=ANSWERS[:2], profile=fond).probabilities
    hates = judge(prompt="", answers=ANSWERS[:2], profile=flip(fond, "jam", space)).probabilities
    assert likes[1] > 0.7 > 0.3 > hates[1]
    barely = judge(prompt="", answers=ANSWERS[:2], profile=set_leaning(fond, "jam", 0.55, space)).probabilities
    assert likes[1] > barely[1] > 0.5, "as sure as they said"
    # A statement of the tests that somebody turned around is theirs now, and no longer silent.
    turned = flip(FOND, JAM.id)
    assert judge(prompt="", answers=ANSWERS[:2], profile=turned).best == 0


def test_what_no_test_and_nobody_said_is_silent() -> None:
    guess = JAM.model_copy(update={"test": None, "source": "inferred"})
    found = Judge(OverlapScorer())(prompt="", answers=ANSWERS[:2], profile=Profile(user="ada", hypotheses=[guess]))
    assert found.probabilities == pytest.approx([0.5, 0.5])


def test_without_a_kept_statement_all_are_equally_probable() -> None:
    scorer = OverlapScorer()
    found = Judge(scorer)(prompt="What news?", answers=ANSWERS, profile=Profile(user="ada", stated=["Be brief."]))
    assert found.probabilities == pytest.approx([1 / 3] * 3)
    assert found.decided == []
    assert scorer.asked == []


@pytest.mark.parametrize("answers", [[], ["One."], ["One.", "  "]])
def test_one_answer_is_no_choice(answers: list[str]) -> None:
    with pytest.raises(InputError, match="two answers"):
        Judge(OverlapScorer())(prompt="", answers=answers, profile=FOND)


LONG = "I had meant to write to you long before this, but the garden and the rain have kept me from it all of the week."
SHORT = "Late. Sorry. Go ahead!"
MIDDLING = "I am late, sorry, but you can go ahead without me."


@pytest.fixture
def brief(tmp_path: Path) -> Callable[[int], Profile]:
    """``brief(8)`` took the short answer in each of eight choices."""
    return lambda times: profile_of(short_choices(times), tmp_path)


def short_choices(times: int) -> list[Pair]:
    return [
        Pair(
            user="ada", prompt=f"Question {at}?", chosen=f"No. Not {at}. Sorry!", rejected=f"{LONG} It was {at} times."
        )
        for at in range(times)
    ]


def test_a_reward_judges_without_any_model_and_says_what_decided(brief: Callable[[int], Profile]) -> None:
    found = Judge()(prompt="And?", answers=[LONG, SHORT], profile=brief(30))
    assert (found.best, found.decided) == (1, [])
    assert found.probabilities[1] == pytest.approx(found.prediction.probability)
    assert found.prediction.low < found.probabilities[1] < found.prediction.high
    assert found.prediction.is_sure
    assert found.features[0].nats == max(each.nats for each in found.features)
    assert {"Uses exclamation marks", "Is shorter"} <= {str(each) for each in found.features if each.nats > 0}
    back = Judge()(prompt="And?", answers=[SHORT, LONG], profile=brief(30))
    assert back.probabilities == pytest.approx(found.probabilities[::-1])


def test_a_reward_ranks_more_than_two_answers(brief: Callable[[int], Profile]) -> None:
    found = Judge()(prompt="And?", answers=[MIDDLING, LONG, SHORT], profile=brief(30))
    assert sum(found.probabilities) == pytest.approx(1)
    assert found.probabilities[2] > found.probabilities[0] > found.probabilities[1]
    assert found.prediction.probability > found.probabilities[2], "over the second alone, not over both"


def test_it_cannot_tell_two_answers_apart_that_are_alike_or_from_one_choice(brief: Callable[[int], Profile]) -> None:
    same = Judge()(prompt="And?", answers=[SHORT, SHORT], profile=brief(30))
    assert same.probabilities == pytest.approx([0.5, 0.5])
    assert not same.prediction.is_sure
    unsure = Judge()(prompt="And?", answers=[LONG, MIDDLING], profile=brief(1)).prediction
    sure = Judge()(prompt="And?", answers=[LONG, MIDDLING], profile=brief(30)).prediction
    assert unsure.low < 0.5 < unsure.high
    assert sure.high - sure.low < unsure.high - unsure.low


def test_what_a_correction_makes_of_its_draft_counts(tmp_path: Path) -> None:
    draft = "The parcel will come on Monday by noon."
    edits = [
        Edit(user="ada", prompt=f"{at}?", draft=f"{draft} {at}", edited=f"{draft} {at} Thank you so much.")
        for at in range(6)
    ]
    profile = profile_of(edits, tmp_path)
    answers = [f"{draft} Thank you so much.", "By noon on Monday."]
    kept = Judge()(prompt="?", answers=answers, profile=profile, draft=draft)
    assert kept.best == 0
    without = Judge()(prompt="?", answers=answers, profile=profile)
    assert "longer than draft" in {each.feature for each in kept.features} - {each.feature for each in without.features}


def test_statements_are_read_beside_a_reward_only_where_that_is_asked_and_change_no_probability(
    brief: Callable[[int], Profile],
) -> None:
    person = brief(30).model_copy(update={"hypotheses": [JAM]})
    answers = ["Toast with marmalade and jam.", SHORT]
    silent = OverlapScorer()
    alone = Judge(silent)(prompt="", answers=answers, profile=person)
    assert (silent.asked, alone.decided) == ([], [])
    both = Judge(OverlapScorer(), explain=True)(prompt="", answers=answers, profile=person)
    assert [hypothesis for hypothesis, _ in both.decided] == [JAM]
    assert both.probabilities == alone.probabilities


class Lengths:
    """Embeds a text as its length."""

    name = "lengths@1"

    def encode(self, items: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        return np.array([[len(text)] for _, text in items], dtype=np.float32)


def test_a_reward_of_another_encoder_is_refused(brief: Callable[[int], Profile]) -> None:
    profile = brief(8)
    assert profile.reward
    other = profile.model_copy(update={"reward": profile.reward.model_copy(update={"encoder": "another@20"})})
    with pytest.raises(InputError, match="another@20"):
        Judge(encoder=Lengths())(prompt="", answers=[SHORT, LONG], profile=other)
