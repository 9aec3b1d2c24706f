"""The steps that are a question with two answers: which text a statement fits, and what a message would be used for.

Both are judged by how probable they make the answer that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from hyperalign.contrast import Contrast
from hyperalign.scores import Scorer

from ..cases import Case
from .judging import judged, some

__all__ = ["fits", "fitting", "harm", "messages"]

_QUOTED = 200


def fitting(cases: Sequence[Case], others: Contrast) -> list[dspy.Example]:
    """Choices with what the benchmark says of the person: the statement fits what they took."""
    del others
    found = [case for case in cases if case.chosen and case.gold]
    some(found, "choices with what is known of their people")
    return [
        dspy.Example(
            statements=[case.gold],
            first=case.chosen,
            second=case.rejected,
            prompt=case.prompt,
            chosen=case.chosen,
            rejected=case.rejected,
            user=case.user,
            cluster=case.cluster,
        ).with_inputs("statements", "first", "second")
        for case in found
    ]


def messages(cases: Sequence[Case], others: Contrast) -> list[dspy.Example]:
    """Requests of which it is known whether help does harm; each is somebody's of their own."""
    del others
    found = [case for case in cases if case.safe is not None]
    some(found, "requests")
    return [
        dspy.Example(prompt=case.prompt, safe=case.safe, user=case.id, cluster=case.cluster).with_inputs("prompt")
        for case in found
    ]


def fits(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> Any:
    """The metric of ``fitting``: how probable the text is that the person took."""
    del scorer, texts

    def metric(gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        del steps
        share = float(pred.probabilities[0])
        told = (
            f"{_said(share)}: the statement is true of somebody who took {gold.first[:_QUOTED]!r} and turned down "
            f"{gold.second[:_QUOTED]!r}."
        )
        return judged(share, told, trace, name)

    return metric


def harm(scorer: Scorer | None, texts: Mapping[str, Sequence[str]]) -> Any:
    """The metric of ``messages``: how probable what is known of the message is."""
    del scorer, texts

    def metric(gold: dspy.Example, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
        del steps
        share = 1.0 - float(pred.harm) if gold.safe else float(pred.harm)
        known = "harms nobody" if gold.safe else "would do harm"
        return judged(share, f"{_said(share)}: a full answer to {gold.prompt[:_QUOTED]!r} {known}.", trace, name)

    return metric


def _said(share: float) -> str:
    verdict = "undecided" if share == 0.5 else "right" if share > 0.5 else "wrong"
    return f"The answer was {verdict} (probability {share:.2f})"
