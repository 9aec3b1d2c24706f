"""What was tested and kept: statements that earned their weight, and examples that did.

Statements stand in the turn that asks, before the prompt: there small models heed them, and still do what is asked.

An empty profile sends the bare prompt: where no profile won, none is used.
"""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.scores import Message

from ..scope import narrowed
from .turns import example_turns, guidance, words

__all__ = ["Verified"]

_LIKE = "Write as a person like this:"


class Verified:
    """Kept statements, the person's own stated preferences, and kept examples, under one budget."""

    name = "verified"

    def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
        """Examples as turns, then the statements with the prompt."""
        lines: list[str] = []
        surest = sorted(narrowed(profile, prompt).hypotheses, key=lambda h: -h.weight)
        for statement in [*profile.stated, *(guidance(h) for h in surest if h.kind == "statement")]:
            if words(statement) <= budget:
                budget -= words(statement)
                lines.append(f"- {statement}")
        turns = example_turns(profile.examples, budget)
        if not lines and not turns:
            return [{"role": "user", "content": prompt}]
        asked = "\n".join([_LIKE, *lines, "", prompt]) if lines else prompt
        return [{"role": "system", "content": ""}, *turns, {"role": "user", "content": asked}]
