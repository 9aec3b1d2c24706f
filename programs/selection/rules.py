"""What it takes to be kept, and what a selection is. This file judges nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis

from .effects import Prior

__all__ = ["ExamplePrior", "Judged", "Rules", "Selection", "drop", "rounded", "turned"]

Judged = tuple[Hypothesis, str]
"""A hypothesis with its test, and why it is dropped; empty if it passed."""


@dataclass(frozen=True, slots=True)
class ExamplePrior:
    """What examples do, in nats per token beyond what they do for other people's texts.

    Set by hand from nine examples of five development authors of news, whose gains went from -0.10 to 1.22 and were
    above zero in eight; lower than their mean, as three cells a side are noisy and other people write other things.

    Attributes:
        mean: gain of an example.
        between: standard deviation of true gains.
        cell: standard deviation of single cells.
    """

    mean: float = 0.35
    between: float = 0.25
    cell: float = 0.35


@dataclass(frozen=True, slots=True)
class Rules:
    """What it takes to be kept.

    Attributes:
        fdr: for texts, the false-discovery rate: the expected share of kept statements that are chance.
        wrong_signs: for choices, the expected share of kept statements whose opposite is true.
        wrong_each: how probable that may be of any one of them.
        no_gain: how probable it may be of a raw example that it adds nothing.
        odd_one_out: how probable it may be of a choice shown as an example that the other choices point the other way.
        min_records: cells needed on the person's records, and on other people's.
        max_statements: at most so many statements, the surest first.
        max_measured: at most so many of them from measured style, which stands in the profile anyway.
        max_chosen: at most so many of them from choices between answers.
        max_examples: at most so many raw examples.
        null_alpha: how often tossed coins may pass for a person of 16 choices or more.
        scope_share: of that, how much is spent on looking for scopes, where there are any to look at.
        min_scoped: choices that a scope must cover, and leave out.
        max_scoped: at most so many scoped statements.
        prior: how far people's leanings differ, for choices.
        example: what raw examples do.
        permutations: at most so many relabelings; all of them where there are fewer.
        seed: of the sampled permutations.

    Raises:
        InputError: ``min_records`` is below 2, where nothing has a spread.
    """

    fdr: float = 0.10
    sign_error_rate: float = 0.30
    max_sign_error: float = 0.40
    no_gain: float = 0.20
    odd_one_out: float = 0.80
    min_records: int = 3
    max_statements: int = 8
    max_measured: int = 4
    max_chosen: int = 8
    max_examples: int = 4
    null_alpha: float = 0.05
    scope_share: float = 0.2
    min_scoped: int = 4
    max_scoped: int = 2
    prior: Prior = field(default_factory=Prior)
    example: ExamplePrior = field(default_factory=ExamplePrior)
    permutations: int = 9_999
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_records < 2:
            raise InputError(f"min_records is {self.min_records}.", remedy="A spread needs at least 2 records.")

    def null_alpha_for(self, choices: float) -> float:
        """How often tossed coins may pass for a person, by the number of choices.

        With few choices hardly anything is out of reach of coins (four that agree are seen in one of eight tosses), so
        the prior that people do prefer something is trusted more; from 16 on it is ``null_alpha``.
        """
        return self.null_alpha * max(1.0, (16 / choices) ** 2)

    def explain_too_few(self, own: int, others: int, what: str = "records") -> str:
        """Why a hypothesis can't be judged by so few cells; empty if it can.

        Args:
            own: cells on the person's records.
            others: cells on other people's.
            what: what the records are called.
        """
        if own < self.min_records:
            return f"only {own} of the person's {what} could test it (needs {self.min_records})"
        if others < self.min_records:
            return f"only {others} {what} of other people to compare with"
        return ""


@dataclass(frozen=True)
class Selection:
    """What a profile may say.

    Attributes:
        kept: what passed, the surest first.
        dropped: what did not, each with its reason.
        direction: of each dimension of the space that was tested on choices, by hypothesis id: how probable it is that
            the person leans to its high pole.
        null_alpha: how often tossed coins in place of the choices may pass; None where no choice was judged.
        turned: ids of those kept whose opposite was tested, and is what they say now.
    """

    kept: list[Hypothesis] = field(default_factory=list)
    dropped: list[Hypothesis] = field(default_factory=list)
    direction: dict[str, float] = field(default_factory=dict)
    turned: frozenset[str] = frozenset()
    null_alpha: float | None = None


def drop(hypothesis: Hypothesis, reason: str) -> Hypothesis:
    """A hypothesis that is not believed, and why."""
    return hypothesis.model_copy(update={"dropped_because": reason, "weight": 0.0})


def turned(hypothesis: Hypothesis) -> Hypothesis:
    """The hypothesis that says the opposite."""
    return hypothesis.model_copy(update={"statement": hypothesis.opposite, "opposite": hypothesis.statement})


def rounded(value: float) -> float:
    """As profiles have figures."""
    return round(value, 5)
