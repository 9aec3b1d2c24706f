"""The whole loop as one DSPy module: infer, score, select, and answer as the person would."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError
from hyperalign.population import Population, ShippedPopulation, reference_records
from hyperalign.profile import Profile
from hyperalign.records import Edit, Record, by_kind, only_choices, own_text, without_repeats
from hyperalign.scores import ScoreMatrix, Scorer
from hyperalign.space import Space, load_space

from .binary_choice import LazyScorer, ScorerChoice
from .candidates import (
    Candidate,
    find_untestable,
    from_edits,
    from_examples,
    from_measurement,
    from_space,
    proposal_split,
    shortlist,
)
from .evidence import CheckEvidence, quoted_from
from .extract import ExtractPreferences
from .fit_result import Fit, FitPart, Memory, Origin, kind_of, profile_of, together, with_evidence_of
from .fitting import RecordLike, as_records, one_user
from .generate import Generate
from .hypothesis_tests import HypothesisTest, Screen, fill
from .hypothesis_tests.choice import ChoiceTest, WhichFits
from .hypothesis_tests.likelihood import ExampleTest, LikelihoodTest, MeasurementTest
from .infer import InferHypotheses
from .program import Program, resolve_model
from .replies import tally_answers
from .scope import subjects
from .selection import Rules, Selection, Subjects, drop, select
from .strategies import Strategy, as_strategy

__all__ = ["Fit", "Personalizer"]

PROGRAM = "personalizer/5"
SHOWN_OTHERS = 3
EXAMPLES_TRIED = 2
CHOICES_TRIED = 8


class Personalizer(Program):
    """Fits a model to one person, and answers for them.

    ``save`` and ``load`` keep prompts. A program saved whole has no key and no word of anybody's: its other people are
    the example people, its scorer the model's own and its budget empty until it is made anew.

    Args:
        lm: the model that infers and answers; DSPy's configured one if None. One that ``set_lm`` sets goes before it.
        scorer: gives log-probabilities for the test by likelihood; ``"own"`` is the model's own, where it offers one.
            With None, statements are tested by choice.
        population: other people; the example people that ship if None.
        strategy: how a profile is put before the model, by name or your own.
        rules: what it takes to be kept.
        space: the dimensions tried beside free hypotheses; the shipped ones if None.
        reference: how many records of other people to test against.
        half_life: older evidence counts half as much every so many newer records; all alike if None.
        best_of: drafts to choose an answer from.
        statements_per_call: how many statements are tested in one call, where they are tested by choice; as many as
            the model says of itself if None.
        budget: where steps are booked, and the calls of a model that books them nowhere yet.
        progress: told of each step's progress.
        seed: kept in the profile's provenance.

    Raises:
        InputError: ``half_life`` is not above 0.
    """

    def __init__(
        self,
        lm: dspy.LM | None = None,
        *,
        scorer: ScorerChoice = "own",
        population: Population | None = None,
        strategy: str | Strategy = "verified",
        rules: Rules | None = None,
        space: Space | None = None,
        reference: int = 6,
        half_life: float | None = None,
        best_of: int = 1,
        statements_per_call: int | None = None,
        budget: Budget | None = None,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if half_life is not None and half_life <= 0:
            raise InputError(f"A half-life of {half_life:g} records.", remedy="Give one above 0, such as 12.")
        if budget is not None and lm is not None and hasattr(lm, "booked_in"):
            lm = lm.booked_in(budget)
        self.infer = InferHypotheses()
        self.extract = ExtractPreferences()
        self.check = CheckEvidence()
        self.choice = WhichFits(lm)
        self._model = lm
        self._scorer = LazyScorer(scorer)
        self._population = population or ShippedPopulation()
        self._rules = rules or Rules(seed=seed)
        self._space = space or load_space()
        self._reference = reference
        self._half_life = half_life
        self._budget = budget or Budget()
        self._progress = progress
        self._seed = seed
        self._size = statements_per_call
        self.generate = Generate(as_strategy(strategy), best_of=best_of, scorer=scorer)

    @property
    def lm(self) -> dspy.LM | None:
        """The model that infers and answers; None is DSPy's configured one."""
        return self.infer.propose.lm or self._model

    def forward(
        self, prompt: str, records: Sequence[RecordLike] | None = None, profile: Profile | None = None
    ) -> dspy.Prediction:
        """Answer a prompt; fit first if no profile is given.

        Args:
            prompt: what to answer.
            records: what the person wrote or chose, as ``fit`` takes it; needed without a profile.
            profile: the person, if already fitted.

        Returns:
            ``answer`` and ``profile``.

        Raises:
            InputError: neither records nor a profile are given.
        """
        profile = self._known(records, profile)
        with self._budget.step("generate"), self._context():
            reply = self.generate(prompt=prompt, profile=profile)
        return dspy.Prediction(answer=reply.answer, drafts=reply.drafts, profile=profile)

    async def aforward(
        self, prompt: str, records: Sequence[RecordLike] | None = None, profile: Profile | None = None
    ) -> dspy.Prediction:
        """The same, asynchronously; a fit runs in a thread."""
        profile = await asyncio.to_thread(self._known, records, profile)
        with self._budget.step("generate"), self._context():
            reply = await self.generate.acall(prompt=prompt, profile=profile)
        return dspy.Prediction(answer=reply.answer, drafts=reply.drafts, profile=profile)

    def _known(self, records: Sequence[RecordLike] | None, profile: Profile | None) -> Profile:
        if profile is not None:
            return profile
        if not records:
            raise InputError("There is neither a profile nor a record.", remedy="Give records= or profile=.")
        # Whoever streams wants the answer, and not what is asked on the way to it.
        with dspy.context(send_stream=None):
            return self.fit(records)

    def fit(self, records: Sequence[RecordLike]) -> Profile:
        """Infer hypotheses, test them, and keep what predicts.

        Args:
            records: one person's, also as plain texts or as dicts with the fields of a record; at least four say
                something, eight are better.

        Raises:
            InputError: there are none, or they are several people's.
            ModelError: the model can't be used, or most of its answers can't (``UnusableAnswersError``).
            BudgetExceededError: a cap was reached.
        """
        return self.fit_detailed(records).profile

    def fit_detailed(self, records: Sequence[RecordLike]) -> Fit:
        """``fit``, with all candidates and score matrices beside the profile.

        A record that says what an earlier one says is left out: it would count twice in the tests.
        """
        records = as_records(records)
        user = one_user(records)
        distinct = without_repeats(records)
        # Each is held against other people's of its kind: what somebody writes and what they choose are two questions.
        with tally_answers() as tally:
            fits = [self._fitted(user, part) for part in by_kind(distinct)]
        found = fits[0] if len(fits) == 1 else together(*fits)
        read = {record.id for record in distinct}
        repeats = dict.fromkeys(record.id for record in records if record.id not in read)
        memory = replace(found.memory, skipped=tuple(repeats))
        return replace(found, memory=memory, asked=tally.asked, undecided=tally.undecided)

    def _fitted(self, user: str, records: Sequence[Record]) -> Fit:
        """Fit from texts alone, or from choices alone."""
        made_from = proposal_split(records, self._rules)
        against, shown = self.others(user, records)
        free, invented, unreadable = self.proposed(made_from, shown)
        candidates = [
            *free,
            # What somebody corrected is half the draft's; what they changed in it is theirs.
            *from_measurement([record for record in made_from if not isinstance(record, Edit)]),
            *from_edits(made_from),
            *_examples(records, made_from),
            *from_space(shortlist(self._space, records)),
        ]
        futile = find_untestable(candidates, records, against, self._rules)
        tested = [each for each in candidates if each.hypothesis.id not in futile]
        matrices = [
            self.filled(test, tested, [*records, *against], user) for test in self.tests(tested, records, against)
        ]
        about = subjects(self._space, [*records, *against])
        chosen = self.selected(tested, matrices, user, about)
        hypotheses = [candidate.hypothesis for candidate in candidates]
        untested = [drop(each, futile[each.id]) for each in hypotheses if each.id in futile]
        chosen = replace(chosen, dropped=[*chosen.dropped, *untested])
        profile = self.believed(records, against, chosen, matrices, invented=invented)
        part = FitPart(profile, tuple(candidates), tuple(matrices), about=about).with_records(records)
        return Fit(profile, hypotheses, matrices, unreadable, self.memory({kind_of(records): part}))

    def memory(
        self, parts: Mapping[str, FitPart], waiting: Sequence[Record] = (), skipped: Sequence[str] = ()
    ) -> Memory:
        """What to remember, with what its cells depend on."""
        scorer = self.scorer
        asked = str(getattr(resolve_model(self.choice, self._model), "model", ""))
        read = {"program": PROGRAM, "scorer": scorer.name if scorer else asked, "space": self._space.fingerprint}
        return Memory(parts, tuple(waiting), tuple(skipped), read)

    def others(self, user: str, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
        """Other people's records that are like some of a person's: those to test against, and those to show the model.

        None is among both: a statement that was made to be untrue of a record gains by being tested on it.
        """
        if only_choices(records):
            # A choice shows what it was made against; nobody else's is shown beside it.
            return reference_records(self._population, user, records, self._reference), []
        found = reference_records(self._population, user, records, self._reference + SHOWN_OTHERS)
        # Where others are few, most of them test.
        shown = max(0, min(SHOWN_OTHERS, max(len(found) - self._reference, (len(found) - 1) // 3)))
        return found[: len(found) - shown], found[len(found) - shown :]

    def about(self, records: Sequence[Record]) -> Subjects:
        """What records are about, by the space's words."""
        return subjects(self._space, records)

    def selected(
        self, candidates: Sequence[Candidate], matrices: Sequence[ScoreMatrix], user: str, about: Subjects
    ) -> Selection:
        """Choose among candidates by their cells; older evidence counts less where there is a half-life."""
        if self._half_life is not None:
            matrices = [matrix.aged(user, self._half_life) for matrix in matrices]
        return select([each.hypothesis for each in candidates], matrices, user, self._rules, about)

    def proposed(self, records: Sequence[Record], others: Sequence[Record]) -> tuple[list[Candidate], int, int]:
        """What the model makes of some records.

        Args:
            records: the person's.
            others: other people's, for texts; a choice shows what it was made against.

        Returns:
            Candidates, how many quotes were invented, and how many answers were not in the form asked for.
        """
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

    def tests(
        self, candidates: Sequence[Candidate], records: Sequence[Record], others: Sequence[Record]
    ) -> list[HypothesisTest]:
        """The tests of some candidates, the cheapest first.

        Args:
            candidates: what may be tested.
            records: the person's.
            others: other people's; where nothing gives log-probabilities, texts are shown beside theirs.
        """
        measured = {c.hypothesis.id: c.claim for c in candidates if c.claim is not None}
        # Choices are weighed all together, so none is left unread.
        scorer, screen = self.scorer, None if only_choices(records) else Screen(records[0].user)
        if scorer is not None:
            read: list[HypothesisTest] = [MeasurementTest(measured), LikelihoodTest(scorer, screen=screen)]
            # Choices bear each other out as examples by the cells of statements: nothing is read for them.
            return read if only_choices(records) else [*read, ExampleTest(scorer)]
        beside = {mine.id: own_text(others[i % len(others)]) for i, mine in enumerate(records) if others}
        crowd = {o.id: own_text(others[(i + 1) % len(others)]) for i, o in enumerate(others)}
        return [
            MeasurementTest(measured),
            ChoiceTest(None, {**crowd, **beside}, screen=screen, question=self.choice, statements_per_call=self._size),
        ]

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides how somebody is fitted, beside the model and the prompts, as JSON-able data."""
        return {
            "program": PROGRAM,
            "rules": asdict(self._rules),
            "space": self._space.fingerprint,
            "population": sorted(record.id for record in self._population.records("")),
            "reference": self._reference,
            "statements_per_call": self._size,
            "seed": self._seed,
            **({"half_life": self._half_life} if self._half_life is not None else {}),
        }

    @property
    def rules(self) -> Rules:
        """What it takes to be kept."""
        return self._rules

    @property
    def half_life(self) -> float | None:
        """After how many newer records evidence counts half; None where all counts alike."""
        return self._half_life

    @property
    def scorer(self) -> Scorer | None:
        """What gives log-probabilities for the tests; None where they are by choice."""
        return self._scorer.of(resolve_model(self.infer, self._model))

    def filled(
        self, test: HypothesisTest, candidates: Sequence[Candidate], records: Sequence[Record], user: str
    ) -> ScoreMatrix:
        """The cells of some candidates of a person on some records, anybody's."""
        made_from = {candidate.hypothesis.id: candidate.made_from for candidate in candidates}
        hypotheses = [candidate.hypothesis for candidate in candidates]
        with self._budget.step("score"):
            return fill(test, hypotheses, records, made_from=made_from, user=user, progress=self._progress)

    def believed(
        self,
        records: Sequence[Record],
        against: Sequence[Record],
        chosen: Selection,
        matrices: Sequence[ScoreMatrix],
        *,
        before: Profile | None = None,
        invented: int = 0,
    ) -> Profile:
        """The profile of what was chosen, with evidence for each statement.

        Args:
            records: the person's, or the newest of them.
            against: other people's.
            chosen: what the tests left.
            matrices: the tests.
            before: what was believed until now; evidence and examples of what still stands are kept.
            invented: quotes of the model that stand in no record.
        """
        scorer = self.scorer
        carried = with_evidence_of(before, chosen.kept)
        with self._budget.step("evidence"), self._context():
            quoted = [quoted_from(h, records, matrices, scorer, turned=h.id in chosen.turned) for h in carried]
            kept = self.check(quoted, against, scorer).hypotheses
        asked = resolve_model(self.extract if only_choices(records) else self.infer, self._model)
        made = Origin(
            model=str(getattr(asked, "model", "")),
            scorer=scorer.name if scorer else "",
            population=self._population.name,
            program=PROGRAM,
            seed=self._seed,
            space=self._space,
        )
        return profile_of(replace(chosen, kept=kept), records, made, before=before, invented=invented)

    def _context(self) -> Any:
        return dspy.context(lm=self._model) if self._model is not None else dspy.context()

    def __getstate__(self) -> dict[str, Any]:
        kept: dict[str, Any] = super().__getstate__()
        return {**kept, "_population": ShippedPopulation(), "_budget": None, "_progress": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_budget": Budget()})


def _examples(records: Sequence[Record], made_from: Sequence[Record]) -> list[Candidate]:
    """What may be shown of somebody: some of their own texts, which the rest must test, or of what they chose."""
    return from_examples(records, CHOICES_TRIED) if only_choices(records) else from_examples(made_from, EXAMPLES_TRIED)
