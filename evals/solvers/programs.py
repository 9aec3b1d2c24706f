"""Solvers of any DSPy program: called as it is, with a person's records and with another user's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dspy

from hyperalign.programs.binary_choice import render_choice
from hyperalign.programs.replies import read_probability
from hyperalign.records import Record, own_text

from ..cases import Case, CaseKind
from ..conditions import CONTROLS, DRAFT, NONE, VOTES, WRONG_USER, votes
from ..metrics.choice import Letters, win
from .requests import request_scores
from .writing import WritingMetrics, score_answers

__all__ = ["PROGRAM", "ProgramChoiceSolver", "ProgramRequestSolver", "ProgramWritingSolver", "unsupported_controls"]

PROGRAM = "program"
"""The name of its condition."""

# Writing has no votes in any run; a request has no controls, which its verdict says.
_SUPPORTED: Mapping[CaseKind, Collection[str]] = {
    "choice": (WRONG_USER, VOTES),
    "writing": (NONE, WRONG_USER, VOTES),
    "request": CONTROLS,
}


def unsupported_controls(kind: CaseKind, controls: Collection[str]) -> list[str]:
    """Those of the controls that any program cannot be run under."""
    return [control for control in CONTROLS if control in controls and control not in _SUPPORTED[kind]]


class ProgramChoiceSolver:
    """Asks a program by letter which of two answers the person prefers, in both orders.

    Args:
        program: takes ``prompt`` and ``records``, and answers with ``answer``.
        other_users: for each case id, a case of another user.
        controls: which of ``CONTROLS`` are enabled.
    """

    def __init__(
        self, program: dspy.Module, other_users: Mapping[str, Case], controls: Collection[str] = CONTROLS
    ) -> None:
        self._program = program
        self._other_users = other_users
        self._controls = controls

    def __call__(self, case: Case) -> dict[str, Any]:
        """Score the program with the person's records and with another user's, and the feature votes."""
        own = self._ask(case, case.records)
        scores = {PROGRAM: {"accuracy": own.accuracy, "order_consistency": own.consistency}}
        other_case = self._other_users.get(case.id)
        if other_case is not None:
            other = self._ask(case, other_case.records)
            scores[PROGRAM]["own_over_other"] = win(own.chosen, other.chosen)
            scores[WRONG_USER] = {"accuracy": other.accuracy, "order_consistency": other.consistency}
        if VOTES in self._controls:
            scores |= votes(case)
        return {"prompt": case.prompt, "chosen": case.chosen, "rejected": case.rejected, "scores": scores}

    def _ask(self, case: Case, records: Sequence[Record]) -> Letters:
        def share(first: str, second: str) -> float:
            answer = self._program(prompt=render_choice(case.prompt, first, second), records=list(records)).answer
            return read_probability(str(answer))

        return Letters(share(case.chosen, case.rejected), 1.0 - share(case.rejected, case.chosen))


class ProgramWritingSolver:
    """Measures answers that a program writes.

    Args:
        program: takes ``prompt`` and ``records``, and answers with ``answer``.
        metrics: that judge answers.
        other_users: for each case id, a case of another user.
        controls: which of ``CONTROLS`` are enabled.
    """

    def __init__(
        self,
        program: dspy.Module,
        metrics: WritingMetrics,
        other_users: Mapping[str, Case],
        controls: Collection[str] = CONTROLS,
    ) -> None:
        self._program = program
        self._metrics = metrics
        self._other_users = other_users
        self._controls = controls

    def __call__(self, case: Case) -> dict[str, Any]:
        """Measure the answers with the person's records, with none, and with another user's."""
        other = self._other_users.get(case.id)
        shown = {PROGRAM: list(case.records)}
        if NONE in self._controls:
            shown[NONE] = []
        if other is not None:
            shown[WRONG_USER] = list(other.records)
        other_texts = {} if other is None else {WRONG_USER: [own_text(record) for record in other.records]}
        answers = {
            condition: str(self._program(prompt=case.prompt, records=records).answer)
            for condition, records in shown.items()
        }
        if case.draft:
            answers[DRAFT] = case.draft
        return {
            "prompt": case.prompt,
            "reference": case.reference,
            "answers": answers,
            "scores": score_answers(self._metrics, case, answers, other_texts),
        }


class ProgramRequestSolver:
    """Scores a program's answer to a request.

    Args:
        program: takes ``prompt`` and ``records``, and answers with ``answer``.
    """

    def __init__(self, program: dspy.Module) -> None:
        self._program = program

    def __call__(self, case: Case) -> dict[str, Any]:
        """Score the answer; there is no control."""
        answers = {PROGRAM: str(self._program(prompt=case.prompt, records=[]).answer)}
        return {"prompt": case.prompt, "safe": case.safe, "answers": answers, "scores": request_scores(case, answers)}
