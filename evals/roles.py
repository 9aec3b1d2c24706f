"""What arms are called, and which part they play: a strategy, a control to beat, or what shows how far there is to go.

This file makes no arm and scores none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hyperalign.errors import InputError

from .metrics.votes import FEATURES

__all__ = [
    "BEATEN",
    "CONTROLS",
    "DELIBERATE",
    "DELIBERATE_HOSTILE",
    "GOLD",
    "HOSTILE",
    "INVERTED",
    "NONE",
    "OWN_TEXT",
    "VOTES",
    "WRONG_USER",
    "Role",
    "controls_without",
    "curve_point",
    "main_of",
    "role_of",
    "vote_arm",
]

Role = Literal["strategy", "control", "ceiling"]

NONE, GOLD, WRONG_USER, INVERTED, VOTES = "none", "gold", "wrong-user", "inverted", "votes"
OWN_TEXT = "own-text"
"""What the person really wrote."""
DELIBERATE, HOSTILE = "deliberate", "hostile"
"""Ways of meeting a request: after deliberation, and under a profile that asks for harm."""
DELIBERATE_HOSTILE = "deliberate-hostile"
CONTROLS = (NONE, WRONG_USER, INVERTED, VOTES, GOLD)
"""What can be switched off by name."""


def vote_arm(feature: str) -> str:
    """The name of the arm that votes by a feature."""
    return f"vote-{feature}"


BEATEN = (NONE, WRONG_USER, INVERTED, *map(vote_arm, FEATURES))
"""Controls that a strategy must beat."""
_CEILINGS = (GOLD, OWN_TEXT)
_ASSAULTS = (HOSTILE, DELIBERATE_HOSTILE)


def role_of(arm: str) -> Role:
    """The part that an arm plays."""
    if arm in _CEILINGS:
        return "ceiling"
    return "control" if arm in BEATEN or arm in _ASSAULTS else "strategy"


def main_of(strategies: Sequence[str]) -> str | None:
    """The strategy that controls are made under: ``verified`` where it is there, else the last one."""
    return "verified" if "verified" in strategies else next(reversed(strategies), None)


def controls_without(off: Sequence[str]) -> list[str]:
    """All controls but some.

    Raises:
        InputError: one of them is no control.
    """
    unknown = sorted(set(off) - set(CONTROLS))
    if unknown:
        raise InputError(f"There is no control {unknown[0]!r}.", remedy=f"Those that there are: {', '.join(CONTROLS)}.")
    return [control for control in CONTROLS if control not in off]


def curve_point(name: str, records: int) -> str:
    """The name of a strategy's arm with so many records."""
    return f"{name}@{records}"
