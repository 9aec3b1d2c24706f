"""Raw examples in the conversation: AlignX's in-context alignment (section 4.1), and the baseline of most papers."""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.scores import Message

from .turns import example_turns

__all__ = ["FewShot"]


class FewShot:
    """Shows the person's own texts as earlier turns."""

    name = "few-shot"

    def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
        """Earlier texts, then the prompt."""
        turns = example_turns(profile.examples, budget)
        if not turns:
            return [{"role": "user", "content": prompt}]
        return [{"role": "system", "content": ""}, *turns, {"role": "user", "content": prompt}]
