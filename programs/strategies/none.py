"""No profile: the prompt alone. What every other strategy has to beat."""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.scores import Message

__all__ = ["Bare"]


class Bare:
    """Sends the prompt and nothing else."""

    name = "none"

    def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
        """The prompt as the only turn."""
        del profile, budget
        return [{"role": "user", "content": prompt}]
