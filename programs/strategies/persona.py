"""A description of the person as a prefix: background first, then preferences (WikiPersona, section 3.2).

That paper's models write it freely. Here each sentence is a hypothesis that was tested and has a quote behind it which
a checker found to support it (``check``), or something that the person said themselves, and is marked as such. What
nobody has checked is not said: not what a human put among the hypotheses, and of a profile from before there was a
check only what was stated.
"""

from __future__ import annotations

from hyperalign.profile import Profile
from hyperalign.scores import Message

from ..scope import narrowed
from .turns import guidance, words

__all__ = ["Persona"]

_BACKGROUND = frozenset({"background", "personality"})
_WHO, _LIKES = "About the person:", "What they like:"


class Persona:
    """Two short paragraphs in the system turn: who the person is, and what they like."""

    name = "persona"

    def condition(self, profile: Profile, prompt: str, budget: int) -> list[Message]:
        """The description, then the prompt."""
        paragraphs = {_WHO: [f"“{each}” (in their own words)" for each in profile.stated], _LIKES: []}
        for hypothesis in sorted(narrowed(profile, prompt).hypotheses, key=lambda h: -h.weight):
            if any(quote.holds_up for quote in hypothesis.evidence):
                paragraphs[_WHO if hypothesis.aspect in _BACKGROUND else _LIKES].append(guidance(hypothesis))
        told: list[str] = []
        for start, sentences in paragraphs.items():
            said = [start]
            for sentence in sentences:
                if words(sentence) <= budget:
                    budget -= words(sentence)
                    said.append(sentence)
            told += [" ".join(said)] * (len(said) > 1)
        if not told:
            return [{"role": "user", "content": prompt}]
        return [{"role": "system", "content": "\n\n".join(told)}, {"role": "user", "content": prompt}]
