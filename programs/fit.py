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
        asked: questions that were put to the model, of which one call may hold many.
        undecided: those of them whose answer could not be used; they count for nothing.
    """

    profile: Profile
    candidates: list[Hypothesis]
    matrices: list[ScoreMatrix]
    unreadable: int = 0
    memory: Memory = field(default_factory=Memory)
    asked: int = 0
    undecided: int = 0


def together(texts: Fit, choices: Fit) -> Fit:
    """What somebody's texts and their choices say, as one.

    What either kept is kept. A dimension or a number of which both kept something is said once, as the choices have it:
    they show what the person wants to read. Style is measured in what they wrote, and their own texts are shown before
    answers that they chose.
    """
    written, chosen = texts.profile, choices.profile
    again = _said_again(written.hypotheses, chosen.hypotheses)
    kept = _by_id([*(each for each in written.hypotheses if each.id not in again), *chosen.hypotheses])
    unshown = _unshown(choices) if written.examples else ()
    dropped = _by_id([*written.dropped, *again.values(), *chosen.dropped, *unshown])
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
                    "choices": origin.choices + chosen.provenance.choices,
                    "null_alpha": chosen.provenance.null_alpha,
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
        texts.asked + choices.asked,
        texts.undecided + choices.undecided,
    )


def _said_again(written: Iterable[Hypothesis], chosen: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    """What numbers say of texts where they say something of choices; by id, with the reason."""
    said = {_feature(each): each.statement for each in chosen if each.source == "measured"}
    return {
        each.id: drop(each, f"their choices say: '{said[_feature(each)]}'")
        for each in written
        if each.source == "measured" and _feature(each) in said
    }


def _feature(measured: Hypothesis) -> str:
    # What an update turned around is of the same feature.
    return measured.id.partition("-")[2].removesuffix("-turned")


def _unshown(choices: Fit) -> Iterable[Hypothesis]:
    examples = {f"{EXAMPLE_ID}{example.id}" for example in choices.profile.examples}
    return (drop(each, "the person's own texts are shown") for each in choices.candidates if each.id in examples)


def _by_id(hypotheses: Iterable[Hypothesis]) -> dict[str, Hypothesis]:
    return {hypothesis.id: hypothesis for hypothesis in hypotheses}
