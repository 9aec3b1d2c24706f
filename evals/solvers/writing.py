"""Solver of writing: an answer under every condition, with what judges of authorship say of it, and what it says."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import dspy

from hyperalign.population import Population, ShippedPopulation
from hyperalign.programs.binary_choice import ScorerChoice
from hyperalign.programs.decoding import Writer
from hyperalign.programs.generate import MAX_COPIED, Generate
from hyperalign.programs.guided import Effort, GuidedGenerate
from hyperalign.programs.strategies import PROFILE_WORDS
from hyperalign.records import Record, own_text, prompt_of
from hyperalign.scores import Message
from hyperalign.text import is_refusal, longest_copied_run

from ..cases import Case
from ..conditions import BARE, DRAFT, FEW_SHOT, NONE, OWN_TEXT, WRONG_USER, Condition, Conditions
from ..metrics.authorship import JUDGES, RIVALS, AuthorshipMetrics, cut, nearness, win_rate, without_prompt
from ..metrics.choice import win
from ..metrics.nearness import Nearness

__all__ = ["GUIDED_WORDS", "Guide", "WritingMetrics", "WritingSolver", "repeated_4grams", "score_answers"]

WritingMetrics = AuthorshipMetrics | Nearness
"""What judges the answers of a task: its people's texts, or the rewrites of one draft."""
GUIDED_WORDS = 1600
"""The most words of the person that guided writing is shown, and ``few-shot`` beside it."""

_TOPIC_WORDS = 200
_OF_OWN_TEXT = ("refused", "repeated_4grams", "copied_over_limit", "copied_words", "words")


@dataclass(frozen=True)
class Guide:
    """Steers writing by what a case's records tell of the person; nothing else of theirs is read.

    Attributes:
        effort: what is spent on an answer.
        writer: continues answers; None lets the model draft and revise.
        population: other people, from whose records the person's are told.
    """

    effort: Effort = "high"
    writer: Writer | None = None
    population: Population = field(default_factory=ShippedPopulation)
    _bare: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def write(self, condition: Condition, case: Case) -> dspy.Prediction:
        """Write the answer of a condition that has records to steer by; see ``GuidedGenerate``."""
        program = GuidedGenerate(
            self.effort,
            strategy=condition.strategy,
            writer=self.writer,
            population=_Elsewhere(self.population, case),
            max_words=GUIDED_WORDS,
        )
        settings = {"profile": condition.profile, "records": condition.records or (), "draft": case.draft or None}
        if self.writer is None:
            return program(prompt=case.prompt, **settings)
        # A writer writes one answer at a time.
        with self._lock:
            found = program(prompt=case.prompt, bare=self._bare.get(case.prompt), **settings)
            # The model's own answer is the same under all conditions of a case.
            self._bare.clear()
            self._bare[case.prompt] = str(found.bare)
            return found


class _Elsewhere:
    """A population without what its people answered to a case's prompt, as in use nobody has answered it, and without
    the case's person, whom a stranger's profile must not be told apart from."""

    def __init__(self, population: Population, case: Case) -> None:
        self.name = population.name
        self._population = population
        self._case = case

    def records(self, user: str) -> list[Record]:
        return [
            record
            for record in self._population.records(user)
            if prompt_of(record) != self._case.prompt and record.user != self._case.user
        ]


