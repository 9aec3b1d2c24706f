"""Solver of writing: an answer under every condition, with authorship metrics."""

from __future__ import annotations

import json
from typing import Any

import dspy

from hyperalign.programs.binary_choice import ScorerChoice
from hyperalign.programs.generate import Generate
from hyperalign.programs.strategies import PROFILE_WORDS

from ..cases import Case
from ..conditions import BARE, NONE, WRONG_USER, Condition, Conditions
from ..metrics.authorship import AuthorshipMetrics, score_answers

__all__ = ["WritingSolver"]


class WritingSolver:
    """Writes and measures the answers to one case.

    Called with a case, it returns ``prompt``, ``reference``, ``answers`` and ``context`` (what was said of the person,
    both by condition), ``scores`` (by condition and metric) and, with several drafts, ``rejected_drafts``.

    Args:
        conditions: strategies and controls.
        authorship: metrics trained on the task's authors.
        best_of: drafts that each answer is chosen from.
        scorer: judges drafts, where there are several.
        answer: an optimized predictor that writes; the default one if None.
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
        self._authorship = authorship
        self._best_of = best_of
        self._scorer = scorer
        self._answer = answer

    def __call__(self, case: Case) -> dict[str, Any]:
        """Write and measure the answers; see the class."""
        conditions = self._conditions.of(case)
        if NONE in self._conditions.controls:
            conditions = [BARE, *conditions]
        written: dict[str, list[str]] = {}
        answers: dict[str, str] = {}
        drafts: dict[str, list[str]] = {}
        for condition in conditions:
            # Conditions whose prompts are equal share one answer, so they tie.
            sent = json.dumps(condition.strategy.condition(condition.profile, case.prompt, PROFILE_WORDS))
            if sent not in written or self._best_of > 1:
                written[sent] = self._write(condition, case)
            answers[condition.name], *drafts[condition.name] = written[sent]
        other_texts = {
            condition.name: [example.text for example in condition.profile.examples]
            for condition in conditions
            if condition.name == WRONG_USER
        }
        return {
            "prompt": case.prompt,
            "reference": case.reference,
            "answers": answers,
            **({"rejected_drafts": drafts} if self._best_of > 1 else {}),
            "context": {condition.name: condition.shown(case.prompt) for condition in conditions},
            "scores": score_answers(self._authorship, case, answers, other_texts, drafts),
        }

    def _write(self, condition: Condition, case: Case) -> list[str]:
        """The answer, followed by the drafts that were not chosen."""
        # The reward reads features that the authorship metric sees, and would game it: statements choose among drafts.
        profile = condition.profile.model_copy(update={"reward": None})
        # Nothing to choose by: more drafts would be wasted.
        best_of = self._best_of if profile.hypotheses else 1
        program = Generate(condition.strategy, best_of=best_of, scorer=self._scorer)
        if self._answer is not None:
            program.answer = self._answer
        written = program(prompt=case.prompt, profile=profile)
        rest = list(written.drafts)
        rest.remove(written.answer)
        return [str(written.answer), *map(str, rest)]
