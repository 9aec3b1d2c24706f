"""The rules of selection, and what a selection is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, TestResult
from hyperalign.scores import ScoreMatrix

from .effects import Prior

__all__ = ["Z_90", "ExamplePrior", "Judged", "Rules", "Selection", "drop", "make_result", "reverse", "round_figure"]

Judged = tuple[Hypothesis, str]
"""A hypothesis with its test result, and why it is dropped; empty if it passed."""

Z_90 = 1.645
"""Standard errors on each side of a 90 % interval."""


@dataclass(frozen=True, slots=True)
class ExamplePrior:
    """The effect of raw examples, in nats per token beyond their effect on other people's texts.

    Set by hand from nine examples of five authors of the dev split of news, with gains from -0.10 to 1.22, above zero
    in eight; lower than their mean, as three cells on each side are noisy and other people write other things.

    Attributes:
        mean: mean of true gains.
        between: standard deviation of true gains.
        cell: standard deviation of single cells.
    """

    mean: float = 0.35
    between: float = 0.25
    cell: float = 0.35


@dataclass(frozen=True, slots=True)
class Rules:
    """What a hypothesis needs to be kept.

    Attributes:
        fdr: for texts, the false-discovery rate: the expected share of kept statements that hold by chance.
        sign_error_rate: for choices, the expected share of kept statements whose opposite is true.
        max_sign_error: the highest probability of a sign error of a single statement.
        no_gain: the highest probability that a raw example adds nothing.
        odd_one_out: the highest probability that the other choices contradict a choice that is shown as an example.
        min_records: cells needed on the person's records, and on other people's.
        max_statements: at most so many statements, the most significant first.
        max_measured: at most so many of them from measured style, which is in the profile anyway.
        max_chosen: at most so many of them from choices between answers.
        max_examples: at most so many raw examples.
        null_alpha: how often something may be kept under random choices, for eight choices or more.
        scope_share: the share of ``null_alpha`` that is spent on the search for scopes, where there are subjects.
        min_scoped: choices that a scope must cover, and leave out.
        max_scoped: at most so many scoped statements.
        prior: how far people differ, for choices.
        example: the effect of raw examples.
        permutations: at most so many permutations for texts; all of them where there are fewer.
        seed: of the sampled permutations.

    Raises:
        InputError: ``min_records`` is below 2, where there is no variance.
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
            raise InputError(
                f"min_records is {self.min_records}.", remedy="Give 2 or more: one record has no variance."
            )

    def null_alpha_for(self, choices: float) -> float:
        """How often something may be kept under random choices, by the number of choices.

        Few choices can't reach a small p: four that agree have p = 1/8. So four may pass four times as often as the
        eight or more for which it is ``null_alpha``.
        """
        return self.null_alpha * max(1.0, (8 / choices) ** 2)

    def explain_too_few(self, own: int, others: int, what: str = "records") -> str:
        """Why so few cells on the person's records, and on others, can't test a hypothesis; empty if they can."""
        if own < self.min_records:
            return f"only {own} of the person's {what} could test it (needs {self.min_records})"
        if others < self.min_records:
            return f"only {others} {what} of other people to compare with"
        return ""


@dataclass(frozen=True)
class Selection:
    """The hypotheses that a profile may state, and the rest.

    Attributes:
        kept: those that passed, the most significant first.
        dropped: the rest, each with its reason.
        direction: by hypothesis id, the probability that the person leans to the high pole, for each dimension of the
            space that was tested on choices.
        turned: ids of those kept that were reversed: they state their former opposite.
        null_alpha: how often something may be kept under random choices; None where no choice was tested.
    """

    kept: list[Hypothesis] = field(default_factory=list)
    dropped: list[Hypothesis] = field(default_factory=list)
    direction: dict[str, float] = field(default_factory=dict)
    turned: frozenset[str] = frozenset()
    null_alpha: float | None = None


def drop(hypothesis: Hypothesis, reason: str) -> Hypothesis:
    """A copy of a hypothesis that is not kept, with the reason."""
    return hypothesis.model_copy(update={"dropped_because": reason, "weight": 0.0})


def reverse(hypothesis: Hypothesis) -> Hypothesis:
    """A copy of a hypothesis that states its opposite."""
    return hypothesis.model_copy(update={"statement": hypothesis.opposite, "opposite": hypothesis.statement})


def round_figure(value: float) -> float:
    """Round a figure as profiles store it."""
    return round(value, 5)


def make_result(
    matrix: ScoreMatrix, records: Sequence[str], others: int, *, gain: float, margin: float, p: float, q: float
) -> TestResult:
    """The result of a test with rounded figures; ``margin`` is half the width of the 90 % interval of ``gain``."""
    return TestResult(
        test=matrix.test,
        gain=round_figure(gain),
        low=round_figure(gain - margin),
        high=round_figure(gain + margin),
        p=round_figure(p),
        q=round_figure(min(1.0, q)),
        records=list(records),
        reference_records=others,
        scorer=matrix.scorer,
    )
