"""Strategies: ways to put a profile before a model. Each makes a conversation from a profile and a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Sample
from hyperalign.scores import Message
from hyperalign.space import Space, known_poles
from hyperalign.text import count_words, excerpt

from .scope import narrow

__all__ = ["PROFILE_WORDS", "STRATEGIES", "Directions", "Strategy", "strategy"]

PROFILE_WORDS = 400
"""The default limit of words to spend on a profile."""

_NO_PROMPT = "Write a text of your own."
_BACKGROUND = frozenset({"background", "personality"})
_WHO, _LIKES = "About the person:", "What they like:"
_PREFERENCES = "Answer as somebody would want who prefers what is:"
_LIKE = "Write as a person like this:"


class Strategy(Protocol):
    """A way to put a profile before a model."""

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """Make the conversation to send.

        Args:
            profile: the person.
            prompt: what to answer.
            max_words: the most words to spend on the person, without the prompt.

        Returns:
            Messages that end in the prompt as the user's turn. There is no system turn if nothing is said of the
            person.
        """
        ...


class Bare:
    """Sends the prompt alone: the baseline of every other strategy."""

    name = "none"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """The prompt as the only turn."""
        del profile, max_words
        return _ask_alone(prompt)


class FewShot:
    """Shows the person's own texts as earlier turns: in-context alignment (AlignX, section 4.1)."""

    name = "few-shot"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """Earlier texts, then the prompt."""
        turns = _render_examples(profile.examples, max_words)
        return _ask(prompt, turns=turns) if turns else _ask_alone(prompt)


class Hypotheses:
    """Lists all inferred hypotheses, kept or dropped: the untested baseline (HyPerAlign, section 3.3)."""

    name = "hypotheses"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """All inferred statements in the system turn, then the prompt."""
        lines: list[str] = []
        for hypothesis in [*narrow(profile, prompt).hypotheses, *profile.dropped]:
            max_words -= count_words(hypothesis.statement)
            if hypothesis.source == "inferred" and max_words >= 0:
                lines.append(f"- {hypothesis.statement}")
        return _ask(prompt, system="\n".join([_WHO, *lines])) if lines else _ask_alone(prompt)


class Persona:
    """Describes the person in two paragraphs of the system turn: background, then preferences (WikiPersona, 3.2).

    It says only what the person stated, marked as such, and hypotheses with a quote that a check found to support them.
    """

    name = "persona"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """The description, then the prompt."""
        paragraphs = {_WHO: [f"“{each}” (in their own words)" for each in profile.stated], _LIKES: []}
        for hypothesis in sorted(narrow(profile, prompt).hypotheses, key=lambda h: -h.weight):
            if any(quote.holds_up for quote in hypothesis.evidence):
                paragraphs[_WHO if hypothesis.aspect in _BACKGROUND else _LIKES].append(_to_instruction(hypothesis))
        shown: list[str] = []
        for start, sentences in paragraphs.items():
            said = [start]
            for sentence in sentences:
                if count_words(sentence) <= max_words:
                    max_words -= count_words(sentence)
                    said.append(sentence)
            shown += [" ".join(said)] * (len(said) > 1)
        return _ask(prompt, system="\n\n".join(shown)) if shown else _ask_alone(prompt)


class Directions:
    """Lists each pole that the person probably leans to, tested or not: preference bridging (AlignX, section 4.2).

    Args:
        space: has the words of poles that the profile lacks; the shipped one if None.
        sure: the least probability of a pole that is listed.
    """

    name = "directions"

    def __init__(self, space: Space | None = None, *, sure: float = 0.75) -> None:
        self._space = space
        self._sure = sure

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """The poles before the prompt, the surest first."""
        lines: list[str] = []
        for pole in self._find_poles(profile):
            max_words -= count_words(pole)
            if max_words >= 0:
                lines.append(f"- {pole}")
        return _ask("\n".join([_PREFERENCES, *lines, "", prompt])) if lines else _ask_alone(prompt)

    def _find_poles(self, profile: Profile) -> list[str]:
        poles = known_poles(profile, self._space)
        leanings = {name: p for name, p in profile.direction.items() if name in poles}
        surest = sorted(leanings, key=lambda name: (-abs(leanings[name] - 0.5), name))
        return [
            poles[name].high if leanings[name] > 0.5 else poles[name].low
            for name in surest
            if max(leanings[name], 1 - leanings[name]) >= self._sure
        ]


class Verified:
    """Shows kept examples as turns, then kept and stated statements before the prompt, where small models heed them.

    An empty profile sends the prompt alone.
    """

    name = "verified"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """Examples as turns, then the statements with the prompt."""
        lines: list[str] = []
        surest = sorted(narrow(profile, prompt).hypotheses, key=lambda h: -h.weight)
        for statement in [*profile.stated, *(_to_instruction(h) for h in surest if h.kind == "statement")]:
            if count_words(statement) <= max_words:
                max_words -= count_words(statement)
                lines.append(f"- {statement}")
        turns = _render_examples(profile.examples, max_words)
        if not lines:
            return _ask(prompt, turns=turns) if turns else _ask_alone(prompt)
        return _ask("\n".join([_LIKE, *lines, "", prompt]), turns=turns)


STRATEGIES: Mapping[str, Strategy] = {
    each.name: each for each in (Bare(), FewShot(), Hypotheses(), Directions(), Persona(), Verified())
}


def strategy(chosen: str | Strategy) -> Strategy:
    """Find a strategy by its name; a strategy is returned as it is.

    Raises:
        InputError: there is no strategy of this name.
    """
    if not isinstance(chosen, str):
        return chosen
    if chosen not in STRATEGIES:
        raise InputError(f"There is no strategy {chosen!r}.", remedy=f"Choose one of: {', '.join(sorted(STRATEGIES))}.")
    return STRATEGIES[chosen]


def _ask_alone(prompt: str) -> list[Message]:
    return [{"role": "user", "content": prompt}]


def _ask(asked: str, *, system: str = "", turns: Sequence[Message] = ()) -> list[Message]:
    return [{"role": "system", "content": system}, *turns, {"role": "user", "content": asked}]


def _render_examples(examples: Sequence[Sample], max_words: int) -> list[Message]:
    """Prompt and text of each example as turns, within a limit of words.

    A text takes at most half of the limit: a longer one is cut after a sentence.
    """
    turns: list[Message] = []
    half = max_words // 2
    for example in examples:
        prompt = example.prompt or _NO_PROMPT
        if count_words(prompt) >= half:
            # Of the person's own text nothing would be left.
            continue
        text = excerpt(example.text, half - count_words(prompt))
        max_words -= count_words(prompt) + count_words(text)
        if max_words < 0:
            break
        # The last turn weighs most with small models: the best example goes there.
        turns[:0] = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    return turns


def _to_instruction(hypothesis: Hypothesis) -> str:
    """The statement to follow; the figures of a measured one are left out."""
    if hypothesis.source != "measured":
        return hypothesis.statement
    return hypothesis.statement.partition(":")[0].rstrip(".") + "."
