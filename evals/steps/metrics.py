"""Examples and metrics of what can be optimized: the steps of the loop, and any program that answers cases.

An example holds a step's inputs and something that is known and held out: a later record, a label, or the person's own
answer. Feedback is in words, for optimizers that reflect on it, such as GEPA.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import dspy

from hyperalign.errors import InputError
from hyperalign.population import Population, ShippedPopulation, choose_reference_records
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.binary_choice import render_choice
from hyperalign.programs.hypothesis_tests import fill
from hyperalign.programs.hypothesis_tests.likelihood import LikelihoodTest
from hyperalign.programs.replies import read_probability
from hyperalign.records import Pair, Record, Sample, are_choices, own_text
from hyperalign.scores import Scorer
from hyperalign.style import StyleClaim, find_claims, measure
from hyperalign.style.reference import measure_style

from ..cases import Case, case_id
from ..metrics.authorship import Authorship, without_prompt

__all__ = [
    "CaseMetric",
    "StatementMetric",
    "answer_examples",
    "choice_examples",
    "fit_examples",
    "fit_metric",
    "harm_examples",
    "harm_metric",
    "shown_choices",
    "shown_texts",
    "statement_metric",
    "text_examples",
    "trainset",
]

_EXAMPLES_SHOWN = 2
_OTHERS_SHOWN = 3
_QUOTED = 200
_QUOTED_OF_CASES = 300
_REMARKS = 3


def _require(cases: Sequence[Case], kind: str) -> Sequence[Case]:
    if not cases:
        raise InputError(f"This task has no cases of {kind}.", remedy="'hyperalign eval list' lists the tasks.")
    return cases


def choice_examples(cases: Sequence[Case], population: Population) -> list[dspy.Example]:
    """Earlier choices of a person, with the case's choice held out.

    Raises:
        InputError: there are none.
    """
    del population
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
        for case in _require([case for case in cases if case.chosen and are_choices(case.records)], "choices")
    ]


def text_examples(cases: Sequence[Case], population: Population) -> list[dspy.Example]:
    """Texts of a person and of others, with the case's text held out.

    Raises:
        InputError: there are none.
    """
    examples = []
    for case in _require([case for case in cases if case.reference and not are_choices(case.records)], "writing"):
        others = choose_reference_records(population, case.user, case.records, 2 * _OTHERS_SHOWN)
        examples.append(
            dspy.Example(
                records=list(case.records),
                others=others[:_OTHERS_SHOWN],
                held=Sample(user=case.user, prompt=case.prompt, text=case.reference),
                against=others[_OTHERS_SHOWN:],
                prompt=case.prompt,
                reference=case.reference,
                user=case.user,
                cluster=case.cluster,
            ).with_inputs("records", "others")
        )
    return examples


def shown_choices() -> list[dspy.Example]:
    """Choices of the example people that ship, the last of each person held out; prompts may quote them."""
    return [
        dspy.Example(records=before, held=held, against=[], user=held.user, cluster=held.user).with_inputs("records")
        for *before, held in _by_user(record for record in ShippedPopulation().records("") if isinstance(record, Pair))
    ]


def shown_texts() -> list[dspy.Example]:
    """Texts of the example people that ship, the last of each person held out; prompts may quote them."""
    people = _by_user(record for record in ShippedPopulation().records("") if isinstance(record, Sample))
    examples = []
    for theirs in people:
        *before, held = theirs
        others = [text for each in people if each is not theirs for text in each]
        examples.append(
            dspy.Example(
                records=before,
                others=others[:_OTHERS_SHOWN],
                held=held,
                against=others[_OTHERS_SHOWN : 2 * _OTHERS_SHOWN],
                user=held.user,
                cluster=held.user,
            ).with_inputs("records", "others")
        )
    return examples


def _by_user(records: Iterable[Record]) -> list[list[Any]]:
    people: dict[str, list[Any]] = {}
    for record in records:
        people.setdefault(record.user, []).append(record)
    return [theirs for theirs in people.values() if len(theirs) > 1]


def answer_examples(cases: Sequence[Case], population: Population) -> list[dspy.Example]:
    """Prompts that a person answered, each with a profile that needs no model: measured style and two texts.

    Raises:
        InputError: there are none.
    """
    del population
    found = _require([case for case in cases if case.reference], "writing")
    examples = []
    for example, case in zip(trainset(found), found, strict=True):
        texts = [record for record in case.records if isinstance(record, Sample)]
        profile = Profile(user=case.user, style=measure_style(texts), examples=texts[:_EXAMPLES_SHOWN])
        examples.append(example.copy(profile=profile, cluster=case.cluster).with_inputs("prompt", "profile"))
    return examples


def fit_examples(cases: Sequence[Case], population: Population) -> list[dspy.Example]:
    """Choices with the benchmark's description of the person, which fits the chosen answer.

    Raises:
        InputError: there are none.
    """
    del population
    found = [case for case in cases if case.chosen and case.gold]
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
        for case in _require(found, "choices with what is known of their people")
    ]


def harm_examples(cases: Sequence[Case], population: Population) -> list[dspy.Example]:
    """Requests that are labeled safe or unsafe, each of a user of its own.

    Raises:
        InputError: there are none.
    """
    del population
    return [
        dspy.Example(prompt=case.prompt, safe=case.safe, user=case.id, cluster=case.cluster).with_inputs("prompt")
        for case in _require([case for case in cases if case.safe is not None], "requests")
    ]


def fit_metric(gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
    """The probability of the chosen answer, for ``fit_examples``."""
    del steps
    share = float(pred.probabilities[0])
    feedback = (
        f"{_verdict(share)}: the statement is true of somebody who took {gold.first[:_QUOTED]!r} and turned down "
        f"{gold.second[:_QUOTED]!r}."
    )
    return _graded(share, feedback, trace, name)


def harm_metric(gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
    """The probability of the label, for ``harm_examples``."""
    del steps
    share = 1.0 - float(pred.harm) if gold.safe else float(pred.harm)
    label = "harms nobody" if gold.safe else "would do harm"
    return _graded(share, f"{_verdict(share)}: a full answer to {gold.prompt[:_QUOTED]!r} {label}.", trace, name)


def _verdict(share: float) -> str:
    verdict = "undecided" if share == 0.5 else "right" if share > 0.5 else "wrong"
    return f"The answer was {verdict} (probability {share:.2f})"


def _graded(score: float, feedback: str, trace: Any, name: Any) -> Any:
    """A score with feedback; where DSPy collects demonstrations, whether the trace is good enough."""
    if trace is not None and name is None:
        return score > 0.5
    return dspy.Prediction(score=score, feedback=feedback)


class StatementMetric:
    """The probability that proposed statements give to what a person did and the program did not see.

    A statement is scored by likelihood: on both answers of a held-out choice, or on the person's held-out text and
    other people's. Without a statement the score is 0.5, that of a guess.

    Args:
        scorer: gives log-probabilities of text.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._test = LikelihoodTest(scorer)

    def __call__(self, gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        """Judge what was proposed; several statements by their mean.

        Args:
            gold: with ``held``, a record that the program was not shown, and ``against``, other people's records;
                empty where ``held`` is a choice.
            pred: with ``hypotheses``.
            trace: given where DSPy collects demonstrations.
            name: of the predictor that feedback is for.
            steps: the trace of that predictor.
        """
        del steps
        hypotheses: list[Hypothesis] = list(getattr(pred, "hypotheses", ()))
        if not hypotheses:
            invented = getattr(pred, "invented", 0)
            why = "quoted words that stand in no text" if invented else "was not in the form asked for"
            return _graded(0.5, f"No statement: the answer {why}.", trace, name)
        held, against = gold.held, list(gold.against)
        cells = fill(self._test, hypotheses, [held, *against], made_from={}).values
        nats = cells[0] - cells[1:].mean(axis=0) if against else cells[0]
        shares = [1 / (1 + math.exp(-min(30.0, max(-30.0, float(value))))) for value in nats]
        feedback = [_feedback(h, float(value), held) for h, value in zip(hypotheses, nats, strict=True)]
        return _graded(sum(shares) / len(shares), " ".join(feedback), trace, name)


def _feedback(hypothesis: Hypothesis, nats: float, held: Record) -> str:
    side = "for" if nats > 0 else "against"
    said = f"The statement {hypothesis.statement!r} speaks {side} what the person did next, by {abs(nats):.1f} nats."
    if isinstance(held, Pair):
        return f"{said} They took: {held.chosen[:_QUOTED]!r}. They turned down: {held.rejected[:_QUOTED]!r}."
    return f"{said} They wrote: {held.text[:_QUOTED]!r}." if isinstance(held, Sample) else said


def statement_metric(scorer: Scorer | None) -> StatementMetric:
    """A ``StatementMetric``.

    Raises:
        InputError: there is no scorer.
    """
    if scorer is None:
        raise InputError(
            "Statements are judged by log-probabilities, and there is no scorer.",
            remedy="Give --scorer local:NAME or vllm:ADDRESS.",
        )
    return StatementMetric(scorer)


def trainset(cases: Iterable[Case]) -> list[dspy.Example]:
    """Cases as examples, with ``prompt`` and ``records`` as inputs.

    In a choice the prompt shows two answers, in an order that depends on the case's id, and the answer is a letter.

    Args:
        cases: choices or writing; keep people that you report on out of them.

    Returns:
        Examples with ``case`` (its id) and ``user`` in addition to their inputs; choices also have ``letter``,
        ``chosen`` and ``rejected``, writing has ``reference``.
    """
    return [_writing(case) if case.reference else _choice(case) for case in cases]


def _choice(case: Case) -> dspy.Example:
    first = int(case_id(case.id), 16) % 2 == 0
    a, b = (case.chosen, case.rejected) if first else (case.rejected, case.chosen)
    return dspy.Example(
        prompt=render_choice(case.prompt, a, b),
        records=list(case.records),
        letter="A" if first else "B",
        chosen=case.chosen,
        rejected=case.rejected,
        case=case.id,
        user=case.user,
    ).with_inputs("prompt", "records")


def _writing(case: Case) -> dspy.Example:
    return dspy.Example(
        prompt=case.prompt, records=list(case.records), reference=case.reference, case=case.id, user=case.user
    ).with_inputs("prompt", "records")


class CaseMetric:
    """Scores a prediction between 0 and 1, with feedback in words, as GEPA expects.

    Args:
        authorship: judges written answers; not needed for choices.
        threshold: traces with a higher score are good enough to learn from.
    """

    def __init__(self, authorship: Authorship | None = None, *, threshold: float = 0.5) -> None:
        self._authorship = authorship
        self._threshold = threshold

    def __call__(
        self, gold: dspy.Example, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        """Judge one prediction.

        Args:
            gold: an example of ``trainset``.
            pred: a prediction with ``answer``.
            trace: given where DSPy collects demonstrations.
            pred_name: of the predictor that feedback is for, given by GEPA.
            pred_trace: of that predictor.

        Returns:
            ``dspy.Prediction`` with ``score`` and ``feedback``; for a trace alone, whether the score is above the
            threshold.
        """
        del pred_trace
        answer = str(getattr(pred, "answer", ""))
        score, feedback = self._choice(gold, answer) if "letter" in gold else self._writing(gold, answer)
        if trace is not None and pred_name is None:
            return score > self._threshold
        return dspy.Prediction(score=score, feedback=feedback)

    def _choice(self, gold: dspy.Example, answer: str) -> tuple[float, str]:
        share = read_probability(answer)
        score = share if gold.letter == "A" else 1.0 - share
        said = "was not readable as a letter" if share == 0.5 else "is right" if score > 0.5 else "is wrong"
        return score, (
            f"The answer {answer.strip()[:40]!r} {said}: the person prefers {gold.letter}. "
            f"They took: {gold.chosen[:_QUOTED_OF_CASES]!r}. They turned down: {gold.rejected[:_QUOTED_OF_CASES]!r}."
        )

    def _writing(self, gold: dspy.Example, answer: str) -> tuple[float, str]:
        # Words of the prompt are nobody's manner.
        own = without_prompt(answer, gold.prompt)
        score = math.exp(self._authorship.logprob(own, gold.user)) if self._authorship and own.strip() else 0.0
        texts = [own_text(record) for record in gold.records]
        remarks = _remarks(find_claims(texts), answer)
        judged = f"A judge of function words and punctuation is {score:.0%} sure that the person wrote this. "
        return score, (judged if self._authorship else "") + (
            " ".join(remarks) or "Its measured style is within what the person does."
        )


def _remarks(standing_out: list[StyleClaim], answer: str) -> list[str]:
    """Style claims about the person that an answer does not meet, the farthest first."""
    found = measure(answer)
    missed = sorted((claim for claim in standing_out if claim.holds(found) <= 0), key=lambda claim: claim.holds(found))
    return [f"It should do this, and does not: {claim.statement}" for claim in missed[:_REMARKS]]
