"""Ways to put a profile before a model, one file each.

A strategy turns a profile and a prompt into the conversation to send. It says nothing of
how the profile came to be, and calls no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from hyperalign.errors import InputError
from hyperalign.profile import Profile
from hyperalign.scores import Message

from .directions import Directions
from .few_shot import FewShot
from .hypotheses import Hypotheses
from .none import Bare
from .persona import Persona
from .verified import Verified

__all__ = ["PROFILE_WORDS", "STRATEGIES", "Strategy", "as_strategy", "strategy"]

PROFILE_WORDS = 400
"""Words that may be spent on a person unless something else is asked for."""


class Strategy(Protocol):
    """``condition(profile, prompt, budget) -> messages``."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
        """The conversation to send.

        Args:
            profile: the person.
            prompt: what is to be answered.
            budget: words that may be spent on the person, the prompt not counted.

        Returns:
            Messages, ending in the prompt as the user's turn; without a system turn, nothing is said of the person.
        """
        ...


STRATEGIES: Mapping[str, Strategy] = {
    each.name: each for each in (Bare(), FewShot(), Hypotheses(), Directions(), Persona(), Verified())
}


def strategy(name: str) -> Strategy:
    """The strategy of a name.

    Raises:
        InputError: there is none.
    """
    try:
        return STRATEGIES[name]
    except KeyError as error:
        raise InputError(
            f"There is no strategy {name!r}.", remedy=f"Choose one of: {', '.join(sorted(STRATEGIES))}."
        ) from error


def as_strategy(chosen: str | Strategy) -> Strategy:
    """A strategy by its name; any other is returned as it is.

    Raises:
        InputError: there is none of this name.
    """
    return strategy(chosen) if isinstance(chosen, str) else chosen