class WritingSolver:
    """Writes and measures the answers to one case.

    Called with a case, it returns ``prompt``, ``reference``, ``answers`` and ``context`` (what was said of the person,
    both by condition), ``scores`` (by condition and metric), with several drafts ``rejected_drafts``, and of guided
    conditions ``guided`` (rewards of the answer and of the bare model's, in nats, the range of the person's own texts,
    and tokens).

    Args:
        conditions: strategies and controls.
        metrics: that judge answers.
        best_of: drafts that each answer is chosen from.
        scorer: judges drafts, where there are several.
        answer: an optimized predictor that writes; the default one if None.
        guide: steers the conditions that are guided.
    """

    def __init__(
        self,
        conditions: Conditions,
        metrics: WritingMetrics,
        *,
        best_of: int = 1,
        scorer: ScorerChoice = None,
        answer: dspy.Predict | None = None,
        guide: Guide | None = None,
    ) -> None:
        self._conditions = conditions
        self._metrics = metrics
        self._guide = guide or Guide()
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
        guided: dict[str, dict[str, Any]] = {}
        told: dict[str, list[Message]] = {}
        is_guided = any(condition.records is not None for condition in conditions)
        for condition in conditions:
            if condition.records is not None:
                found = self._guide.write(condition, case)
                answers[condition.name], drafts[condition.name] = str(found.answer), []
                guided[condition.name] = _told(found)
                told[condition.name] = [*found.turns]
                continue
            # Beside guided writing, the same texts are shown to a model that is only told.
            words = GUIDED_WORDS if is_guided and condition.strategy.name == FEW_SHOT else PROFILE_WORDS
            told[condition.name] = condition.shown(case.prompt, words)
            # Conditions whose prompts are equal share one answer, so they tie.
            sent = json.dumps(condition.strategy.condition(condition.profile, case.prompt, words))
            if sent not in written or self._best_of > 1:
                written[sent] = self._write(condition, case, words)
            answers[condition.name], *drafts[condition.name] = written[sent]
        if case.draft:
            answers[DRAFT] = case.draft
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
            **({"guided": guided} if guided else {}),
            "context": told,
            "scores": score_answers(self._metrics, case, answers, other_texts, drafts),
        }

    def _write(self, condition: Condition, case: Case, max_words: int) -> list[str]:
        """The answer, followed by the drafts that were not chosen."""
        # The reward reads features that the authorship metric sees, and would game it: statements choose among drafts.
        profile = condition.profile.model_copy(update={"reward": None})
        # Nothing to choose by: more drafts would be wasted.
        best_of = self._best_of if profile.hypotheses else 1
        program = Generate(condition.strategy, max_words=max_words, best_of=best_of, scorer=self._scorer)
        if self._answer is not None:
            program.answer = self._answer
        written = program(prompt=case.prompt, profile=profile)
        rest = list(written.drafts)
        rest.remove(written.answer)
        return [str(written.answer), *map(str, rest)]


def _told(found: dspy.Prediction) -> dict[str, Any]:
    """What a guided answer says of itself, as JSON data."""
    return {
        "bare": str(found.bare),
        # A text without words has no odds, and JSON no infinity.
        "rewards": found.rewards and [each if math.isfinite(each) else None for each in found.rewards],
        "own": None if found.own is None else list(found.own),
        "revised": found.revised,
        "tokens": found.tokens,
    }


def score_answers(
    metrics: WritingMetrics,
    case: Case,
    answers: Mapping[str, str],
    other_texts: Mapping[str, Sequence[str]] | None = None,
    rejected_drafts: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict[str, float]]:
    """All writing metrics, by condition; words that repeat the prompt do not count, but for a draft's.

    Args:
        metrics: of the task.
        case: the case.
        answers: by condition.
        other_texts: another user's texts that a condition was shown: copies of those count too.
        rejected_drafts: drafts that the answer was preferred to, by condition.
    """
    shown = [own_text(record) for record in case.records]
    scores = {
        condition: _judge(metrics, case, answer)
        | _content(metrics, case, answer, [*shown, *(other_texts or {}).get(condition, ())])
        for condition, answer in answers.items()
    }
    if isinstance(metrics, Nearness):
        rejected_drafts = {}
    for condition, others in (rejected_drafts or {}).items():
        chosen = scores[condition]["author_logprob"]
        drafts = [_judge(metrics, case, other)["author_logprob"] for other in others]
        if drafts:
            scores[condition]["over_its_drafts"] = chosen - fmean([chosen, *drafts])
    for condition, own in scores.items():
        for rival in RIVALS:
            if rival in scores and rival != condition:
                for name, metric in JUDGES.items():
                    if metric in own:
                        # Of a text without words judges know nothing, which is worse than any answer.
                        ours, theirs = (
                            nearness(metric, scores[each][metric]) if scores[each]["words"] else -math.inf
                            for each in (condition, rival)
                        )
                        own[win_rate(name, rival)] = win(ours, theirs)
    written = _content(metrics, case, case.reference, shown)
    return scores | {OWN_TEXT: _judge(metrics, case, case.reference) | {name: written[name] for name in _OF_OWN_TEXT}}


def _judge(metrics: WritingMetrics, case: Case, answer: str) -> dict[str, float]:
    if isinstance(metrics, Nearness):
        return metrics.measure(answer, case)
    return metrics.measure(without_prompt(answer, case.prompt), case.user)


def _content(metrics: WritingMetrics, case: Case, answer: str, shown: Iterable[str]) -> dict[str, float]:
    both = (answer, case.reference)
    text, reference = both if case.draft else (without_prompt(each, case.prompt) for each in both)
    copied, words = longest_copied_run(text, shown), len(text.split())
    return {
        # The first words only, as for the judges: a longer text shares more words with any other.
        "on_topic": metrics.topic(cut(text, _TOPIC_WORDS), f"{case.prompt}\n{reference}"),
        # What only repeats the prompt answers nothing.
        "refused": float(is_refusal(answer) or not words),
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
