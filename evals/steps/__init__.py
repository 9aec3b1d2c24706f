"""The steps of the loop as programs that can be optimized: what each is asked, and how its answer is judged.

An example holds what a step is asked and, kept from it, what is known to be right: something more of the person's, or
an answer. The feedback is in words, as GEPA's reflection wants it. Nothing here searches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from hyperalign.contrast import Contrast
from hyperalign.errors import InputError
from hyperalign.programs.brief_json import BriefJSONAdapter
from hyperalign.programs.extract import ExtractPreferences
from hyperalign.programs.generate import Generate
from hyperalign.programs.infer import InferHypotheses
from hyperalign.programs.plain import PlainAdapter
from hyperalign.programs.strategies import strategy
from hyperalign.programs.testing.choice import WhichFits, which_text
from hyperalign.programs.weighing import Weigh
from hyperalign.scores import Scorer

from ..cases import Case
from .answers import answers, authors
from .questions import fits, fitting, harm, messages
from .statements import choices, example_choices, example_texts, statements, texts

__all__ = ["STEPS", "Step", "step_named"]


@dataclass(frozen=True)
class Step:
    """A step of the loop that can be optimized.

    Attributes:
        name: of the part of ``Personalizer`` or ``Deliberate`` that it is.
        build: makes the program as it is.
        examples: of cases; other people come from the contrast.
        metric: of a scorer, which some steps need, and of texts by user.
        adapter: puts the question into words, to show what is sent.
        shown: examples of people who may stand in prompts: the example people that ship.
        scored: whether the metric wants a scorer.
        told: where it is asked with a conversation, what stands before the question; to show what is sent.
        asked: the question itself.
    """

    name: str
    build: Callable[[], dspy.Module]
    examples: Callable[[Sequence[Case], Contrast], list[dspy.Example]]
    metric: Callable[[Scorer | None, Mapping[str, Sequence[str]]], Any]
    adapter: Callable[[], dspy.Adapter]
    shown: Callable[[], list[dspy.Example]]
    scored: bool = True
    told: str = ""
    asked: str = "{prompt}"

    def sent(self, program: dspy.Module) -> dict[str, tuple[dict[str, str], ...]]:
        """What each predictor sends, with its inputs as their names in braces."""
        return {name: self._sent(predictor) for name, predictor in program.named_predictors()}

    def _sent(self, predictor: Any) -> tuple[dict[str, str], ...]:
        signature = predictor.signature
        if "messages" in signature.input_fields:
            turns = (("system", self.told), ("user", self.asked))
            inputs: dict[str, Any] = {"messages": [{"role": role, "content": text} for role, text in turns]}
        else:
            inputs = {name: _named(name, field.annotation) for name, field in signature.input_fields.items()}
        sent: list[dict[str, Any]] = self.adapter().format(signature, predictor.demos, inputs)
        return tuple({"role": str(turn["role"]), "content": str(turn["content"])} for turn in sent)


def _named(name: str, kind: Any) -> Any:
    """A name in braces in the place of an input."""
    return [f"{{{name}}}"] if kind == list[str] else f"{{{name}}}"


STEPS: Mapping[str, Step] = {
    "extract": Step("extract", ExtractPreferences, choices, statements, BriefJSONAdapter, example_choices),
    "infer": Step("infer", InferHypotheses, texts, statements, BriefJSONAdapter, example_texts),
    "generate": Step(
        "generate",
        lambda: Generate(strategy("verified"), scorer=None),
        answers,
        authors,
        PlainAdapter,
        list,
        scored=False,
        told="{what the strategy says of the person}",
    ),
    "choice": Step("choice", WhichFits, fitting, fits, lambda: PlainAdapter(which_text), list, scored=False),
    "weigh": Step(
        "weigh", Weigh, messages, harm, PlainAdapter, list, scored=False, asked="{the message, and both answers}"
    ),
}
"""By name, as the command line has them."""


def step_named(name: str) -> Step:
    """A step by its name.

    Raises:
        InputError: there is none.
    """
    if name not in STEPS:
        raise InputError(f"There is no step {name!r} to optimize.", remedy=f"Choose one of: {', '.join(STEPS)}.")
    return STEPS[name]
