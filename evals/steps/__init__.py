"""The steps of the loop as programs that can be optimized: what each is asked, and how its answer is judged.

An example holds what a step is asked and, kept from it, what is known to be right: something more of the person's, or
an answer. The feedback is in words, as GEPA's reflection wants it. Nothing here searches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from hyperalign.errors import InputError
from hyperalign.population import Population
from hyperalign.profile import Profile
from hyperalign.programs.adapters import BriefJSONAdapter, PlainAdapter
from hyperalign.programs.deliberate import Weigh, asks_of
from hyperalign.programs.extract import ExtractPreferences
from hyperalign.programs.generate import Generate
from hyperalign.programs.hypothesis_tests.choice import WhichFits, render_which_text
from hyperalign.programs.infer import InferHypotheses
from hyperalign.scores import Message, Scorer

from ..cases import Case
from .metrics import (
    answers,
    authors,
    choices,
    example_choices,
    example_texts,
    fits,
    fitting,
    harm,
    messages,
    statements,
    texts,
)

__all__ = ["STEPS", "Step", "step_named"]


@dataclass(frozen=True)
class Step:
    """A step of the loop that can be optimized.

    Attributes:
        name: of the part of ``Personalizer`` or ``Deliberate`` that it is.
        build: makes the program as it is.
        examples: of cases; other people come from the population.
        metric: of a scorer, which some steps need, and of texts by user.
        adapter: of a program and the name of one of its predictors: puts its question into words, to show what is sent.
        shown: examples of people who may stand in prompts: the example people that ship.
        scored: whether the metric wants a scorer.
    """

    name: str
    build: Callable[[], dspy.Module]
    examples: Callable[[Sequence[Case], Population], list[dspy.Example]]
    metric: Callable[[Scorer | None, Mapping[str, Sequence[str]]], Any]
    adapter: Callable[[Any, str], dspy.Adapter]
    shown: Callable[[], list[dspy.Example]]
    scored: bool = True

    def sent(self, program: dspy.Module) -> dict[str, tuple[dict[str, str], ...]]:
        """What each predictor sends, with its inputs as their names in braces."""
        return {name: self._sent(program, name, predictor) for name, predictor in program.named_predictors()}

    def _sent(self, program: dspy.Module, name: str, predictor: Any) -> tuple[dict[str, str], ...]:
        signature = predictor.signature
        inputs = {name: _named(name, field.annotation) for name, field in signature.input_fields.items()}
        sent: list[dict[str, Any]] = self.adapter(program, name).format(signature, predictor.demos, inputs)
        return tuple({"role": str(turn["role"]), "content": str(turn["content"])} for turn in sent)


def _named(name: str, kind: Any) -> Any:
    """A name in braces in the place of an input."""
    return [f"{{{name}}}"] if kind == list[str] else f"{{{name}}}"


def _json(program: Any, name: str) -> dspy.Adapter:
    del program, name
    return BriefJSONAdapter()


def _answering(program: Any, name: str) -> dspy.Adapter:
    del name

    def render(inputs: Mapping[str, Any]) -> Sequence[Message]:
        if inputs.get("profile") != _named("profile", Profile):
            turns: Sequence[Message] = program.turns(inputs)
            return turns
        return [
            {"role": "system", "content": "{what the strategy says of the person}"},
            {"role": "user", "content": inputs["prompt"]},
        ]

    return PlainAdapter(render)


def _fitting(program: Any, name: str) -> dspy.Adapter:
    del program, name
    return PlainAdapter(render_which_text)


def _weighing(program: Any, name: str) -> dspy.Adapter:
    del program
    return PlainAdapter(asks_of(name))


STEPS: Mapping[str, Step] = {
    "extract": Step("extract", ExtractPreferences, choices, statements, _json, example_choices),
    "infer": Step("infer", InferHypotheses, texts, statements, _json, example_texts),
    "generate": Step(
        "generate", lambda: Generate("verified", scorer=None), answers, authors, _answering, list, scored=False
    ),
    "choice": Step("choice", WhichFits, fitting, fits, _fitting, list, scored=False),
    "weigh": Step("weigh", Weigh, messages, harm, _weighing, list, scored=False),
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
