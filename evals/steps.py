"""The steps of the loop as programs that can be optimized: what each is asked, and how its answer is judged.

An example holds a person's records and, kept from the program, something more of theirs; the metric says whether what
the program made of the one holds for the other. The feedback is in words, as GEPA's reflection wants it. This file
searches nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from hyperalign.contrast import Contrast, ShippedContrast, reference_records
from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Profile
from hyperalign.programs.brief_json import BriefJSONAdapter
from hyperalign.programs.extract import ExtractPreferences
from hyperalign.programs.generate import Generate
from hyperalign.programs.infer import InferHypotheses
from hyperalign.programs.plain import PlainAdapter
from hyperalign.programs.score import fill
from hyperalign.programs.strategies import strategy
from hyperalign.programs.testing.likelihood import LikelihoodTest
from hyperalign.records import Pair, Record, Sample, only_choices
from hyperalign.scores import Scorer
from hyperalign.style.measured import measured_style

from .cases import Case
from .metrics.authorship import Authorship
from .optimizing import CaseMetric, trainset

__all__ = ["STEPS", "StatementMetric", "Step", "step_named"]

_OTHERS_SHOWN = 3
_EXAMPLES_SHOWN = 2
_QUOTED = 200


@dataclass(frozen=True)
class Step:
    """A step of the loop that can be optimized.

    Attributes:
        name: of the part of ``Personalizer`` that it is.
        build: makes the program as it is.
        examples: of cases; other people come from the contrast.
        metric: of a scorer, which some steps need, and of texts by user.
        adapter: puts the question into words, to show what is sent.
        shown: examples of people who may stand in prompts: the example people that ship.
        scored: whether the metric wants a scorer.
    """

    name: str
    build: Callable[[], dspy.Module]
    examples: Callable[[Sequence[Case], Contrast], list[dspy.Example]]
    metric: Callable[[Scorer | None, Mapping[str, Sequence[str]]], Any]
    adapter: Callable[[], dspy.Adapter]
    shown: Callable[[], list[dspy.Example]]
    scored: bool = True

    def sent(self, program: dspy.Module) -> dict[str, tuple[dict[str, str], ...]]:
        """What each predictor sends, with its inputs as their names in braces."""
        return {name: self._sent(predictor) for name, predictor in program.named_predictors()}

    def _sent(self, predictor: Any) -> tuple[dict[str, str], ...]:
        signature = predictor.signature
        if "messages" in signature.input_fields:
            told = {"role": "system", "content": "{what the strategy says of the person}"}
            inputs: dict[str, Any] = {"messages": [told, {"role": "user", "content": "{prompt}"}]}
        else:
            inputs = {name: f"{{{name}}}" for name in signature.input_fields}
        turns: list[dict[str, Any]] = self.adapter().format(signature, predictor.demos, inputs)
        return tuple({"role": str(turn["role"]), "content": str(turn["content"])} for turn in turns)


class StatementMetric:
    """How probable a proposed statement makes what a person did and the program did not see.

    The statement is read as the test by likelihood reads it: beside the held-out answers of a choice, or beside the
    person's text and somebody else's. The score is that probability; a program that states nothing has guessed: 0.5.

    Args:
        scorer: gives log-probabilities of text.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._test = LikelihoodTest(scorer)

    def __call__(self, gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        """Judge what was proposed; of several statements their mean.

        Args:
            gold: with ``held``, a record that the program was not shown, and ``against``, other people's; with none
                the record is a choice and says both.
            pred: with ``hypotheses``.
            trace: given where DSPy collects demonstrations.
            name: of the predictor that feedback is for.
            steps: its trace.
        """
        del steps
        stated: list[Hypothesis] = list(getattr(pred, "hypotheses", ()))
        if not stated:
            why = (
                "quoted words that stand in no text"
                if getattr(pred, "invented", 0)
                else "was not in the form asked for"
            )
            return self._judged(0.5, f"No statement: the answer {why}.", trace, name)
        held, against = gold.held, list(gold.against)
        cells = fill(self._test, stated, [held, *against], made_from={}).values
        nats = cells[0] - cells[1:].mean(axis=0) if against else cells[0]
        shares = [1 / (1 + math.exp(-min(30.0, max(-30.0, float(value))))) for value in nats]
        told = [_told(h, float(value), held) for h, value in zip(stated, nats, strict=True)]
        return self._judged(sum(shares) / len(shares), " ".join(told), trace, name)

    @staticmethod
    def _judged(score: float, feedback: str, trace: Any, name: Any) -> Any:
        if trace is not None and name is None:
            return score > 0.5
        return dspy.Prediction(score=score, feedback=feedback)


def _told(hypothesis: Hypothesis, nats: float, held: Record) -> str:
    side = "for" if nats > 0 else "against"
    said = f"The statement {hypothesis.statement!r} speaks {side} what the person did next, by {abs(nats):.1f} nats."
    if isinstance(held, Pair):
        return f"{said} They took: {held.chosen[:_QUOTED]!r}. They turned down: {held.rejected[:_QUOTED]!r}."
    return f"{said} They wrote: {held.text[:_QUOTED]!r}." if isinstance(held, Sample) else said


def _choices(cases: Sequence[Case], others: Contrast) -> list[dspy.Example]:
    del others
    found = [case for case in cases if case.chosen and only_choices(case.records)]
    _some(found, "choices")
    return [
        dspy.Example(
            records=list(case.records),
            held=Pair(user=case.user, prompt=case.prompt, chosen=case.chosen, rejected=case.rejected),
            against=[],
            prompt=case.prompt,
            chosen=case.chosen,
            rejected=case.rejected,
            user=case.user,
            cluster=case.cluster,
        ).with_inputs("records")
        for case in found
    ]


def _texts(cases: Sequence[Case], others: Contrast) -> list[dspy.Example]:
    found = [case for case in cases if case.reference and not only_choices(case.records)]
    _some(found, "writing")
    examples = []
    for case in found:
        strangers = reference_records(others, case.user, case.records, 2 * _OTHERS_SHOWN)
        examples.append(
            dspy.Example(
                records=list(case.records),
                others=strangers[:_OTHERS_SHOWN],
                held=Sample(user=case.user, prompt=case.prompt, text=case.reference),
                against=strangers[_OTHERS_SHOWN:],
                prompt=case.prompt,
                reference=case.reference,
                user=case.user,
                cluster=case.cluster,
            ).with_inputs("records", "others")
        )
    return examples


def _answers(cases: Sequence[Case], others: Contrast) -> list[dspy.Example]:
    del others
    found = [case for case in cases if case.reference]
    _some(found, "writing")
    profiles = [_quick_profile(case) for case in found]
    return [
        example.copy(profile=profile, cluster=case.cluster).with_inputs("prompt", "profile")
        for example, profile, case in zip(trainset(found), profiles, found, strict=True)
    ]


def _example_choices() -> list[dspy.Example]:
    """The example people's own choices, the last of each held back."""
    found = []
    for theirs in _by_user(record for record in ShippedContrast().records("") if isinstance(record, Pair)):
        *before, held = theirs
        found.append(
            dspy.Example(records=before, held=held, against=[], user=held.user, cluster=held.user).with_inputs(
                "records"
            )
        )
    return found


def _example_texts() -> list[dspy.Example]:
    """The example people's own texts, the last of each held back."""
    people = _by_user(record for record in ShippedContrast().records("") if isinstance(record, Sample))
    found = []
    for theirs in people:
        *before, held = theirs
        others = [text for each in people if each is not theirs for text in each]
        found.append(
            dspy.Example(
                records=before,
                others=others[:_OTHERS_SHOWN],
                held=held,
                against=others[_OTHERS_SHOWN : 2 * _OTHERS_SHOWN],
                user=held.user,
                cluster=held.user,
            ).with_inputs("records", "others")
        )
    return found


def _by_user(records: Iterable[Record]) -> list[list[Any]]:
    people: dict[str, list[Any]] = {}
    for record in records:
        people.setdefault(record.user, []).append(record)
    return [theirs for theirs in people.values() if len(theirs) > 1]


def _quick_profile(case: Case) -> Profile:
    """What can be said of somebody without asking a model: measured style, and texts to show."""
    written = [record for record in case.records if isinstance(record, Sample)]
    return Profile(user=case.user, style=measured_style(written), examples=written[:_EXAMPLES_SHOWN])


def _some(found: Sequence[Case], kind: str) -> None:
    if not found:
        raise InputError(
            f"This task has no cases of {kind}.", remedy="'hyperalign eval list' says what tasks there are."
        )


def _statements(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> StatementMetric:
    del texts
    if scorer is None:
        raise InputError(
            "What is proposed is judged by log-probabilities, and there is no scorer.",
            remedy="Give --scorer local:NAME or vllm:ADDRESS.",
        )
    return StatementMetric(scorer)


def _authors(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> CaseMetric:
    del scorer
    return CaseMetric(Authorship(texts))


STEPS: Mapping[str, Step] = {
    "extract": Step("extract", ExtractPreferences, _choices, _statements, BriefJSONAdapter, _example_choices),
    "infer": Step("infer", InferHypotheses, _texts, _statements, BriefJSONAdapter, _example_texts),
    "generate": Step(
        "generate",
        lambda: Generate(strategy("verified"), scorer=None),
        _answers,
        _authors,
        PlainAdapter,
        list,
        scored=False,
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
