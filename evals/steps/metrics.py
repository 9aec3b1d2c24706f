"""What the examples and the metrics of all steps share.

The step that answers as the person would: judged by who seems to have written it.

The steps that are a question with two answers: which text a statement fits, and what a message would be used for.

Both are judged by how probable they make the answer that is known.

The steps that state what is true of a person: asked with some of their records, judged by one that was held back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dspy

from hyperalign.errors import InputError
from hyperalign.population import Population, ShippedPopulation, reference_records
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.hypothesis_tests import fill
from hyperalign.programs.hypothesis_tests.likelihood import LikelihoodTest
from hyperalign.records import Pair, Record, Sample, only_choices
from hyperalign.scores import Scorer
from hyperalign.style.estimate import measured_style

from ..case_metric import CaseMetric, trainset
from ..cases import Case
from ..metrics.authorship import Authorship

__all__ = [
    "StatementMetric",
    "answers",
    "authors",
    "choices",
    "example_choices",
    "example_texts",
    "fits",
    "fitting",
    "harm",
    "judged",
    "messages",
    "some",
    "statements",
    "texts",
]


def judged(score: float, feedback: str, trace: Any, name: Any) -> Any:
    """A score with its feedback; for a trace, whether it is good enough to learn from.

    Args:
        score: from 0 to 1.
        feedback: in words.
        trace: given where DSPy collects demonstrations.
        name: of the predictor that feedback is for.
    """
    if trace is not None and name is None:
        return score > 0.5
    return dspy.Prediction(score=score, feedback=feedback)


def some(found: Sequence[Case], kind: str) -> None:
    """Refuse a task that has no case for a step.

    Raises:
        InputError: there is none.
    """
    if not found:
        raise InputError(
            f"This task has no cases of {kind}.", remedy="'hyperalign eval list' says what tasks there are."
        )


_EXAMPLES_SHOWN = 2


def answers(cases: Sequence[Case], others: Population) -> list[dspy.Example]:
    """Prompts that a person answered themselves, each with a profile that needs no model."""
    del others
    found = [case for case in cases if case.reference]
    some(found, "writing")
    profiles = [_quick_profile(case) for case in found]
    return [
        example.copy(profile=profile, cluster=case.cluster).with_inputs("prompt", "profile")
        for example, profile, case in zip(trainset(found), profiles, found, strict=True)
    ]


def _quick_profile(case: Case) -> Profile:
    """What can be said of somebody without asking a model: measured style, and texts to show."""
    written = [record for record in case.records if isinstance(record, Sample)]
    return Profile(user=case.user, style=measured_style(written), examples=written[:_EXAMPLES_SHOWN])


def authors(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> CaseMetric:
    """The metric of answers."""
    del scorer
    return CaseMetric(Authorship(texts))


_QUOTED = 200


def fitting(cases: Sequence[Case], others: Population) -> list[dspy.Example]:
    """Choices with what the benchmark says of the person: the statement fits what they took."""
    del others
    found = [case for case in cases if case.chosen and case.gold]
    some(found, "choices with what is known of their people")
    return [
        dspy.Example(
            statements=[case.gold],
            first=case.chosen,
            second=case.rejected,
            prompt=case.prompt,
            chosen=case.chosen,
            rejected=case.rejected,
            user=case.user,
            cluster=case.cluster,
        ).with_inputs("statements", "first", "second")
        for case in found
    ]


def messages(cases: Sequence[Case], others: Population) -> list[dspy.Example]:
    """Requests of which it is known whether help does harm; each is somebody's of their own."""
    del others
    found = [case for case in cases if case.safe is not None]
    some(found, "requests")
    return [
        dspy.Example(prompt=case.prompt, safe=case.safe, user=case.id, cluster=case.cluster).with_inputs("prompt")
        for case in found
    ]


