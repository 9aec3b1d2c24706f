"""Solver of writing: an answer under every condition, with what judges of authorship say of it, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import dspy

from hyperalign.programs.binary_choice import ScorerChoice
from hyperalign.programs.generate import MAX_COPIED, Generate
from hyperalign.programs.strategies import PROFILE_WORDS
from hyperalign.records import own_text
from hyperalign.text import is_refusal, longest_copied_run

from ..cases import Case
from ..conditions import BARE, NONE, OWN_TEXT, WRONG_USER, Condition, Conditions
from ..metrics.authorship import JUDGES, RIVALS, AuthorshipMetrics, cut, nearness, win_rate, without_prompt
from ..metrics.choice import win

__all__ = ["WritingSolver", "repeated_4grams", "score_answers"]

_TOPIC_WORDS = 200
_OF_OWN_TEXT = ("refused", "repeated_4grams", "copied_over_limit", "copied_words", "words")


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


def score_answers(
    authorship: AuthorshipMetrics,
    case: Case,
    answers: Mapping[str, str],
    other_texts: Mapping[str, Sequence[str]] | None = None,
    rejected_drafts: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict[str, float]]:
    """All writing metrics, by condition; words that repeat the prompt do not count.

    Args:
        authorship: of the task's authors.
        case: the case.
        answers: by condition.
        other_texts: another user's texts that a condition was shown: copies of those count too.
        rejected_drafts: drafts that the answer was preferred to, by condition.
    """

    def judge(answer: str) -> dict[str, float]:
        return authorship.measure(without_prompt(answer, case.prompt), case.user)

    shown = [own_text(record) for record in case.records]
    scores = {
        condition: judge(answer) | _content(authorship, case, answer, [*shown, *(other_texts or {}).get(condition, ())])
        for condition, answer in answers.items()
    }
    for condition, others in (rejected_drafts or {}).items():
        chosen = scores[condition]["author_logprob"]
        drafts = [judge(other)["author_logprob"] for other in others]
        if drafts:
            scores[condition]["over_its_drafts"] = chosen - fmean([chosen, *drafts])
    for condition, own in scores.items():
        for rival in RIVALS:
            if rival in scores and rival != condition:
                for name, metric in JUDGES.items():
                    own[win_rate(name, rival)] = win(
                        nearness(metric, own[metric]), nearness(metric, scores[rival][metric])
                    )
    written = _content(authorship, case, case.reference, shown)
    return scores | {OWN_TEXT: judge(case.reference) | {name: written[name] for name in _OF_OWN_TEXT}}


def _content(authorship: AuthorshipMetrics, case: Case, answer: str, shown: Iterable[str]) -> dict[str, float]:
    text, reference = (without_prompt(each, case.prompt) for each in (answer, case.reference))
    copied, words = longest_copied_run(text, shown), len(text.split())
    return {
        # The first words only, as for the judges: a longer text shares more words with any other.
        "on_topic": authorship.topic(cut(text, _TOPIC_WORDS), f"{case.prompt}\n{reference}"),
        "refused": float(is_refusal(answer)),
        "repeated_4grams": repeated_4grams(text),
        "copied_over_limit": float(copied > MAX_COPIED),
        "copied_words": float(copied),
        "words": float(words),
        "length_ratio": words / max(1, len(reference.split())),
    }


def repeated_4grams(text: str) -> float:
    """The share of a text's runs of four words that stood in it before (Welleck et al. 2020); 0.0 where none did."""
    words = text.lower().split()
    runs = [tuple(words[start : start + 4]) for start in range(len(words) - 3)]
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0
