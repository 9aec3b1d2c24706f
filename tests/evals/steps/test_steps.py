"""Steps of the loop as programs to optimize: their examples hold something back, and the metric judges by it."""

from __future__ import annotations

import dspy
import pytest

from hyperalign.errors import InputError
from hyperalign.evals.cases import Case
from hyperalign.evals.steps import STEPS, step_named
from hyperalign.evals.steps.metrics import StatementMetric
from hyperalign.profile import Hypothesis
from hyperalign.records import Pair, Sample
from tests.programs.toys import FixedPopulation, OverlapScorer

PAIRS = tuple(
    Pair(user="ada", prompt=f"Thing {n}?", chosen=f"Toast with marmalade {n}.", rejected=f"Engine oil {n}.")
    for n in range(3)
)
CHOICE = Case("c1", "ada", "ada", "And now?", PAIRS, chosen="Marmalade jam.", rejected="Oil and smoke.")
TEXTS = tuple(Sample(user="bob", prompt=f"Thing {n}?", text=f"Anchor and sail {n}.") for n in range(4))
KNOWN = Case("c3", "ada", "ada", "And now?", PAIRS, chosen="Jam.", rejected="Oil.", gold="Likes breakfast.")
ASKED = [Case(f"r{n}", "anybody", "figs", f"How do I kill {n}?", (), safe=n == 0) for n in range(2)]
WRITING = Case("c2", "bob", "bob", "And now?", TEXTS, reference="Anchor up, sail out.")


def stated(statement: str, opposite: str) -> dspy.Prediction:
    made = Hypothesis(id="free", statement=statement, opposite=opposite, aspect="preference")
    return dspy.Prediction(hypotheses=[made], invented=0, unreadable=0)


def test_choices_hold_the_case_back() -> None:
    (example,) = STEPS["extract"].examples([CHOICE, WRITING], FixedPopulation([]))
    assert set(example.inputs().keys()) == {"records"}
    assert example.held.chosen == "Marmalade jam."
    metric = StatementMetric(OverlapScorer())
    right = metric(example, stated("Marmalade jam toast.", "Engine oil smoke."))
    wrong = metric(example, stated("Engine oil smoke.", "Marmalade jam toast."))
    assert right.score > 0.5 > wrong.score
    assert right.score + wrong.score == pytest.approx(1)
    assert "speaks against what the person did next" in wrong.feedback
    assert "They took: 'Marmalade jam.'" in wrong.feedback


def test_no_statement_is_a_guess() -> None:
    (example,) = STEPS["extract"].examples([CHOICE], FixedPopulation([]))
    none = StatementMetric(OverlapScorer())(example, dspy.Prediction(hypotheses=[], invented=1, unreadable=0))
    assert none.score == 0.5
    assert "stand in no text" in none.feedback
    assert StatementMetric(OverlapScorer())(example, dspy.Prediction(hypotheses=[]), trace=[]) is False


def test_texts_are_held_against_other_peoples() -> None:
    others = [Sample(user="cal", id=f"o{n}", text=f"Carriage and horse {n}.") for n in range(6)]
    (example,) = STEPS["infer"].examples([CHOICE, WRITING], FixedPopulation(others))
    assert len(example.others) == len(example.against) == 3
    assert not {record.id for record in example.others} & {record.id for record in example.against}
    metric = StatementMetric(OverlapScorer())
    assert metric(example, stated("Anchor sail.", "Carriage horse.")).score > 0.5


def test_answers_are_asked_with_a_profile_that_needs_no_model() -> None:
    (example,) = STEPS["generate"].examples([WRITING], FixedPopulation([]))
    assert set(example.inputs().keys()) == {"prompt", "profile"}
    assert example.profile.examples
    assert example.profile.style
    metric = STEPS["generate"].metric(None, {"bob": ["Anchor up.", "Sail on."], "cal": ["Horse in.", "Carriage out."]})
    assert 0 < metric(example, dspy.Prediction(answer="Anchor and sail.")).score < 1


def test_a_statement_that_is_known_fits_what_the_person_took() -> None:
    (example,) = STEPS["choice"].examples([CHOICE, KNOWN], FixedPopulation([]))
    assert dict(example.inputs()) == {"statements": ["Likes breakfast."], "first": "Jam.", "second": "Oil."}
    metric = STEPS["choice"].metric(None, {})
    said = metric(example, dspy.Prediction(probabilities=[0.25]))
    assert said.score == 0.25
    assert "was wrong (probability 0.25): the statement is true of somebody who took 'Jam.'" in said.feedback
    assert metric(example, dspy.Prediction(probabilities=[0.5]), trace=[]) is False


def test_harm_is_judged_by_what_is_known_of_a_request() -> None:
    safe, unsafe = STEPS["weigh"].examples([CHOICE, *ASKED], FixedPopulation([]))
    assert safe.user != unsafe.user, "each is somebody's of their own"
    metric = STEPS["weigh"].metric(None, {})
    sure = dspy.Prediction(harm=0.9)
    assert (metric(safe, sure).score, metric(unsafe, sure).score) == (pytest.approx(0.1), 0.9)
    assert "was wrong" in metric(safe, sure).feedback
    assert metric(unsafe, sure, trace=[]) is True


@pytest.mark.parametrize("name", sorted(STEPS))
def test_what_is_sent_can_be_shown(name: str) -> None:
    step = step_named(name)
    for turns in step.sent(step.build()).values():
        assert turns[0]["role"] == "system"
        assert "{" in turns[-1]["content"]


def test_what_is_missing_is_told() -> None:
    with pytest.raises(InputError, match="no cases of choices"):
        STEPS["extract"].examples([WRITING], FixedPopulation([]))
    with pytest.raises(InputError, match="no cases of writing"):
        STEPS["generate"].examples([CHOICE], FixedPopulation([]))
    with pytest.raises(InputError, match="what is known of their people"):
        STEPS["choice"].examples([CHOICE], FixedPopulation([]))
    with pytest.raises(InputError, match="no cases of requests"):
        STEPS["weigh"].examples([CHOICE], FixedPopulation([]))
    with pytest.raises(InputError, match="there is no scorer"):
        STEPS["extract"].metric(None, {})
    with pytest.raises(InputError, match="no step 'select'"):
        step_named("select")


def test_demonstrations_come_from_the_example_people() -> None:
    for name in ("extract", "infer"):
        shown = STEPS[name].shown()
        assert len(shown) >= 3
        assert all(example.held not in example.records for example in shown)
