"""Steps of the loop that can be optimized, with their examples and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from hyperalign.errors import InputError
from hyperalign.population import Population
from hyperalign.profile import Profile
from hyperalign.programs.adapters import BriefJSONAdapter, PlainAdapter
from hyperalign.programs.deliberate import Weigh, make_renderer
from hyperalign.programs.extract import ExtractPreferences
from hyperalign.programs.generate import Generate
from hyperalign.programs.hypothesis_tests.choice import WhichFits, render_which_text
from hyperalign.programs.infer import InferHypotheses
from hyperalign.scores import Message, Scorer

from ..cases import Case
from ..metrics.authorship import Authorship
from .metrics import (
    CaseMetric,
    answer_examples,
    choice_examples,
    fit_examples,
    fit_metric,
    harm_examples,
    harm_metric,
    shown_choices,
    shown_texts,
    statement_metric,
    text_examples,
)

__all__ = ["STEPS", "Step", "step_named"]


@dataclass(frozen=True)
class Step:
    """A step of the loop that can be optimized.

    Attributes:
        name: of the attribute of ``Personalizer`` or ``Deliberate`` that it is.
        build: makes the program.
        examples: made from cases and a reference population.
        metric: made from a scorer (which some steps need) and texts by user.
        adapter: that renders a program's predictor of a name.
        shown: examples that prompts may quote: those of the example people that ship.
        scored: whether the metric needs a scorer.
    """

    name: str
    build: Callable[[], dspy.Module]
    examples: Callable[[Sequence[Case], Population], list[dspy.Example]]
    metric: Callable[[Scorer | None, Mapping[str, Sequence[str]]], Any]
    adapter: Callable[[Any, str], dspy.Adapter]
    shown: Callable[[], list[dspy.Example]] = list
    scored: bool = True

    def sent(self, program: dspy.Module) -> dict[str, tuple[dict[str, str], ...]]:
        """The messages of each predictor, with the names of its inputs in braces."""
        return {name: self._sent(program, name, predictor) for name, predictor in program.named_predictors()}

    def _sent(self, program: dspy.Module, name: str, predictor: Any) -> tuple[dict[str, str], ...]:
        signature = predictor.signature
        inputs = {name: _named(name, field.annotation) for name, field in signature.input_fields.items()}
        sent: list[dict[str, Any]] = self.adapter(program, name).format(signature, predictor.demos, inputs)
        return tuple({"role": str(turn["role"]), "content": str(turn["content"])} for turn in sent)


def _named(name: str, kind: Any) -> Any:
    """An input's name in braces, as its placeholder."""
    return [f"{{{name}}}"] if kind == list[str] else f"{{{name}}}"


def _answer_adapter(program: Any) -> dspy.Adapter:
    def render(inputs: Mapping[str, Any]) -> Sequence[Message]:
        if inputs.get("profile") != _named("profile", Profile):
            turns: Sequence[Message] = program.turns(inputs)
            return turns
        return [
            {"role": "system", "content": "{what the strategy says of the person}"},
            {"role": "user", "content": inputs["prompt"]},
        ]

    return PlainAdapter(render)


STEPS: Mapping[str, Step] = {
    step.name: step
    for step in (
        Step(
            "extract",
            ExtractPreferences,
            choice_examples,
            lambda scorer, _: statement_metric(scorer),
            lambda *_: BriefJSONAdapter(),
            shown_choices,
        ),
        Step(
            "infer",
            InferHypotheses,
            text_examples,
            lambda scorer, _: statement_metric(scorer),
            lambda *_: BriefJSONAdapter(),
            shown_texts,
        ),
        Step(
            "generate",
            lambda: Generate("verified", scorer=None),
            answer_examples,
            lambda _, texts: CaseMetric(Authorship(texts)),
            lambda program, _: _answer_adapter(program),
            scored=False,
        ),
        Step(
            "choice",
            WhichFits,
            fit_examples,
            lambda *_: fit_metric,
            lambda *_: PlainAdapter(render_which_text),
            scored=False,
        ),
        Step(
            "weigh",
            Weigh,
            harm_examples,
            lambda *_: harm_metric,
            lambda _, name: PlainAdapter(make_renderer(name)),
            scored=False,
        ),
    )
}


def step_named(name: str) -> Step:
    """The step of a name.

    Raises:
        InputError: there is none.
    """
    if name not in STEPS:
        raise InputError(f"There is no step {name!r} to optimize.", remedy=f"Choose one of: {', '.join(STEPS)}.")
    return STEPS[name]
