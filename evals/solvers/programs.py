"""Any DSPy program under an eval: asked as it is, with a person's records and with somebody else's.

Such a program shows no profile and no log-probabilities, so a choice is asked for by letter, in both
orders. This file is handed the program and its instruments; it knows no runtime.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dspy

from hyperalign.programs.binary_choice import question
from hyperalign.programs.replies import read_probability
from hyperalign.records import Record, own_text

from ..cases import Case, CaseKind
from ..conditions import CONTROLS, NONE, VOTES, WRONG_USER
from ..controls import votes
from ..metrics.authorship import AuthorshipMetrics, scored
from ..metrics.choice import Letters, own_over_other
from .requests import request_scores

__all__ = ["PROGRAM", "ProgramChoiceSolver", "ProgramRequestSolver", "ProgramWritingSolver", "not_asked"]

PROGRAM = "program"
"""The condition's name."""

# What is written has no votes in any run; of a request the verdict says that there is nothing to hold it against.
_ASKED: Mapping[CaseKind, Collection[str]] = {
    "choice": (WRONG_USER, VOTES),
    "writing": (NONE, WRONG_USER, VOTES),
    "request": CONTROLS,
}


def not_asked(kind: CaseKind, controls: Collection[str]) -> list[str]:
    """Those of some controls that are missing where any program is asked.

    Args:
        kind: of the task.
        controls: which of ``CONTROLS`` are on.
    """
    return [control for control in CONTROLS if control in controls and control not in _ASKED[kind]]


class ProgramChoiceSolver:
    """Work for ``run_cases``: a program names one of two answers.

    Args:
        program: takes ``prompt`` and ``records``, and answers with ``answer``.
        strangers: for each case id, somebody else's case.
        controls: which of ``CONTROLS`` are on.
    """

    def __init__(
        self, program: dspy.Module, strangers: Mapping[str, Case], controls: Collection[str] = CONTROLS
    ) -> None:
        self._program = program
        self._strangers = strangers
        self._controls = controls

    def __call__(self, case: Case) -> dict[str, Any]:
        """Score one case: the program with the person's records, with a stranger's, and the feature votes."""
        own = self._asked(case, case.records)
        scores = {PROGRAM: {"accuracy": own.accuracy, "order_consistency": own.consistency}}
        stranger = self._strangers.get(case.id)
        if stranger is not None:
            other = self._asked(case, stranger.records)
            scores[PROGRAM]["own_over_other"] = own_over_other(own.chosen, other.chosen)
            scores[WRONG_USER] = {"accuracy": other.accuracy, "order_consistency": other.consistency}
        if VOTES in self._controls:
            scores |= votes(case)
        return {"prompt": case.prompt, "chosen": case.chosen, "rejected": case.rejected, "scores": scores}

    def _asked(self, case: Case, records: Sequence[Record]) -> Letters:
        def share(first: str, second: str) -> float:
            answer = self._program(prompt=question(case.prompt, first, second), records=list(records)).answer
            return read_probability(str(answer))

        return Letters(share(case.chosen, case.rejected), 1.0 - share(case.rejected, case.chosen))


class ProgramWritingSolver:
    """Work for ``run_cases``: a program writes an answer.

    Args:
        program: takes ``prompt`` and ``records``, and answers with ``answer``.
        instruments: of the task's authors.
        strangers: for each case id, somebody else's case.
        controls: which of ``CONTROLS`` are on.
    """

    def __init__(
        self,
        program: dspy.Module,
        authorship: AuthorshipMetrics,
        strangers: Mapping[str, Case],
        controls: Collection[str] = CONTROLS,
    ) -> None:
        self._program = program
        self._instruments = authorship
        self._strangers = strangers
        self._controls = controls

    def __call__(self, case: Case) -> dict[str, Any]:
        """Write with the person's records, without any, and with a stranger's; measure each."""
        stranger = self._strangers.get(case.id)
        shown = {PROGRAM: list(case.records)}
        if NONE in self._controls:
            shown[NONE] = []
        if stranger is not None:
            shown[WRONG_USER] = list(stranger.records)
        strangers = {} if stranger is None else {WRONG_USER: [own_text(record) for record in stranger.records]}
        answers = {
            condition: str(self._program(prompt=case.prompt, records=records).answer)
            for condition, records in shown.items()
        }
        return {
            "prompt": case.prompt,
            "reference": case.reference,
            "answers": answers,
            "scores": scored(self._instruments, case, answers, strangers),
        }


class ProgramRequestSolver:
    """Work for ``run_cases``: a program of one's own meets a request.

    Args:
        program: takes ``prompt`` and ``records``, and answers with ``answer``.
    """

    def __init__(self, program: dspy.Module) -> None:
        self._program = program

    def __call__(self, case: Case) -> dict[str, Any]:
        """Ask and score; there is nothing to hold its answer against."""
        answers = {PROGRAM: str(self._program(prompt=case.prompt, records=[]).answer)}
        return {"prompt": case.prompt, "safe": case.safe, "answers": answers, "scores": request_scores(case, answers)}
