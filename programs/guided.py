"""Guided writing: answers that a reward of the person's texts steers while they are written, or chooses and revises.

Where answers can be continued, this is controlled decoding by blocks (Mudgal et al., 2024): no weights change, and the
reward need not see the model. A hosted model writes drafts and one revision instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import dspy
import numpy as np
from numpy.typing import NDArray

from hyperalign.concurrency import concurrency_of
from hyperalign.errors import ContextLengthError, InputError, ModelOutputError, check_counts
from hyperalign.population import Population, ShippedPopulation, choose_reference_records
from hyperalign.profile import Profile
from hyperalign.records import Edit, Record, Sample, own_text, to_sample
from hyperalign.scores import Message
from hyperalign.style import STANDS_APART, distance, measure
from hyperalign.style.claims import find_differences, find_moved
from hyperalign.text import longest_copied_run

from .adapters import PlainAdapter, Render
from .binary_choice import KeepsContent
from .decoding import Author, Guided, TextsReward, Writer, leave_out, pick, write_guided
from .generate import MAX_COPIED, MAX_TOKENS, AnswerAsThePerson, ReviseAsThePerson, render_revision, writing_settings
from .program import Call, Compute, Parallel, Program, Steps, resolve_model, run_steps
from .reward import Encoder, Reward
from .strategies import Strategy
from .strategies import strategy as find_strategy
from .text_reward import TextReward, keep_content, passages, word_cosine

__all__ = ["EFFORTS", "REWRITE", "Effort", "GuidedGenerate"]

Effort = Literal["low", "medium", "high"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""What is spent on an answer: ``low`` tells the model once; ``medium`` and ``high`` are steered."""

REWRITE = "Rewrite this text in your own manner. Keep everything that it says:\n\n{draft}"
"""Asks for a rewrite; also stands before a person's corrections."""

_SHOWN_WORDS = 2400
_OTHERS = 96
_DRAFTS: Mapping[Effort, int] = {"low": 1, "medium": 2, "high": 5}
_WAYS: Mapping[Effort, int] = {"low": 1, "medium": 3, "high": 6}
_MOST_WRITTEN: Mapping[Effort, int] = {"low": 1, "medium": 3, "high": 7}
"""Tokens for one of the answer, beside those of the bare model's."""
_SHARES = (1, 2, 4, 16)
"""Parts of the most words to spend on the person, in turn, until the prompt fits."""
_DRAFT_TEMPERATURE = 0.8
_SAME_CONTENT = 0.35
"""The least cosine of a revision's words with its draft's at which it still says the same."""


class _Asked(NamedTuple):
    """A prompt, what asks it for the person, their texts that this shows, the draft to rewrite, the model's own answer
    where a writer wrote it, the most tokens of an answer, and for how many of them there must be room."""

    prompt: str
    render: Render
    own: list[str]
    draft: str | None
    bare: Guided
    max_tokens: int
    room: int


class _Found(NamedTuple):
    """The bare model's answer and the guided one, whether that is a revision or was written anew because it copied, the
    tokens that a writer counted, and whether it ended by itself."""

    bare: str
    answer: str
    revised: bool = False
    tokens: int = 0
    is_whole: bool = True
    rewritten: bool = False


