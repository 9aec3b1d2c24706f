"""Cases as DSPy examples, and a metric that says in words what was wrong: for ``dspy.Evaluate`` and the optimizers.

A program is asked with ``prompt`` and ``records`` and answers with ``answer``; in a choice case the prompt shows two
answers, and the answer is a letter. This file draws nothing and runs no program.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import dspy

from hyperalign.programs.binary_choice import question
from hyperalign.programs.replies import read_probability
from hyperalign.records import own_text
from hyperalign.style import StyleClaim, claims, measure

from .cases import Case, case_id
from .metrics.authorship import Authorship

__all__ = ["CaseMetric", "trainset"]

_QUOTED = 300
_REMARKS = 3


def trainset(cases: Iterable[Case]) -> list[dspy.Example]:
    """Cases as examples, with ``prompt`` and ``records`` as inputs.

    Which answer stands first is settled by the case's id, so that no position wins.

    Args:
        cases: choices or writing; people whose profiles are reported must not be among them.

    Returns:
        Examples with ``case`` (its id) and ``user`` beside their inputs; of choices also ``letter``, ``chosen`` and
        ``rejected``, of writing ``reference``.
    """
    return [_writing(case) if case.reference else _choice(case) for case in cases]


def _choice(case: Case) -> dspy.Example:
    first = int(case_id(case.id), 16) % 2 == 0
    a, b = (case.chosen, case.rejected) if first else (case.rejected, case.chosen)
    return dspy.Example(
        prompt=question(case.prompt, a, b),
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
    """Scores a prediction between 0 and 1, and says in words what was wrong.

    It has the shape that GEPA wants (``score`` and ``feedback``). Where DSPy asks whether a trace is good enough to
    learn from, it answers yes or no.

    Args:
        authorship: judges what is written; not needed for choices.
        enough: the score from which a trace is good enough.
    """

    def __init__(self, authorship: Authorship | None = None, *, enough: float = 0.5) -> None:
        self._authorship = authorship
        self._enough = enough

    def __call__(
        self, gold: dspy.Example, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        """Judge one prediction.

        Args:
            gold: one of ``trainset``.
            pred: what the program gave, with ``answer``.
            trace: given where DSPy collects demonstrations.
            pred_name: the predictor that feedback is for, given by GEPA.
            pred_trace: its trace.

        Returns:
            ``dspy.Prediction`` with ``score`` and ``feedback``; for a trace, whether the score is above ``enough``.
        """
        del pred_trace
        answer = str(getattr(pred, "answer", ""))
        score, feedback = self._choice(gold, answer) if "letter" in gold else self._writing(gold, answer)
        if trace is not None and pred_name is None:
            return score > self._enough
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
        remarks = _remarks(claims(texts), answer)
        judged = f"A judge of function words and punctuation is {score:.0%} sure that the person wrote this. "
        return score, (judged if self._authorship else "") + (
            " ".join(remarks) or "Its measured style is within what the person does."
        )


def _remarks(standing_out: list[StyleClaim], answer: str) -> list[str]:
    """Where an answer does not do what sets the person apart, the farthest first."""
    found = measure(answer)
    missed = sorted((claim for claim in standing_out if claim.holds(found) <= 0), key=lambda claim: claim.holds(found))
    return [f"It should do this, and does not: {claim.statement}" for claim in missed[:_REMARKS]]
