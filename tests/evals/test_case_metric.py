"""Tasks and their metric go into DSPy's evaluation and optimizers as they are."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import dspy
import pytest

from hyperalign.evals import CaseMetric, trainset
from hyperalign.evals.cases import Case
from hyperalign.evals.metrics.authorship import Authorship
from hyperalign.records import Record, Sample
from tests.evals.small_task import BLUNT, HEDGER, SEA, TEXTS, FirstWords, pairs, personalizer, written
from tests.fixtures.scripted_server import Recorded, ScriptedServer, reply

PAIRS = pairs()
CHOICES = [
    Case(
        id=record.id,
        user=record.user,
        cluster=record.user,
        prompt=record.prompt,
        records=tuple(each for each in PAIRS if each.user == record.user and each.id < f"{record.user}-6"),
        chosen=record.chosen,
        rejected=record.rejected,
    )
    for record in PAIRS
    if record.id[-1] in "67"
]
WRITING = [
    Case(
        id=f"{user}1",
        user=user,
        cluster=user,
        prompt="Write about the sea.",
        records=tuple(Sample(user=user, id=f"{user}-{n}", text=text) for n, text in enumerate(texts)),
        reference=texts[0],
    )
    for user, texts in TEXTS.items()
]


class Chosen(dspy.Module):
    """Answers with a letter that a model gives."""

    def __init__(self) -> None:
        super().__init__()
        self.choose = dspy.Predict(dspy.Signature("prompt, records -> answer", "Which would they take? Say A or B."))

    def forward(self, prompt: str, records: Sequence[Record]) -> Any:
        return self.choose(prompt=prompt, records=records)


def said(**fields: str) -> str:
    """An answer in the form that DSPy's own adapter asks for."""
    return "".join(f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in fields.items()) + "[[ ## completed ## ]]"


def always_a(request: Recorded) -> str:
    return said(answer="A")


# Examples


def test_choices_become_examples_with_their_inputs() -> None:
    examples = trainset(CHOICES)
    assert len(examples) == 6
    for case, example in zip(CHOICES, examples, strict=True):
        assert set(example.inputs().keys()) == {"prompt", "records"}
        assert example.records == list(case.records)
        shown = dict(re.findall(r"<([AB])>\n(.*?)\n</\1>", example.prompt))
        assert shown[example.letter] == case.chosen == example.chosen
        assert shown["AB".replace(example.letter, "")] == case.rejected == example.rejected
        assert (example.case, example.user) == (case.id, case.user)
    assert trainset(CHOICES) == examples, "nothing is drawn anew"


@pytest.mark.parametrize("form", ["{n}", "c{n}", "é{n}", "user {n}/7", "²{n}", "c{n}0", "\ud800{n}"])
def test_both_letters_are_right_about_as_often_whatever_ids_look_like(form: str) -> None:
    cases = [Case(form.format(n=n), "ada", "ada", "?", (), chosen="Yes.", rejected="No.") for n in range(400)]
    letters = Counter(example.letter for example in trainset(cases))
    assert set(letters) == {"A", "B"}
    assert 140 <= letters["A"] <= 260


def test_writing_becomes_examples_with_the_reference() -> None:
    for case, example in zip(WRITING, trainset(WRITING), strict=True):
        assert set(example.inputs().keys()) == {"prompt", "records"}
        assert (example.prompt, example.reference, example.user) == (case.prompt, case.reference, case.user)
        assert "letter" not in example


# The metric


def example_with(letter: str) -> dspy.Example:
    cases = [Case(f"x{n}", "ada", "ada", "?", (), chosen="Jam!", rejected="Oil.") for n in range(20)]
    return next(example for example in trainset(cases) if example.letter == letter)


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_choice_is_judged_in_words(letter: str) -> None:
    gold, other = example_with(letter), "AB".replace(letter, "")
    metric = CaseMetric()
    right = metric(gold, dspy.Prediction(answer=f"**{letter}**"))
    assert right.score == 1.0
    assert f"is right: the person prefers {letter}" in right.feedback
    wrong = metric(gold, dspy.Prediction(answer=f"Answer: {other}"))
    assert wrong.score == 0.0
    assert f"is wrong: the person prefers {letter}" in wrong.feedback
    assert "'Jam!'" in wrong.feedback
    assert "'Oil.'" in wrong.feedback
    for unreadable in ("Although it depends", "", "A or B"):
        judged = metric(gold, dspy.Prediction(answer=unreadable))
        assert judged.score == 0.5
        assert "not readable as a letter" in judged.feedback
    assert metric(gold, dspy.Prediction(something="else")).score == 0.5


