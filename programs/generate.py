"""Answers a prompt as the person would, under a strategy; of several drafts, the one that they would choose.

``DrawAnswers`` writes for nobody: its contrasting candidates are what a person is asked to choose between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import dspy

from hyperalign.concurrency import Progress, concurrency_of
from hyperalign.errors import ModelOutputError, check_counts
from hyperalign.profile import Profile
from hyperalign.scores import Message, Scorer
from hyperalign.text import excerpt, fence, longest_copied_run

from .adapters import PlainAdapter, open_answer_stream
from .binary_choice import LazyScorer, ScorerChoice
from .program import Call, Compute, Parallel, Program, Steps, resolve_model, run_steps
from .reward import Encoder, Reward
from .scope import narrow
from .strategies import PROFILE_WORDS, Strategy
from .strategies import strategy as find_strategy

__all__ = [
    "MANNERS",
    "MAX_COPIED",
    "MAX_TOKENS",
    "AnswerAsThePerson",
    "AnswerInManner",
    "DrawAnswers",
    "Generate",
    "ReviseAsThePerson",
    "choose_draft",
    "render_revision",
    "writing_settings",
]

MAX_TOKENS = 400
MAX_COPIED = 12
"""The longest run of words that an answer may share with a person's text."""
_TRIES = 3
_DRAFT_TEMPERATURE = 0.8
_JUDGED_WORDS = 120


class AnswerAsThePerson(dspy.Signature):
    """Write the answer that this person would write to the prompt, in their voice and manner. Say what the prompt asks
    for and nothing about that manner itself. Take no facts from earlier texts, and copy no sentence of them."""

    prompt: str = dspy.InputField(desc="what to answer")
    profile: Profile | None = dspy.InputField(default=None, desc="the person; without one the prompt stands alone")
    answer: str = dspy.OutputField(desc="what the person would write")


class ReviseAsThePerson(dspy.Signature):
    """Rewrite your last answer. Keep everything that it says and answers; change its manner alone, as told. Write the
    new answer and nothing else."""

    turns: list[dict[str, str]] = dspy.InputField(desc="the conversation with the draft as its last turn")
    differences: list[str] = dspy.InputField(desc="how the person writes, where the draft differs")
    answer: str = dspy.OutputField(desc="the new answer")


def render_revision(inputs: Mapping[str, Any]) -> list[Message]:
    """The conversation of ``ReviseAsThePerson``'s inputs."""
    asked = "\n".join(f"- {each}" for each in inputs["differences"])
    told: Message = {
        "role": "user",
        "content": f"Write that again. Keep all that it says, and write as this person does:\n{asked}",
    }
    turns = [*inputs["turns"], told]
    return turns if turns[0]["role"] == "system" else [{"role": "system", "content": ""}, *turns]


