"""Cases as DSPy examples, and a metric with feedback in words, for ``dspy.Evaluate`` and the optimizers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import dspy

from hyperalign.programs.binary_choice import render_choice
from hyperalign.programs.replies import read_probability
from hyperalign.records import own_text
from hyperalign.style import StyleClaim, find_claims, measure

from .cases import Case, case_id
from .metrics.authorship import Authorship

__all__ = ["CaseMetric", "trainset"]

_QUOTED = 300
_REMARKS = 3


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
            f"They took: {gold.chosen[:_QUOTED]!r}. They turned down: {gold.rejected[:_QUOTED]!r}."
        )

    def _writing(self, gold: dspy.Example, answer: str) -> tuple[float, str]:
        score = math.exp(self._authorship.logprob(answer, gold.user)) if self._authorship else 0.0
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
