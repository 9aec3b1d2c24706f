"""What strategies share: earlier texts of a person as turns of a conversation, and what a statement asks for.

It does not choose either.

No profile: the prompt alone. What every other strategy has to beat.

Raw examples in the conversation: AlignX's in-context alignment (section 4.1), and the baseline of most papers.

HyPerAlign's prompt: all inferred hypotheses, believed untested (HyPerAlign, section 3.3).

It is here to be beaten: what ``select`` dropped is said as if it were true.

A description of the person as a prefix: background first, then preferences (WikiPersona, section 3.2).

That paper's models write it freely. Here each sentence is a hypothesis that was tested and has a quote behind it which
a checker found to support it (``check``), or something that the person said themselves, and is marked as such. What
nobody has checked is not said: not what a human put among the hypotheses, and of a profile from before there was a
check only what was stated.

AlignX's bridge: the direction in the preference space, put into words (Li et al. 2025, section 4.2).

What a person leans to is said dimension by dimension, tested or not, as that paper's models are told it: a baseline for
``verified``, which says only what passed.

What was tested and kept: statements that earned their weight, and examples that did.

Statements stand in the turn that asks, before the prompt: there small models heed them, and still do what is asked.

An empty profile sends the bare prompt: where no profile won, none is used.

Ways to put a profile before a model, one file each.

A strategy turns a profile and a prompt into the conversation to send. It says nothing of
how the profile came to be, and calls no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Profile
from hyperalign.records import Sample
from hyperalign.scores import Message
from hyperalign.space import Space, known_poles
from hyperalign.text import excerpt

from .scope import narrow

__all__ = [
    "PROFILE_WORDS",
    "STRATEGIES",
    "Bare",
    "Directions",
    "FewShot",
    "Hypotheses",
    "Persona",
    "Strategy",
    "Verified",
    "as_strategy",
    "render_examples",
    "strategy",
    "to_instruction",
    "words",
]

_NO_PROMPT = "Write a text of your own."


def words(text: str) -> int:
    """How many words a text has."""
    return len(text.split())


def render_examples(examples: Sequence[Sample], max_words: int) -> list[Message]:
    """Prompt and text of each example in turn, until the budget is spent.

    No text takes more than half of the budget: longer ones are cut after a sentence, so that one long text does not
    leave nothing to show.

    Args:
        examples: the best first.
        max_words: words.
    """
    turns: list[Message] = []
    half = max_words // 2
    for example in examples:
        prompt = example.prompt or _NO_PROMPT
        text = excerpt(example.text, max(1, half - words(prompt)))
        max_words -= words(prompt) + words(text)
        if max_words < 0:
            break
        # The last turn weighs most with small models: the best example goes there.
        turns[:0] = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    return turns


def to_instruction(hypothesis: Hypothesis) -> str:
    """What to do; the figures behind a measured statement are for people to check."""
    if hypothesis.source != "measured":
        return hypothesis.statement
    return hypothesis.statement.partition(":")[0].rstrip(".") + "."


class Bare:
    """Sends the prompt and nothing else."""

    name = "none"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """The prompt as the only turn."""
        del profile, max_words
        return [{"role": "user", "content": prompt}]


class FewShot:
    """Shows the person's own texts as earlier turns."""

    name = "few-shot"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """Earlier texts, then the prompt."""
        turns = render_examples(profile.examples, max_words)
        if not turns:
            return [{"role": "user", "content": prompt}]
        return [{"role": "system", "content": ""}, *turns, {"role": "user", "content": prompt}]


class Hypotheses:
    """Says every hypothesis that a model inferred, kept or dropped."""

    name = "hypotheses"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """All inferred statements in the system turn, then the prompt."""
        lines: list[str] = []
        for hypothesis in [*narrow(profile, prompt).hypotheses, *profile.dropped]:
            max_words -= words(hypothesis.statement)
            if hypothesis.source == "inferred" and max_words >= 0:
                lines.append(f"- {hypothesis.statement}")
        if not lines:
            return [{"role": "user", "content": prompt}]
        system = "About the person:\n" + "\n".join(lines)
        return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]


_BACKGROUND = frozenset({"background", "personality"})
_WHO, _LIKES = "About the person:", "What they like:"


class Persona:
    """Two short paragraphs in the system turn: who the person is, and what they like."""

    name = "persona"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """The description, then the prompt."""
        paragraphs = {_WHO: [f"“{each}” (in their own words)" for each in profile.stated], _LIKES: []}
        for hypothesis in sorted(narrow(profile, prompt).hypotheses, key=lambda h: -h.weight):
            if any(quote.holds_up for quote in hypothesis.evidence):
                paragraphs[_WHO if hypothesis.aspect in _BACKGROUND else _LIKES].append(to_instruction(hypothesis))
        told: list[str] = []
        for start, sentences in paragraphs.items():
            said = [start]
            for sentence in sentences:
                if words(sentence) <= max_words:
                    max_words -= words(sentence)
                    said.append(sentence)
            told += [" ".join(said)] * (len(said) > 1)
        if not told:
            return [{"role": "user", "content": prompt}]
        return [{"role": "system", "content": "\n\n".join(told)}, {"role": "user", "content": prompt}]


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

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """The poles before the prompt, the surest first."""
        lines: list[str] = []
        for pole in self._poles(profile):
            max_words -= words(pole)
            if max_words >= 0:
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


_LIKE = "Write as a person like this:"


class Verified:
    """Kept statements, the person's own stated preferences, and kept examples, under one budget."""

    name = "verified"

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """Examples as turns, then the statements with the prompt."""
        lines: list[str] = []
        surest = sorted(narrow(profile, prompt).hypotheses, key=lambda h: -h.weight)
        for statement in [*profile.stated, *(to_instruction(h) for h in surest if h.kind == "statement")]:
            if words(statement) <= max_words:
                max_words -= words(statement)
                lines.append(f"- {statement}")
        turns = render_examples(profile.examples, max_words)
        if not lines and not turns:
            return [{"role": "user", "content": prompt}]
        asked = "\n".join([_LIKE, *lines, "", prompt]) if lines else prompt
        return [{"role": "system", "content": ""}, *turns, {"role": "user", "content": asked}]


PROFILE_WORDS = 400
"""Words that may be spent on a person unless something else is asked for."""


class Strategy(Protocol):
    """``condition(profile, prompt, max_words) -> messages``."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    def condition(self, profile: Profile, prompt: str, max_words: int) -> list[Message]:
        """The conversation to send.

        Args:
            profile: the person.
            prompt: what is to be answered.
            max_words: words that may be spent on the person, the prompt not counted.

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