def fits(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> Any:
    """The metric of ``fitting``: how probable the text is that the person took."""
    del scorer, texts

    def metric(gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        del steps
        share = float(pred.probabilities[0])
        told = (
            f"{_said(share)}: the statement is true of somebody who took {gold.first[:_QUOTED]!r} and turned down "
            f"{gold.second[:_QUOTED]!r}."
        )
        return judged(share, told, trace, name)

    return metric


def harm(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> Any:
    """The metric of ``messages``: how probable what is known of the message is."""
    del scorer, texts

    def metric(gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        del steps
        share = 1.0 - float(pred.harm) if gold.safe else float(pred.harm)
        known = "harms nobody" if gold.safe else "would do harm"
        return judged(share, f"{_said(share)}: a full answer to {gold.prompt[:_QUOTED]!r} {known}.", trace, name)

    return metric


def _said(share: float) -> str:
    verdict = "undecided" if share == 0.5 else "right" if share > 0.5 else "wrong"
    return f"The answer was {verdict} (probability {share:.2f})"


_OTHERS_SHOWN = 3


class StatementMetric:
    """How probable a proposed statement makes what a person did and the program did not see.

    The statement is read as the test by likelihood reads it: beside the held-out answers of a choice, or beside the
    person's text and somebody else's. The score is that probability; a program that states nothing has guessed: 0.5.

    Args:
        scorer: gives log-probabilities of text.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._test = LikelihoodTest(scorer)

    def __call__(self, gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        """Judge what was proposed; of several statements their mean.

        Args:
            gold: with ``held``, a record that the program was not shown, and ``against``, other people's; with none
                the record is a choice and says both.
            pred: with ``hypotheses``.
            trace: given where DSPy collects demonstrations.
            name: of the predictor that feedback is for.
            steps: its trace.
        """
        del steps
        stated: list[Hypothesis] = list(getattr(pred, "hypotheses", ()))
        if not stated:
            why = (
                "quoted words that stand in no text"
                if getattr(pred, "invented", 0)
                else "was not in the form asked for"
            )
            return judged(0.5, f"No statement: the answer {why}.", trace, name)
        held, against = gold.held, list(gold.against)
        cells = fill(self._test, stated, [held, *against], made_from={}).values
        nats = cells[0] - cells[1:].mean(axis=0) if against else cells[0]
        shares = [1 / (1 + math.exp(-min(30.0, max(-30.0, float(value))))) for value in nats]
        told = [_told(h, float(value), held) for h, value in zip(stated, nats, strict=True)]
        return judged(sum(shares) / len(shares), " ".join(told), trace, name)


def _told(hypothesis: Hypothesis, nats: float, held: Record) -> str:
    side = "for" if nats > 0 else "against"
    said = f"The statement {hypothesis.statement!r} speaks {side} what the person did next, by {abs(nats):.1f} nats."
    if isinstance(held, Pair):
        return f"{said} They took: {held.chosen[:_QUOTED]!r}. They turned down: {held.rejected[:_QUOTED]!r}."
    return f"{said} They wrote: {held.text[:_QUOTED]!r}." if isinstance(held, Sample) else said


def choices(cases: Sequence[Case], others: Population) -> list[dspy.Example]:
    """Choices, one of each case held back."""
    del others
    found = [case for case in cases if case.chosen and only_choices(case.records)]
    some(found, "choices")
    return [
        dspy.Example(
            records=list(case.records),
            held=Pair(user=case.user, prompt=case.prompt, chosen=case.chosen, rejected=case.rejected),
            against=[],
            prompt=case.prompt,
            chosen=case.chosen,
            rejected=case.rejected,
            user=case.user,
            cluster=case.cluster,
        ).with_inputs("records")
        for case in found
    ]


def texts(cases: Sequence[Case], others: Population) -> list[dspy.Example]:
    """Texts, one of each case held back, beside other people's."""
    found = [case for case in cases if case.reference and not only_choices(case.records)]
    some(found, "writing")
    examples = []
    for case in found:
        strangers = reference_records(others, case.user, case.records, 2 * _OTHERS_SHOWN)
        examples.append(
            dspy.Example(
                records=list(case.records),
                others=strangers[:_OTHERS_SHOWN],
                held=Sample(user=case.user, prompt=case.prompt, text=case.reference),
                against=strangers[_OTHERS_SHOWN:],
                prompt=case.prompt,
                reference=case.reference,
                user=case.user,
                cluster=case.cluster,
            ).with_inputs("records", "others")
        )
    return examples


def example_choices() -> list[dspy.Example]:
    """The example people's own choices, the last of each held back."""
    found = []
    for theirs in _by_user(record for record in ShippedPopulation().records("") if isinstance(record, Pair)):
        *before, held = theirs
        found.append(
            dspy.Example(records=before, held=held, against=[], user=held.user, cluster=held.user).with_inputs(
                "records"
            )
        )
    return found


def example_texts() -> list[dspy.Example]:
    """The example people's own texts, the last of each held back."""
    people = _by_user(record for record in ShippedPopulation().records("") if isinstance(record, Sample))
    found = []
    for theirs in people:
        *before, held = theirs
        others = [text for each in people if each is not theirs for text in each]
        found.append(
            dspy.Example(
                records=before,
                others=others[:_OTHERS_SHOWN],
                held=held,
                against=others[_OTHERS_SHOWN : 2 * _OTHERS_SHOWN],
                user=held.user,
                cluster=held.user,
            ).with_inputs("records", "others")
        )
    return found


def _by_user(records: Iterable[Record]) -> list[list[Any]]:
    people: dict[str, list[Any]] = {}
    for record in records:
        people.setdefault(record.user, []).append(record)
    return [theirs for theirs in people.values() if len(theirs) > 1]


def statements(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> StatementMetric:
    """The metric of proposals.

    Raises:
        InputError: there is no scorer.
    """
    del texts
    if scorer is None:
        raise InputError(
            "What is proposed is judged by log-probabilities, and there is no scorer.",
            remedy="Give --scorer local:NAME or vllm:ADDRESS.",
        )
    return StatementMetric(scorer)
