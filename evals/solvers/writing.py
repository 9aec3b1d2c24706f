"""Writing cases under every condition: each writes an answer, and the instruments say whose it looks like.

This file is handed its conditions and instruments, and writes with DSPy's configured model; it knows no runtime.
"""

from __future__ import annotations

import json
from typing import Any

import dspy

from hyperalign.programs.binary_choice import ScorerChoice
from hyperalign.programs.generate import Generate
from hyperalign.programs.scope import narrow
from hyperalign.programs.strategies import PROFILE_WORDS

from ..cases import Case
from ..conditions import BARE, NONE, WRONG_USER, Condition, Conditions
from ..metrics.authorship import UNSEEN, AuthorshipMetrics, scored

__all__ = ["WritingSolver"]


class WritingSolver:
    """Work for ``run_cases``: writes and measures the answers to one case.

    Called with a case, it returns ``prompt``, ``reference``, ``answers``, what is ``said`` of the person,
    ``scores`` (by condition and metric) and, of several drafts, those that were ``not_chosen`` (by condition).

    Args:
        conditions: strategies and controls.
        instruments: of the task's authors.
        best_of: drafts to choose each answer from.
        scorer: judges drafts, where there are several.
        answer: the predictor that writes, where it was optimized; the usual one if None.
    """

    def __init__(
        self,
        conditions: Conditions,
        authorship: AuthorshipMetrics,
        *,
        best_of: int = 1,
        scorer: ScorerChoice = None,
        answer: dspy.Predict | None = None,
    ) -> None:
        self._conditions = conditions
        self._instruments = authorship
        self._best_of = best_of
        self._scorer = scorer
        self._answer = answer

    def __call__(self, case: Case) -> dict[str, Any]:
        """Write and measure; see the class."""
        conditions = self._conditions.of(case)
        if NONE in self._conditions.controls:
            conditions = [BARE, *conditions]
        written: dict[str, list[str]] = {}
        answers: dict[str, str] = {}
        drafts: dict[str, list[str]] = {}
        for condition in conditions:
            # Where no profile won, several conditions ask the very same: one answer serves them, and they tie.
            sent = json.dumps(condition.strategy.condition(condition.profile, case.prompt, PROFILE_WORDS))
            if sent not in written or self._best_of > 1:
                written[sent] = self._write(condition, case)
            answers[condition.name], *drafts[condition.name] = written[sent]
        strangers = {
            condition.name: [example.text for example in condition.profile.examples]
            for condition in conditions
            if condition.name == WRONG_USER
        }
        return {
            "prompt": case.prompt,
            "reference": case.reference,
            "answers": answers,
            **({"not_chosen": drafts} if self._best_of > 1 else {}),
            "said": {
                condition.name: condition.strategy.condition(narrow(condition.profile, case.prompt), "…", PROFILE_WORDS)
                for condition in conditions
            },
            "scores": scored(self._instruments, case, answers, strangers, drafts),
        }

    def _write(self, condition: Condition, case: Case) -> list[str]:
        """The answer, and after it the drafts that were not chosen."""
        # What the judge reads must not choose: a draft would win by its judge's own measure.
        unseen = {name: value for name, value in condition.profile.style.items() if name in UNSEEN}
        profile = condition.profile.model_copy(update={"style": unseen})
        # Of whom nothing is known, no draft is better than the first.
        best_of = self._best_of if unseen or profile.hypotheses else 1
        program = Generate(condition.strategy, best_of=best_of, scorer=self._scorer)
        if self._answer is not None:
            program.answer = self._answer
        told = program(prompt=case.prompt, profile=profile)
        rest = list(told.drafts)
        rest.remove(told.answer)
        return [str(told.answer), *map(str, rest)]
