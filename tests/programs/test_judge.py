"""Judging answers for a person: what was kept decides, and where nothing was, nothing does."""

from __future__ import annotations

import pytest

from hyperalign.edits import flip, set_leaning
from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Measurement, Profile, TestResult
from hyperalign.programs.judge import Judge
from hyperalign.space import Dimension, Space

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


LONG = (
    "I had meant, dear friend, to write to you long before; but the garden, and the rain, kept me from it; forgive me."
)
SHORT = "Late. Sorry. Go ahead!"


def test_measured_style_judges_without_any_model() -> None:
    style = {"sentence_words": Measurement(value=24, reference=17, z=1.5, spread=6)}
    found = Judge(None)(prompt="", answers=[SHORT, LONG], profile=Profile(user="ada", style=style))
    assert (found.best, found.decided) == (1, [])
    assert found.style > 0
    assert 0.5 < found.probabilities[1] < 0.9


def test_statements_and_style_are_added() -> None:
    style = {"sentence_words": Measurement(value=24, reference=17, z=1.5, spread=6)}
    answers = ["Toast with marmalade and jam.", LONG]
    alone = Judge(None)(prompt="", answers=answers, profile=Profile(user="ada", style=style))
    both = Judge(OverlapScorer())(
        prompt="", answers=answers, profile=Profile(user="ada", style=style, hypotheses=[JAM])
    )
    assert alone.best == 1
    assert both.probabilities[0] > alone.probabilities[0]
    assert both.decided[0][0] == JAM
