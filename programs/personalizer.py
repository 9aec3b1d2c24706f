"""The whole loop as one DSPy module: infer, score, select, and answer as the person would.

``Personalizer`` is handed its model, its scorer and its contrast; it knows no runtime, no
store and no task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.contrast import Contrast, ShippedContrast, reference_records
from hyperalign.errors import InputError
from hyperalign.profile import Hypothesis, Profile, Provenance, check_evidence
from hyperalign.records import Edit, Record, as_sample, by_kind, only_choices, own_text
from hyperalign.scores import ScoreMatrix, Scorer
from hyperalign.space import Space, load_space, own_poles
from hyperalign.style.measured import measured_style

from .candidates import (
    EXAMPLE_ID,
    SPACE_ID,
    Candidate,
    from_edits,
    from_examples,
    from_measurement,
    from_space,
    makers,
    untestable,
)
from .check import CheckEvidence
from .evidence import find_evidence
from .extract import ExtractPreferences
from .fit import Fit, together
from .generate import Generate
from .infer import InferHypotheses
from .own_scorer import ChosenScorer, resolve_scorer
from .scope import subjects
from .score import Progress, fill
from .select import Rules, Selection, drop, select
from .shortlist import shortlist
from .strategies import Strategy, strategy
from .testing import Test
from .testing.choice import ChoiceTest
from .testing.example import ExampleTest
from .testing.likelihood import LikelihoodTest
from .testing.measurement import MeasurementTest
from .testing.screen import Screen

__all__ = ["Fit", "Personalizer"]

PROGRAM = "personalizer/4"
SHOWN_OTHERS = 3
EXAMPLES_TRIED = 2
CHOICES_TRIED = 8


class Personalizer(dspy.Module):
    """Fits a model to one person, and answers for them.

    Args:
        lm: the model that infers and answers; DSPy's configured one if None.
        scorer: gives log-probabilities for the test by likelihood; ``"own"`` is the model's own, where it offers one.
            With None, statements are tested by choice.
        contrast: other people; the example people that ship if None.
        strategy: how a profile is put before the model, by name or your own.
        rules: what it takes to be kept.
        space: the dimensions tried beside free hypotheses; the shipped ones if None.
        reference: how many records of other people to test against.
        best_of: drafts to choose an answer from.
        budget: where steps are booked; the model must have been given the same one.
        progress: told of each step's progress.
        seed: kept in the profile's provenance.
    """

    def __init__(
        self,
        lm: dspy.LM | None = None,
        *,
        scorer: ChosenScorer = "own",
        contrast: Contrast | None = None,
        strategy: str | Strategy = "verified",
        rules: Rules | None = None,
        space: Space | None = None,
        reference: int = 6,
        best_of: int = 1,
        budget: Budget | None = None,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.infer = InferHypotheses()
        self.extract = ExtractPreferences()
        self.check = CheckEvidence()
        self._model = lm
        self._chosen_scorer = scorer
        self._contrast = contrast or ShippedContrast()
        self._rules = rules or Rules(seed=seed)
        self._space = space or load_space()
        self._reference = reference
        self._budget = budget or Budget()
        self._progress = progress
        self._seed = seed
        self.generate = Generate(_named(strategy), best_of=best_of, scorer=scorer)

    @property
    def lm(self) -> dspy.LM | None:
        """The model that infers and answers; None is DSPy's configured one."""
        return self._model

    def forward(
        self, prompt: str, records: Sequence[Record] | None = None, profile: Profile | None = None
    ) -> dspy.Prediction:
        """Answer a prompt; fit first if no profile is given.

        Args:
            prompt: what to answer.
            records: what the person wrote or chose; needed without a profile.
            profile: the person, if already fitted.

        Returns:
            ``answer`` and ``profile``.

        Raises:
            InputError: neither records nor a profile are given.
        """
        if profile is None:
            if not records:
                raise InputError("There is neither a profile nor a record.", remedy="Give records= or profile=.")
            profile = self.fit(records)
        with self._budget.step("generate"), self._context():
            reply = self.generate(prompt=prompt, profile=profile)
        return dspy.Prediction(answer=reply.answer, drafts=reply.drafts, profile=profile)

    def fit(self, records: Sequence[Record]) -> Profile:
        """Infer hypotheses, test them, and keep what predicts.

        Args:
            records: one person's; at least four say something, eight are better.

        Raises:
            InputError: there are none, or they are several people's.
            ModelError: the model can't be used.
            BudgetExceededError: a cap was reached.
        """
        return self.explain(records).profile

    def explain(self, records: Sequence[Record]) -> Fit:
        """``fit``, with all candidates and score matrices beside the profile."""
        user = _one_user(records)
        # Each is held against other people's of its kind: what somebody writes and what they choose are two questions.
        fits = [self._fitted(user, part) for part in by_kind(records)]
        return fits[0] if len(fits) == 1 else together(*fits)

    def _fitted(self, user: str, records: Sequence[Record]) -> Fit:
        """Fit from texts alone, or from choices alone."""
        made_from = makers(records, self._rules)
        others = reference_records(self._contrast, user, records, max(self._reference, SHOWN_OTHERS))
        free, invented, unreadable = self._free(made_from, others[-SHOWN_OTHERS:])
        candidates = [
            *free,
            # What somebody corrected is half the draft's; what they changed in it is theirs.
            *from_measurement([record for record in made_from if not isinstance(record, Edit)]),
            *from_edits(made_from),
            *_examples(records, made_from),
            *from_space(shortlist(self._space, records)),
        ]
        against = others[: self._reference]
        hopeless = untestable(candidates, records, against, self._rules)
        tested = [each for each in candidates if each.hypothesis.id not in hopeless]
        matrices = [self._fill(test, tested, [*records, *against]) for test in self._tests(tested, records, against)]
        about = subjects(self._space, [*records, *against])
        chosen = select([each.hypothesis for each in tested], matrices, user, self._rules, about)
        hypotheses = [candidate.hypothesis for candidate in candidates]
        untested = [drop(each, hopeless[each.id]) for each in hypotheses if each.id in hopeless]
        chosen = replace(chosen, dropped=[*chosen.dropped, *untested])
        profile = self._profile(records, against, chosen, matrices, invented)
        return Fit(profile, hypotheses, matrices, unreadable)

    def _free(self, records: Sequence[Record], others: Sequence[Record]) -> tuple[list[Candidate], int, int]:
        chosen = only_choices(records)
        # A choice shows beside it what it was made against; a text says little by itself.
        if not records or not (chosen or others):
            return [], 0, 0
        with self._budget.step("infer"), self._context():
            if chosen:
                found = self.extract(records=records, progress=self._progress)
            else:
                found = self.infer(records=records, others=others, progress=self._progress)
        made_from = frozenset(record.id for record in records)
        free = [Candidate(hypothesis, made_from) for hypothesis in found.hypotheses]
        return free, found.invented, found.unreadable

    def _tests(
        self, candidates: Sequence[Candidate], records: Sequence[Record], others: Sequence[Record]
    ) -> list[Test]:
        measured = {c.hypothesis.id: c.claim for c in candidates if c.claim is not None}
        # Choices are weighed all together, so none is left unread.
        scorer, screen = self.scorer, None if only_choices(records) else Screen(records[0].user)
        if scorer is not None:
            read: list[Test] = [MeasurementTest(measured), LikelihoodTest(scorer, screen=screen)]
            # Choices bear each other out as examples by the cells of statements: nothing is read for them.
            return read if only_choices(records) else [*read, ExampleTest(scorer)]
        beside = {mine.id: own_text(others[i % len(others)]) for i, mine in enumerate(records) if others}
        crowd = {o.id: own_text(others[(i + 1) % len(others)]) for i, o in enumerate(others)}
        return [MeasurementTest(measured), ChoiceTest(self._model, {**crowd, **beside}, screen=screen)]

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides how somebody is fitted, beside the model and the prompts, as JSON-able data."""
        return {
            "program": PROGRAM,
            "rules": asdict(self._rules),
            "space": self._space.fingerprint,
            "contrast": sorted(record.id for record in self._contrast.records("")),
            "reference": self._reference,
            "seed": self._seed,
        }

    @property
    def scorer(self) -> Scorer | None:
        """What gives log-probabilities for the tests; None where they are by choice."""
        # Kept once it is open: it holds the model's weights.
        self._chosen_scorer = resolve_scorer(self._chosen_scorer, self._model)
        return self._chosen_scorer

    def _fill(self, test: Test, candidates: Sequence[Candidate], records: Sequence[Record]) -> ScoreMatrix:
        made_from = {candidate.hypothesis.id: candidate.made_from for candidate in candidates}
        hypotheses = [candidate.hypothesis for candidate in candidates]
        with self._budget.step("score"):
            return fill(test, hypotheses, records, made_from=made_from, progress=self._progress)

    def _profile(
        self,
        records: Sequence[Record],
        against: Sequence[Record],
        chosen: Selection,
        matrices: Sequence[ScoreMatrix],
        invented: int,
    ) -> Profile:
        scorer = self.scorer
        with self._budget.step("evidence"), self._context():
            quoted = [_with_evidence(h, records, matrices, scorer) for h in chosen.kept]
            kept = self.check(quoted, against, scorer).hypotheses
        direction = {name.removeprefix(SPACE_ID): p for name, p in chosen.direction.items()}
        samples = {f"{EXAMPLE_ID}{record.id}": as_sample(record) for record in records}
        return Profile(
            user=records[0].user,
            hypotheses=[h for h in kept if h.kind == "statement" and check_evidence(h.evidence, records)],
            examples=[samples[h.id] for h in kept if h.kind == "example"],
            style=measured_style(records),
            dropped=chosen.dropped,
            direction=direction,
            poles=own_poles(self._space, direction),
            provenance=Provenance(
                records=[record.id for record in records],
                model=str(getattr(self._model or dspy.settings.lm, "model", "")),
                scorer=scorer.name if scorer else "",
                contrast=self._contrast.name,
                program=PROGRAM,
                seed=self._seed,
                invented_quotes=invented,
            ),
        ).touched()

    def _context(self) -> Any:
        return dspy.context(lm=self._model) if self._model is not None else dspy.context()


def _with_evidence(
    hypothesis: Hypothesis, records: Sequence[Record], matrices: Sequence[ScoreMatrix], scorer: Scorer | None
) -> Hypothesis:
    for matrix in matrices:
        hypothesis = find_evidence(hypothesis, records, matrix, scorer)
    return hypothesis


def _examples(records: Sequence[Record], made_from: Sequence[Record]) -> list[Candidate]:
    """What may be shown of somebody: some of their own texts, which the rest must test, or of what they chose."""
    return from_examples(records, CHOICES_TRIED) if only_choices(records) else from_examples(made_from, EXAMPLES_TRIED)


def _named(name: str | Strategy) -> Strategy:
    return strategy(name) if isinstance(name, str) else name


def _one_user(records: Sequence[Record]) -> str:
    users = sorted({record.user for record in records})
    if len(users) != 1:
        raise InputError(
            f"A profile is of one person, but these records are of {len(users)} ({', '.join(users) or 'nobody'}).",
            remedy="Give the records of one user.",
        )
    return users[0]
