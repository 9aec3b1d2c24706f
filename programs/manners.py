"""Draws candidate answers to prompts in contrasting manners, so that choices between them say something of a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from hyperalign.concurrency import Progress, concurrency_of
from hyperalign.errors import ModelOutputError
from hyperalign.scores import Message

from .adapters import PlainAdapter
from .generate import writing_settings
from .program import Call, Parallel, Program, Steps, resolve_model, run_steps

__all__ = ["MANNERS", "AnswerInManner", "DrawAnswers"]

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