def test_for_a_trace_it_says_yes_or_no_and_for_gepa_it_says_why() -> None:
    gold = example_with("A")
    right, wrong, open_ = (dspy.Prediction(answer=answer) for answer in ("A", "B", "?"))
    metric = CaseMetric()
    assert [metric(gold, pred, trace=[]) for pred in (right, wrong, open_)] == [True, False, False]
    explained = metric(gold, wrong, [], "choose", [])
    assert (explained.score, "is wrong" in explained.feedback) == (0.0, True)


def test_writing_is_judged_by_authorship_and_measured_style() -> None:
    judge = Authorship(TEXTS)
    hed, blu = trainset(WRITING)
    own, other = written(HEDGER, SEA, 50), written(BLUNT, SEA, 50)
    metric = CaseMetric(judge)
    good, bad = metric(hed, dspy.Prediction(answer=own)), metric(hed, dspy.Prediction(answer=other))
    assert good.score == pytest.approx(math.exp(judge.logprob(own, "hed")))
    assert good.score > 0.5 > bad.score
    assert f"{bad.score:.0%} sure that the person wrote this" in bad.feedback
    assert "It should do this, and does not: " in bad.feedback
    assert bad.feedback.count("It should do this") <= 3
    assert metric(blu, dspy.Prediction(answer=other)).score > 0.5
    assert metric(hed, dspy.Prediction(answer=own), trace=[]) is True
    assert CaseMetric(judge, threshold=0.9999)(hed, dspy.Prediction(answer=own), trace=[]) is False
    alone = CaseMetric()(hed, dspy.Prediction(answer=other))
    assert alone.score == 0.0
    assert "sure that the person" not in alone.feedback
    assert "It should do this" in alone.feedback


# In DSPy


def test_in_dspy_s_evaluation() -> None:
    evaluation = dspy.Evaluate(devset=trainset(CHOICES), metric=CaseMetric(), num_threads=2, display_progress=False)
    found = evaluation(FirstWords())
    assert found.score == 100.0
    assert len(found.results) == 6
    assert all("is right" in score.feedback for _, _, score in found.results)
    writing = dspy.Evaluate(devset=trainset(WRITING), metric=CaseMetric(Authorship(TEXTS)), display_progress=False)
    assert writing(FirstWords()).score > 50


def test_only_right_answers_become_demonstrations(scripted_server: ScriptedServer) -> None:
    scripted_server.default = reply(always_a)
    examples = trainset(CHOICES)
    right = [example for example in examples if example.letter == "A"]
    assert 0 < len(right) < len(examples)
    optimizer = dspy.BootstrapFewShot(
        metric=CaseMetric(), max_bootstrapped_demos=len(examples), max_labeled_demos=0, max_rounds=1
    )
    with dspy.context(lm=personalizer(scripted_server).lm):
        compiled = optimizer.compile(Chosen(), trainset=examples)
    (predictor,) = compiled.predictors()
    assert {demo.prompt for demo in predictor.demos} == {example.prompt for example in right}
    assert {demo.answer for demo in predictor.demos} == {"A"}


def test_gepa_takes_it_and_learns_from_its_words(scripted_server: ScriptedServer) -> None:
    better = "Read the records, and take the answer that shares their words."

    def model(request: Recorded) -> str:
        if "is wrong: the person prefers" in request.prompt:
            return json.dumps({"new_instruction": better})
        if better not in request.prompt:
            return said(answer="A")
        # With the better instruction it knows: the words that people like are no one else's.
        shown = dict(re.findall(r"<([AB])>\n(.*?)\n</\1>", request.messages[-1]["content"].replace("\\n", "\n")))
        return said(
            answer=next((side for side, text in shown.items() if re.search("Toast|anchor|umbrella", text)), "?")
        )

    scripted_server.default = reply(model)
    lm = personalizer(scripted_server).lm
    examples = trainset(CHOICES)
    optimizer = dspy.GEPA(
        metric=CaseMetric(), max_metric_calls=40, reflection_lm=lm, num_threads=1, track_stats=True, seed=1
    )
    with dspy.context(lm=lm):
        compiled = optimizer.compile(Chosen(), trainset=examples, valset=examples)
    reflections = [request for request in scripted_server.requests if "is wrong: the person prefers" in request.prompt]
    assert reflections, "the feedback in words reached the model that reflects"
    assert compiled.choose.signature.instructions == better
    scores = compiled.detailed_results.val_aggregate_scores
    assert max(scores) > scores[0]
