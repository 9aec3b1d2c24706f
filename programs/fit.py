"""What fitting somebody found, and how what they wrote and what they chose make one profile. It runs no model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hyperalign.profile import EXAMPLE_ID, Hypothesis, Profile
from hyperalign.scores import ScoreMatrix

from .memory import Memory
from .select import drop

__all__ = ["Fit", "together"]


@dataclass(frozen=True)
class Fit:
    """What fitting found, and everything it rests on.

    Attributes:
        profile: the tested profile.
        candidates: all hypotheses that were tried.
        matrices: one for each test; where there are texts and choices, those of the texts first.
        unreadable: answers to the question for hypotheses that were not in the form asked for.
        memory: what is needed to add records later.
    """

    profile: Profile
    candidates: list[Hypothesis]
    matrices: list[ScoreMatrix]
    unreadable: int = 0
    memory: Memory = field(default_factory=Memory)


def together(texts: Fit, choices: Fit) -> Fit:
    """What somebody's texts and their choices say, as one.

    What either kept is kept. A dimension that both kept is said once, as the choices have it: they show what the person
    wants to read. Style is measured in what they wrote, and their own texts are shown before answers that they chose.
    """
    written, chosen = texts.profile, choices.profile
    kept = _by_id([*written.hypotheses, *chosen.hypotheses])
    dropped = _by_id([*written.dropped, *chosen.dropped, *(_unshown(choices) if written.examples else ())])
    origin = written.provenance
    profile = written.model_copy(
        update={
            "hypotheses": list(kept.values()),
            "dropped": [hypothesis for name, hypothesis in dropped.items() if name not in kept],
            "examples": written.examples or chosen.examples,
            "direction": chosen.direction,
            "poles": {**written.poles, **chosen.poles},
            "provenance": origin.model_copy(
                update={
                    "records": [*origin.records, *chosen.provenance.records],
                    "invented_quotes": origin.invented_quotes + chosen.provenance.invented_quotes,
                }
            ),
        }
    )
    return Fit(
        profile,
        list(_by_id([*texts.candidates, *choices.candidates]).values()),
        [*texts.matrices, *choices.matrices],
        texts.unreadable + choices.unreadable,
        replace(texts.memory, parts={**texts.memory.parts, **choices.memory.parts}),
    )


def _unshown(choices: Fit) -> Iterable[Hypothesis]:
    examples = {f"{EXAMPLE_ID}{example.id}" for example in choices.profile.examples}
    return (drop(each, "the person's own texts are shown") for each in choices.candidates if each.id in examples)


def _by_id(hypotheses: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    return {hypothesis.id: hypothesis for hypothesis in hypotheses}