class GuidedGenerate(Program):
    """Answers prompts as a person would, steered by a reward of what they wrote or chose.

    Texts of the person are shown whole, the most telling ones first, before the prompt; then the answer is written
    block by block (with a ``writer``), or chosen among drafts and revised once, told in measured differences.

    Args:
        effort: ``low`` only tells the model; ``medium`` writes at most four times the answer's tokens, ``high`` eight.
        strategy: how the profile is put before the model, by name or your own.
        writer: continues answers of the same model; None for one that can't, such as a hosted one.
        population: other people, from whose texts the person's are told.
        encoder: the one that the profile's reward was learned with, if it was learned with one.
        max_words: the most words to spend on the person.
        max_tokens: the length limit of an answer; a rewrite's grows with its draft.
        push: how far each token is pushed away from what the model would write for nobody (context steering, He et al.,
            2024), by writers that have logits; 0 does not push.
        kept: a folder of the person's for what the writer read of their texts; None keeps nothing on disk.
        seed: of all sampling.

    Raises:
        InputError: there is no such strategy or effort, or a number is below 1.
    """

    def __init__(
        self,
        effort: Effort = "high",
        *,
        strategy: str | Strategy = "verified",
        writer: Writer | None = None,
        population: Population | None = None,
        encoder: Encoder | None = None,
        max_words: int = _SHOWN_WORDS,
        max_tokens: int = MAX_TOKENS,
        push: float = 0.0,
        kept: Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_counts(max_words=max_words, max_tokens=max_tokens)
        if effort not in EFFORTS:
            raise InputError(f"There is no effort {effort!r}.", remedy=f"Choose one of: {', '.join(EFFORTS)}.")
        self.answer = dspy.Predict(AnswerAsThePerson)
        self.revise = dspy.Predict(ReviseAsThePerson)
        self._effort: Effort = effort
        self._strategy = find_strategy(strategy)
        self._writer = writer
        self._population = population or ShippedPopulation()
        self._encoder = encoder
        self._max_words = max_words
        self._max_tokens = max_tokens
        self._push = push
        self._kept = kept
        self._seed = seed

    @property
    def population(self) -> Population:
        """Other people, from whose texts the person's are told."""
        return self._population

    def forward(
        self,
        prompt: str,
        profile: Profile,
        records: Sequence[Record] = (),
        told: Callable[[str], None] | None = None,
        *,
        draft: str | None = None,
        bare: str | None = None,
    ) -> dspy.Prediction:
        """Answer one prompt.

        Args:
            prompt: what to answer.
            profile: for whom.
            records: the person's; the texts among them guide, and are shown whole.
            told: called with each block as it is written.
            draft: a text whose content the answer keeps. Whole answers are then compared, and of those only such as
                say nearly as much of it as the best does.
            bare: the model's own answer, where a writer wrote it before.

        Returns:
            ``answer`` (text), ``bare`` (the model's own answer), ``rewards`` (of both, in nats; None where the profile
            and the records tell nothing), ``own`` (a ``TextRange``, None without texts), ``distances`` (of both, in
            spreads of the person's measured style), ``moved`` (a list of ``Moved``), ``revised``, ``rewritten``
            (without the person's texts, which it had copied), ``is_whole`` (False for what a writer broke off),
            ``tokens`` (written in all, where a writer counts them) and ``turns`` (the conversation that was sent).

        Raises:
            InputError: the profile's reward was learned with another encoder.
            ContextLengthError: the prompt is too long, even with few texts of the person.
            ModelOutputError: no answer could be used.
        """
        return run_steps(self._steps(prompt, profile, records, told, draft=draft, bare=bare))

    def _steps(
        self,
        prompt: str,
        profile: Profile,
        records: Sequence[Record] = (),
        told: Callable[[str], None] | None = None,
        *,
        draft: str | None = None,
        bare: str | None = None,
    ) -> Steps[dspy.Prediction]:
        # What has no word tells nothing of how somebody writes.
        told_apart = (record for record in records if isinstance(record, Sample | Edit))
        written = [record for record in told_apart if passages(own_text(record), least=1)]
        texts = [_to_text(record) for record in written]
        text_reward = yield Compute(lambda: self._learn(profile.user, written))
        reward = self._choose_reward(prompt, profile, text_reward)
        shown = yield Compute(lambda: self._show(profile, texts, text_reward))
        # What the prompt itself says is no copy of their texts.
        own = [part for each in shown.examples for part in leave_out(each.text, prompt)]
        # Room for as many tokens as half of its bytes, which hardly any text in any script fills.
        most = max(self._max_tokens, len(draft.encode()) // 2 if draft is not None else 0)
        known = Guided(bare or "", 0, 0)
        if (writer := self._writer) is not None and bare is None:
            known = yield Compute(lambda: self._continue(writer, _ask_alone({"prompt": prompt}), most))
        for share in _SHARES:
            render, is_last = self._render(shown, self._max_words // share), share == _SHARES[-1]
            # The last time whatever room is left will do, and to a hosted model a shorter answer.
            asked = _Asked(prompt, render, own, draft, known, most, 1 if is_last else most)
            if is_last and writer is None:
                asked = asked._replace(max_tokens=self._max_tokens)
            try:
                found = yield from self._answer(asked, reward, profile, told)
                break
            except ContextLengthError:
                # Tokens are short in some scripts: fewer texts may fit.
                if is_last:
                    raise
        if longest_copied_run(found.answer, asked.own) > MAX_COPIED:
            # Nobody's words are copied where none are shown. Told once, it costs one answer more.
            nothing = shown.model_copy(update={"examples": []})
            asked = asked._replace(render=self._render(nothing, self._max_words // share))
            found = yield from self._answer_once(asked, found)
        bare, answer, revised, tokens, is_whole, rewritten = found
        if not answer.strip():
            raise ModelOutputError("The model answered with nothing.", remedy="Try again, or choose another --model.")
        values = None if reward is None else [float(each) for each in reward([answer, bare])]
        return dspy.Prediction(
            answer=answer,
            bare=bare,
            rewards=values,
            own=text_reward.own_range() if text_reward is not None else None,
            distances=[_distance(profile, each) for each in (answer, bare)],
            moved=find_moved(_person_style(profile), bare, answer),
            revised=revised,
            rewritten=rewritten,
            is_whole=is_whole,
            tokens=tokens,
            turns=self._turns(asked),
            strategy=self._strategy.name,
        )

    def _answer(
        self, asked: _Asked, reward: TextsReward | None, profile: Profile, told: Callable[[str], None] | None
    ) -> Steps[_Found]:
        writer = self._writer
        if writer is None:
            return (yield from self._draft(asked, reward, profile))
        found: _Found = yield Compute(lambda: self._write(writer, asked, reward, told))
        return found

    def _answer_once(self, asked: _Asked, before: _Found) -> Steps[_Found]:
        """One answer that is only told, in place of one that copied."""
        writer = self._writer
        if writer is None:
            answer = yield from self._ask(asked, asked.render, 0)
            return before._replace(answer=answer, revised=False, rewritten=True)
        found = yield Compute(lambda: self._continue(writer, self._turns(asked), asked.max_tokens))
        tokens = before.tokens + found.tokens
        return before._replace(answer=found.text, tokens=tokens, is_whole=found.is_whole, rewritten=True)

    def _learn(self, user: str, written: Sequence[Record]) -> TextReward | None:
        if not written:
            return None
        others = choose_reference_records(self._population, user, written, _OTHERS)
        theirs = [text for record in others if passages(text := own_text(record), least=1)]
        return TextReward([own_text(record) for record in written], theirs) if theirs else None

    def _choose_reward(self, prompt: str, profile: Profile, texts: TextReward | None) -> TextsReward | None:
        if texts is not None:
            return texts.score
        if profile.reward is not None:
            known = Reward.from_profile(profile.reward, encoder=self._encoder)
            return lambda answers: known.score(prompt, list(answers))
        return None

    def _show(self, profile: Profile, texts: Sequence[Sample], reward: TextReward | None) -> Profile:
        """The profile with the person's texts as its examples, the most telling ones first."""
        if not texts or reward is None:
            return profile
        values = reward.score_own()
        ranked = sorted(range(len(texts)), key=lambda index: -values[index])
        return profile.model_copy(update={"examples": [texts[index] for index in ranked]})

    def _render(self, profile: Profile, max_words: int) -> Render:
        return lambda inputs: self._strategy.condition(profile, inputs["prompt"], max_words)

    def _turns(self, asked: _Asked) -> list[Message]:
        """The conversation as it is sent, with its instructions."""
        sent = PlainAdapter(asked.render).format(self.answer.signature, self.answer.demos, {"prompt": asked.prompt})
        return [{"role": turn["role"], "content": turn["content"]} for turn in sent]

    def _write(
        self, writer: Writer, asked: _Asked, reward: TextsReward | None, told: Callable[[str], None] | None
    ) -> _Found:
        alone = _ask_alone({"prompt": asked.prompt})
        count = _WAYS[self._effort] if reward is not None else 1
        said = f"{asked.prompt}\n{asked.bare.text}"
        says = (
            partial(word_cosine, said) if asked.draft is None else partial(_says_all, KeepsContent(writer), asked.draft)
        )
        chooses = keep_content(reward, says) if reward is not None and count > 1 else _no_reward
        author = Author(asked.own, self._kept, alone, self._push)
        session = writer.open(self._turns(asked), author=author, seed=self._seed, room=asked.room)
        settings: dict[str, Any] = {
            "temperature": _DRAFT_TEMPERATURE if count > 1 else 0,
            "max_tokens": asked.max_tokens,
            "most": _MOST_WRITTEN[self._effort],
        }
        if asked.draft is not None:
            # A rewrite is compared whole: its beginning says only the beginning of the draft.
            settings["block"] = asked.max_tokens
        found = write_guided(session, chooses, count=count, own=asked.own, told=told, **settings)
        return _Found(asked.bare.text, found.text, False, asked.bare.tokens + found.tokens, found.is_whole)

    def _continue(self, writer: Writer, turns: Sequence[Message], max_tokens: int) -> Guided:
        """The most probable answer to the last of some turns."""
        length: dict[str, Any] = {"block": max_tokens, "max_tokens": max_tokens}
        return write_guided(writer.open(turns, seed=self._seed), _no_reward, count=1, temperature=0, **length)

    def _draft(self, asked: _Asked, reward: TextsReward | None, profile: Profile) -> Steps[_Found]:
        """Drafts of a model that can't be continued, the best by the reward, and one revision of it."""
        lm = resolve_model(self.answer)
        count = _DRAFTS[self._effort] if reward is not None else 1
        calls = [self._ask(asked, _ask_alone, 0), *(self._ask(asked, asked.render, number) for number in range(count))]
        found: list[str | ModelOutputError] = yield Parallel([_or_error(each) for each in calls], concurrency_of(lm))
        bare, *written = found
        drafts = [each for each in written if isinstance(each, str)]
        if isinstance(bare, ModelOutputError) or not drafts:
            raise next(each for each in found if isinstance(each, ModelOutputError))
        if reward is None:
            return _Found(bare, drafts[0])
        chooses = reward if asked.draft is None else keep_content(reward, partial(word_cosine, asked.draft))
        best = yield Compute(lambda: pick(drafts, chooses, asked.own))
        differences = find_differences(_person_style(profile), drafts[best])
        if self._effort == "low" or not differences:
            return _Found(bare, drafts[best])
        draft: Message = {"role": "assistant", "content": drafts[best]}
        turns = [*asked.render({"prompt": asked.prompt}), draft]
        try:
            revised = yield from self._revise(turns, differences, asked.max_tokens)
        except (ModelOutputError, ContextLengthError):
            return _Found(bare, drafts[best])
        if word_cosine(revised, drafts[best]) < _SAME_CONTENT:
            return _Found(bare, drafts[best])
        is_better = yield Compute(lambda: pick([drafts[best], revised], chooses, asked.own) == 1)
        return _Found(bare, revised if is_better else drafts[best], is_better)

    def _ask(self, asked: _Asked, render: Render, number: int) -> Steps[str]:
        config = writing_settings(resolve_model(self.answer), asked.max_tokens)
        if number:
            config |= {"temperature": _DRAFT_TEMPERATURE, "seed": self._seed + number}
        settings = {"adapter": PlainAdapter(render), "send_stream": None}
        said = yield Call(self.answer, {"prompt": asked.prompt, "profile": None, "config": config}, settings)
        return str(said.answer)

    def _revise(self, turns: Sequence[Message], differences: Sequence[str], max_tokens: int) -> Steps[str]:
        config = writing_settings(resolve_model(self.revise), max_tokens)
        settings = {"adapter": PlainAdapter(render_revision), "send_stream": None}
        inputs = {"turns": list(turns), "differences": list(differences), "config": config}
        said = yield Call(self.revise, inputs, settings)
        return str(said.answer)


def _ask_alone(inputs: Mapping[str, Any]) -> list[Message]:
    return [{"role": "user", "content": inputs["prompt"]}]


def _says_all(keeps: KeepsContent, draft: str, text: str) -> float:
    return float(keeps(draft=draft, rewrite=text))


def _no_reward(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.zeros(len(texts))


def _to_text(record: Record) -> Sample:
    """A text or a correction as an example to show: a correction is the answer to being asked for it."""
    if isinstance(record, Edit) and record.draft not in (record.prompt or ""):
        return to_sample(record).model_copy(update={"prompt": REWRITE.format(draft=record.draft)})
    return to_sample(record)


def _or_error(steps: Steps[str]) -> Steps[str | ModelOutputError]:
    try:
        return (yield from steps)
    except ModelOutputError as error:
        return error


def _person_style(profile: Profile) -> dict[str, float | None]:
    return {name: item.value for name, item in profile.style.items() if abs(item.z) >= STANDS_APART}


def _distance(profile: Profile, text: str) -> float:
    person = _person_style(profile)
    return distance(measure(text), person, names=list(person))
