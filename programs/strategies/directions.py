"""AlignX's bridge: the direction in the preference space, put into words (Li et al. 2025, section 4.2).

What a person leans to is said dimension by dimension, tested or not, as that paper's models are told it: a baseline for
``verified``, which says only what passed.
"""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.scores import Message
from hyperalign.space import Space, known_poles

from .turns import words

__all__ = ["Directions"]

_PREFERENCES = "Answer as somebody would want who prefers what is:"


class Directions:
    """Says each pole that the person probably leans to.

    Args:
        space: has the words of the poles that the profile does not have itself; the shipped one if None.
        sure: how probable a pole must be.
    """

    name = "directions"

    def __init__(self, space: Space | None = None, *, sure: float = 0.75) -> None:
        self._space = space
        self._sure = sure

    def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
        """The poles before the prompt, the surest first."""
        lines: list[str] = []
        for pole in self._poles(profile):
            budget -= words(pole)
            if budget >= 0:
                lines.append(f"- {pole}")
        if not lines:
            return [{"role": "user", "content": prompt}]
        asked = "\n".join([_PREFERENCES, *lines, "", prompt])
        return [{"role": "system", "content": ""}, {"role": "user", "content": asked}]

    def _poles(self, profile: Profile) -> list[str]:
        poles = known_poles(profile, self._space)
        leanings = {name: p for name, p in profile.direction.items() if name in poles}
        surest = sorted(leanings, key=lambda name: (-abs(leanings[name] - 0.5), name))
        return [
            poles[name].high if leanings[name] > 0.5 else poles[name].low
            for name in surest
            if max(leanings[name], 1 - leanings[name]) >= self._sure
        ]
