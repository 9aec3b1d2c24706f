"""What was tested and kept: statements that earned their weight, and examples that did.

An empty profile sends the bare prompt: where no profile won, none is used.
"""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.scores import Message

from .turns import example_turns, words

__all__ = ["Verified"]


class Verified:
    """Kept statements, the person's own stated preferences, and kept examples, under one budget."""

    name = "verified"

    def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
        """Statements in the system turn, examples as turns, then the prompt."""
        lines: list[str] = []
        surest = sorted(profile.hypotheses, key=lambda h: -h.weight)
        for statement in [*profile.stated, *(h.statement for h in surest if h.kind == "statement")]:
            if words(statement) <= budget:
                budget -= words(statement)
                lines.append(f"- {statement}")
        turns = example_turns(profile.examples, budget)
        if not lines and not turns:
            return [{"role": "user", "content": prompt}]
        system = "About the person:\n" + "\n".join(lines) if lines else ""
        return [{"role": "system", "content": system}, *turns, {"role": "user", "content": prompt}]