class Generate(Program):
    """Answers prompts for a profile.

    Args:
        strategy: how the profile is put before the model, by name or your own.
        max_words: the most words to spend on the profile.
        best_of: how many drafts to choose from; 1 answers greedily.
        scorer: judges drafts by tested hypotheses where the profile has no reward; ``"own"`` is the model's own, where
            it offers one.
        max_tokens: the length limit of an answer.
        encoder: the one that the profile's reward was learned with, if it was learned with one.

    Raises:
        InputError: there is no strategy of this name, or a number is below 1.
    """

    def __init__(
        self,
        strategy: str | Strategy = "verified",
        *,
        max_words: int = PROFILE_WORDS,
        best_of: int = 1,
        scorer: ScorerChoice = "own",
        max_tokens: int = MAX_TOKENS,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        check_counts(best_of=best_of, max_tokens=max_tokens)
        self.answer = dspy.Predict(AnswerAsThePerson)
        self._strategy = find_strategy(strategy)
        self._max_words = max_words
        self._best_of = best_of
        self._scorer = LazyScorer(scorer)
        self._max_tokens = max_tokens
        self._encoder = encoder

    def messages(self, profile: Profile, prompt: str) -> list[Message]:
        """The exact conversation that is sent, with its instructions."""
        inputs = {"prompt": prompt, "profile": profile}
        sent = PlainAdapter(self.turns).format(self.answer.signature, self.answer.demos, inputs)
        return [{"role": turn["role"], "content": turn["content"]} for turn in sent]

    def turns(self, inputs: Mapping[str, Any]) -> list[Message]:
        """The conversation of ``AnswerAsThePerson``'s inputs, without its instructions."""
        profile: Profile | None = inputs.get("profile")
        if profile is None:
            return [{"role": "user", "content": inputs["prompt"]}]
        return self._strategy.condition(profile, inputs["prompt"], self._max_words)

    def forward(self, prompt: str, profile: Profile) -> dspy.Prediction:
        """Answer one prompt.

        ``dspy.streamify`` streams the answer if ``best_of`` is 1. An answer that repeats one of the person's texts is
        written again after it was streamed; the prediction has the final one.

        Args:
            prompt: what to answer.
            profile: for whom.

        Returns:
            ``answer`` (text), ``drafts`` (all of them) and ``strategy`` (its name).
        """
        return run_steps(self._steps(prompt, profile))

    def _steps(self, prompt: str, profile: Profile) -> Steps[dspy.Prediction]:
        lm = resolve_model(self.answer)
        steps = [_or_error(self._draft(prompt, profile, number)) for number in range(self._best_of)]
        found: list[str | ModelOutputError] = yield Parallel(steps, concurrency_of(lm))
        drafts = [draft for draft in found if isinstance(draft, str)]
        if not drafts:
            raise next(error for error in found if not isinstance(error, str))
        best = 0
        if len(drafts) > 1:
            best = yield Compute(lambda: self._choose(drafts, prompt, profile, lm))
        return dspy.Prediction(answer=drafts[best], drafts=drafts, strategy=self._strategy.name)

    def _choose(self, drafts: Sequence[str], prompt: str, profile: Profile, lm: Any) -> int:
        # A scorer that a reward makes needless is not loaded.
        scorer = None if profile.reward else self._scorer.resolve(lm)
        return choose_draft(drafts, prompt, profile, scorer, encoder=self._encoder)

    def _draft(self, prompt: str, profile: Profile, number: int) -> Steps[str]:
        """Write a draft, greedily for number 0; one that repeats an example is redrawn, at last without examples."""
        shown = [example.text for example in profile.examples]
        for attempt in range(_TRIES):
            draft = yield from self._write(prompt, profile, number + attempt * self._best_of)
            if longest_copied_run(draft, shown) <= MAX_COPIED:
                return draft
        return (yield from self._write(prompt, profile.model_copy(update={"examples": []}), number))

    def _write(self, prompt: str, profile: Profile, number: int) -> Steps[str]:
        config = writing_settings(resolve_model(self.answer), self._max_tokens)
        if number:
            config |= {"temperature": _DRAFT_TEMPERATURE, "seed": number}
        # Stream only a draft that is the first and only one.
        shown = open_answer_stream() if self._best_of == 1 and not number else None
        settings = {"adapter": PlainAdapter(self.turns), "send_stream": shown}
        said = yield Call(self.answer, {"prompt": prompt, "profile": profile, "config": config}, settings)
        return str(said.answer)


def _or_error(draft: Steps[str]) -> Steps[str | ModelOutputError]:
    """A draft, or the error of an empty one: one empty draft among several ends nothing."""
    try:
        return (yield from draft)
    except ModelOutputError as error:
        return error


def writing_settings(model: Any, max_tokens: int = MAX_TOKENS) -> dict[str, Any]:
    """Settings to write a draft with: greedy, of bounded length, and the model's own ``writing`` settings."""
    return {"max_tokens": max_tokens, "temperature": 0.0, **getattr(model, "writing", {})}


def choose_draft(
    drafts: Sequence[str],
    prompt: str,
    profile: Profile,
    scorer: Scorer | None = None,
    *,
    encoder: Encoder | None = None,
) -> int:
    """Choose the draft that the person would choose, by their reward, else by tested hypotheses.

    Args:
        drafts: at least one.
        prompt: what they answer.
        profile: the person.
        scorer: scores the kept hypotheses of each draft where there is no reward; with neither, the first is chosen.
        encoder: the one that the reward was learned with.

    Returns:
        The index of the best draft.

    Raises:
        InputError: the reward was learned with another encoder.
    """
    if profile.reward is not None:
        return int(Reward.from_profile(profile.reward, encoder=encoder).score(prompt, drafts).argmax())
    if scorer is None:
        return 0
    known = narrow(profile, prompt)
    scores = [_score_hypotheses(draft, known, scorer) for draft in drafts]
    return scores.index(max(scores))


def _score_hypotheses(draft: str, profile: Profile, scorer: Scorer) -> float:
    tested = [h for h in profile.hypotheses if h.kind == "statement" and h.opposite and h.source != "measured"]
    if not tested:
        return 0.0
    question = f"{fence(excerpt(draft, _JUDGED_WORDS), 'text')}\n\nHow does this person write?"
    context: list[Message] = [{"role": "user", "content": question}]
    scores = scorer.score(context, [pole for h in tested for pole in (h.statement, h.opposite)])
    return fmean(h.weight * (scores[2 * i].logprob - scores[2 * i + 1].logprob) for i, h in enumerate(tested))


MANNERS = (
    "Answer in a few plain words, and stop.",
    "Answer warmly and personally, as to a friend.",
    "Answer soberly, thoroughly and in order, as an expert would.",
    "Answer playfully, with an image or a joke.",
    "Answer by asking back what matters before anything is advised.",
)
"""How candidate answers are written, the most telling ones first."""

_TOKENS = 200


class AnswerInManner(dspy.Signature):
    """Answer the prompt in the manner that is asked for. Write the answer and nothing about its manner."""

    prompt: str = dspy.InputField(desc="what to answer")
    manner: str = dspy.InputField(desc="how to answer it")
    answer: str = dspy.OutputField(desc="the answer")


def _render(inputs: Mapping[str, Any]) -> list[Message]:
    return [{"role": "system", "content": inputs["manner"]}, {"role": "user", "content": inputs["prompt"]}]


class DrawAnswers(Program):
    """Draws candidate answers.

    Args:
        lm: the model; DSPy's configured one if None.
        manners: how to answer, one manner for each candidate.
        max_tokens: the length limit of an answer.
    """

    def __init__(
        self, lm: dspy.LM | None = None, *, manners: Sequence[str] = MANNERS[:3], max_tokens: int = _TOKENS
    ) -> None:
        super().__init__()
        self.answer = dspy.Predict(AnswerInManner)
        self._lm = lm
        self._manners = tuple(manners)
        self._max_tokens = max_tokens

    def forward(self, prompts: Sequence[str], progress: Progress | None = None) -> dspy.Prediction:
        """Draw.

        Args:
            prompts: what to answer.
            progress: called after each answer.

        Returns:
            ``answers``: by prompt, its distinct candidates; an answer that can't be used is left out.
        """
        return run_steps(self._steps(prompts, progress))

    def _steps(self, prompts: Sequence[str], progress: Progress | None = None) -> Steps[dspy.Prediction]:
        wanted = [(prompt, manner) for prompt in dict.fromkeys(prompts) for manner in self._manners]

        def done(count: int) -> None:
            if progress is not None:
                progress("answers", count, len(wanted))

        model = resolve_model(self.answer, self._lm)
        written = yield Parallel([self._write(*each, model) for each in wanted], concurrency_of(model), done)
        answers: dict[str, list[str]] = {}
        for (prompt, _), text in zip(wanted, written, strict=True):
            known = answers.setdefault(prompt, [])
            if text and text not in known:
                known.append(text)
        return dspy.Prediction(answers=answers)

    def _write(self, prompt: str, manner: str, model: Any) -> Steps[str]:
        settings = {"adapter": PlainAdapter(_render), "send_stream": None, "lm": model}
        config = writing_settings(model, self._max_tokens)
        try:
            said = yield Call(self.answer, {"prompt": prompt, "manner": manner, "config": config}, settings)
        except ModelOutputError:
            return ""
        return str(said.answer).strip()
