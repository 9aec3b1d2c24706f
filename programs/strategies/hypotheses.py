"""HyPerAlign's prompt: all inferred hypotheses, believed untested (HyPerAlign, section 3.3).

It is here to be beaten: what ``select`` dropped is said as if it were true.
"""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.scores import Message

from ..scope import narrowed
from .turns import words

__all__ = ["Hypotheses"]


class Hypotheses:
    """Says every hypothesis that a model inferred, kept or dropped."""

    name = "hypotheses"

    def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
        """All inferred statements in the system turn, then the prompt."""
        lines: list[str] = []
        for hypothesis in [*narrowed(profile, prompt).hypotheses, *profile.dropped]:
            budget -= words(hypothesis.statement)
            if hypothesis.source == "inferred" and budget >= 0:
                lines.append(f"- {hypothesis.statement}")
        if not lines:
            return [{"role": "user", "content": prompt}]
        system = "About the person:\n" + "\n".join(lines)
        return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
