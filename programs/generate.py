"""Answers a prompt as the person would, under a strategy; of several drafts it takes the truest.

This file knows strategies and models, and nothing of how a profile is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import dspy

from hyperalign.copying import longest_copied_run
from hyperalign.profile import Profile
from hyperalign.scores import Message, Scorer
from hyperalign.style import likeness

from .excerpts import excerpt
from .fenced import fenced
from .own_scorer import ChosenScorer, resolve_scorer
from .plain import PlainAdapter
from .scope import narrowed
from .strategies import PROFILE_WORDS, Strategy
from .wishes import granted

__all__ = ["MAX_TOKENS", "AnswerAsThePerson", "Generate", "choose_draft", "writing_settings"]

MAX_TOKENS = 400
MAX_COPIED = 12
_TRIES = 3
_DRAFT_TEMPERATURE = 0.8
_JUDGED_WORDS = 120


class AnswerAsThePerson(dspy.Signature):
    """Write the answer that this person would write to the prompt, in their voice and manner. Say what the prompt asks
    for and nothing about that manner itself. Take no facts from earlier texts, and copy no sentence of them."""

    messages: list[dict[str, str]] = dspy.InputField()  # DSPy cannot check a TypedDict
    answer: str = dspy.OutputField()


class Generate(dspy.Module):
    """Answers prompts for a profile.

    Args:
        strategy: how the profile is put before the model.
        budget: words that may be spent on the profile.
        best_of: how many drafts to choose from; 1 answers greedily.
        scorer: judges the drafts by tested hypotheses, beside measured style; ``"own"`` is the model's own, where it
            offers one.
        max_tokens: how long an answer may be.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        budget: int = PROFILE_WORDS,
        best_of: int = 1,
        scorer: ChosenScorer = "own",
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        super().__init__()
        self.answer = dspy.Predict(AnswerAsThePerson)
        self._strategy = strategy
        self._budget = budget
        self._best_of = best_of
        self._scorer = scorer
        self._max_tokens = max_tokens

    def messages(self, profile: Profile, prompt: str) -> list[Message]:
        """Exactly what is sent, instructions included."""
        turns = self._strategy.condition(profile, prompt, self._budget)
        sent = PlainAdapter().format(self.answer.signature, self.answer.demos, {"messages": turns})
        return [{"role": turn["role"], "content": turn["content"]} for turn in sent]

    def forward(self, prompt: str, profile: Profile) -> dspy.Prediction:
        """Answer one prompt.

        Args:
            prompt: what to answer.
            profile: for whom.

        Returns:
            ``answer`` (text), ``drafts`` (all of them) and ``strategy`` (its name).
        """
        with dspy.context(adapter=PlainAdapter()):
            drafts = [self._draft(prompt, profile, number) for number in range(self._best_of)]
        best = 0
        if len(drafts) > 1:
            self._scorer = resolve_scorer(self._scorer)
            best = choose_draft(drafts, narrowed(profile, prompt), self._scorer)
        return dspy.Prediction(answer=drafts[best], drafts=drafts, strategy=self._strategy.name)

    def _draft(self, prompt: str, profile: Profile, number: int) -> str:
        """One draft; the first is greedy. What repeats an example is drawn anew, in the end without any example."""
        shown = [example.text for example in profile.examples]
        for attempt in range(_TRIES):
            draft = self._written(prompt, profile, number + attempt * self._best_of)
            if longest_copied_run(draft, shown) <= MAX_COPIED:
                return draft
        return self._written(prompt, profile.model_copy(update={"examples": []}), number)

    def _written(self, prompt: str, profile: Profile, number: int) -> str:
        config = writing_settings(dspy.settings.lm, self._max_tokens)
        if number:
            config |= {"temperature": _DRAFT_TEMPERATURE, **granted(dspy.settings.lm, seed=number)}
        turns = self._strategy.condition(profile, prompt, self._budget)
        return str(self.answer(messages=turns, config=config).answer)


def writing_settings(model: Any, max_tokens: int = MAX_TOKENS) -> dict[str, Any]:
    """How to ask a model for a draft: greedily, at a bounded length, and with what it says free writing wants."""
    return {"max_tokens": max_tokens, "temperature": 0.0, **getattr(model, "writing", {})}


def choose_draft(drafts: Sequence[str], profile: Profile, scorer: Scorer | None = None) -> int:
    """The draft that is most like the person: rank by measured style plus rank by tested hypotheses.

    Args:
        drafts: at least one.
        profile: the person.
        scorer: reads each draft for the kept hypotheses; without one, measured style alone decides.

    Returns:
        The index of the best draft.
    """
    by_style = [likeness(draft, profile.style) for draft in drafts]
    by_tests = [_supports(draft, profile, scorer) for draft in drafts] if scorer else [0.0] * len(drafts)
    ranks = [_rank(by_style, i) + _rank(by_tests, i) for i in range(len(drafts))]
    return min(range(len(drafts)), key=lambda i: (ranks[i], i))


def _supports(draft: str, profile: Profile, scorer: Scorer) -> float:
    tested = [h for h in profile.hypotheses if h.kind == "statement" and h.opposite and h.source != "measured"]
    if not tested:
        return 0.0
    question = f"{fenced(excerpt(draft, _JUDGED_WORDS), 'text')}\n\nHow does this person write?"
    context: list[Message] = [{"role": "user", "content": question}]
    scores = scorer.score(context, [pole for h in tested for pole in (h.statement, h.opposite)])
    return fmean(h.weight * (scores[2 * i].logprob - scores[2 * i + 1].logprob) for i, h in enumerate(tested))


def _rank(values: Sequence[float], index: int) -> int:
    return sum(value > values[index] for value in values)
