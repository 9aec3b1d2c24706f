"""Fits one person: proposes hypotheses, tests and selects them, and builds the profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.dependence import pass_over
from hyperalign.errors import InputError
from hyperalign.population import Population, ShippedPopulation, choose_reference_records
from hyperalign.profile import LearnedReward, Profile, Provenance
from hyperalign.records import (
    Edit,
    Record,
    RecordLike,
    Sample,
    are_choices,
    as_records,
    check_one_user,
    own_text,
    sort_by_time,
    split_by_kind,
)
from hyperalign.scores import ScoreMatrix, Scorer
from hyperalign.space import Space, load_space

from .binary_choice import LazyScorer
from .candidates import (
    MAX_TESTED,
    SHOWN_RECORDS,
    STATEMENT_RECORDS,
    TESTED_RECORDS,
    Candidate,
    count_half,
    find_untestable,
    from_dimensions,
    from_edits,
    from_examples,
    from_measurement,
    proposal_split,
    records_to_read,
    with_dependent,
)
from .evidence import CheckEvidence, find_evidence
from .extract import ExtractPreferences
from .fit_result import Fit, FitPart, Memory, build_profile, carry_evidence, combine, record_kind
from .hypothesis_tests import HypothesisTest, Screen, fill
from .hypothesis_tests.choice import ChoiceTest, WhichFits
from .hypothesis_tests.likelihood import DirectionTest, ExampleTest, LikelihoodTest, MeasurementTest
from .infer import InferHypotheses
from .program import resolve_model
from .replies import tally_answers
from .reward import Encoder, Reward, RewardPopulation, load_population
from .scope import find_subjects
from .selection import Rules, Selection, Subjects, drop, select

__all__ = ["PROGRAM", "REFERENCE_RECORDS", "FitConfig", "Fitter"]

PROGRAM = "personalizer/7"
"""The version of the procedure; score matrices of different versions are not comparable."""

REFERENCE_RECORDS = 6
"""How many records of other people a person's records are tested against, by default."""

CHOICE_EXAMPLES = 8
_TEXT_EXAMPLES = 2
_SHOWN_OTHERS = 3
_TOLD_FROM = 20
"""How many texts of other people a person's texts are told from, to say how well the reward predicts."""


@dataclass(frozen=True)
class FitConfig:
    """What decides a fit, beside the model and the prompts; ``Personalizer`` describes the fields.

    A pickle keeps no budget, no progress, no encoder and no record: its populations are those that ship.
    """

    scorer: LazyScorer
    rules: Rules = field(default_factory=Rules)
    space: Space = field(default_factory=load_space)
    reference: int = REFERENCE_RECORDS
    tested: int = TESTED_RECORDS
    half_life: float | None = None
    statements_per_call: int | None = None
    seed: int = 0
    statements: bool = True
    population: Population = field(default_factory=ShippedPopulation)
    budget: Budget = field(default_factory=Budget)
    progress: Progress | None = None
    encoder: Encoder | None = None
    reward_population: RewardPopulation | None = None
    reward_half_life: float | None = None

    def __post_init__(self) -> None:
        for life in (self.half_life, self.reward_half_life):
            if life is not None and not 0 < life < float("inf"):
                raise InputError(f"A half-life of {life:g} records.", remedy="Give one above 0, such as 12.")

    def halved(self, records: Sequence[Record]) -> FitConfig:
        """The same with half as many records of this kind that a model reads, but enough for a test."""
        others = max(self.rules.min_records, self.reference // 2)
        return replace(self, tested=count_half(self.tested, records, self.rules), reference=others)

    def __reduce__(self) -> tuple[type[FitConfig], tuple[Any, ...]]:
        counts = (self.reference, self.tested, self.half_life, self.statements_per_call)
        return FitConfig, (self.scorer, self.rules, self.space, *counts, self.seed, self.statements)


@dataclass(frozen=True)
class Fitter:
    """Runs the steps of a fit with the modules of a ``Personalizer``.

    Attributes:
        infer: proposes hypotheses from texts.
        extract: proposes hypotheses from choices.
        check: checks quotes.
        choice: compares two texts, where no scorer is at hand.
        lm: the default model; DSPy's configured one if None.
        config: everything else.
    """

    infer: InferHypotheses
    extract: ExtractPreferences
    check: CheckEvidence
    choice: WhichFits
    lm: dspy.LM | None
    config: FitConfig

    @property
    def scorer(self) -> Scorer | None:
        """Gives log-probabilities for the tests; None where the tests are by choice."""
        return self.config.scorer.resolve(resolve_model(self.infer, self.lm))

    @cached_property
    def directions(self) -> DirectionTest:
        """The test of dimensions by features."""
        config = self.config
        return DirectionTest(config.reward_population or load_population(), config.encoder, config.space)

    def fit(self, items: Sequence[RecordLike]) -> Fit:
        """Fit one person: first the reward, from all records together, then statements.

        Statements of texts and of choices are tested apart, each against other people's, and then combined. The order
        of records does not matter, but where older ones count less and have no time.
        """
        records = sort_by_time(as_records(items))
        user = check_one_user(records)
        skipped = pass_over(records)
        reward = self.learn_reward(user, records)
        bare = self.build_bare_profile(user, reward)
        if not self.config.statements:
            return Fit(bare, Memory(reward=reward), skipped=skipped)
        kinds = split_by_kind([record for record in records if record.id not in skipped])
        parts, unreadable = dict[str, FitPart](), 0
        with tally_answers() as tally:
            for some in kinds:
                # Of two kinds each gets half of what is read.
                fitter = replace(self, config=self.config.halved(some)) if len(kinds) > 1 else self
                parts[record_kind(some)], count = fitter._fit_kind(user, some)
                unreadable += count
        memory = replace(self.remember(parts, skipped=tuple(skipped)), reward=reward)
        profile = combine(parts, user).model_copy(update={"reward": reward}) if parts else bare
        return Fit(profile, memory, unreadable, tally.asked, tally.undecided, skipped)

    def learn_reward(self, user: str, records: Sequence[Record], known: LearnedReward | None = None) -> LearnedReward:
        """Learn the person's reward, or add records to it.

        Args:
            user: the person.
            records: the person's that are new.
            known: the reward of the earlier ones.

        Raises:
            InputError: ``known`` was learned with another encoder or population.
            ModelServerError: the encoder could not be reached.
        """
        config = self.config
        from_config: Any = {"population": config.reward_population, "encoder": config.encoder}
        with config.budget.step("encode"):
            if known is None:
                found = Reward.fit(records, **from_config, half_life=config.reward_half_life)
            else:
                before = Reward.from_profile(known, **from_config)
                found = replace(before.update(records), half_life=config.reward_half_life or before.half_life)
            others = [
                other
                for kind in (Sample, Edit)
                if (some := [record for record in records if isinstance(record, kind)])
                for other in choose_reference_records(config.population, user, some, _TOLD_FROM)
            ]
            return found.to_profile(others)

    def build_bare_profile(self, user: str, reward: LearnedReward) -> Profile:
        """A profile that has a reward alone."""
        made_with = Provenance(
            records=[row.record for row in reward.rows],
            choices=sum(row.kind != "text" for row in reward.rows),
            population=self.config.population.name,
            program=PROGRAM,
            seed=self.config.seed,
        )
        return Profile(user=user, reward=reward, provenance=made_with).touched()

    def _fit_kind(self, user: str, given: Sequence[Record]) -> tuple[FitPart, int]:
        """Fit texts or choices; also counts the proposals that could not be parsed."""
        # Without a time, what came first says nothing unless older records are to count less.
        steady = sorted(given, key=lambda each: (each.time is not None, each.id))
        every = given if self.config.half_life else sort_by_time(steady)
        records = every[-STATEMENT_RECORDS:]
        split = proposal_split(records, self.config.rules)
        seen = split[-SHOWN_RECORDS:]
        against, shown = self.draw_reference(user, records)
        free, invented, unreadable = self.propose(seen, shown)
        free = [replace(each, made_from=with_dependent(each.made_from, records)) for each in free]
        read = records_to_read(records, split, self.config.tested)
        limit = MAX_TESTED - len(free)
        dimensions = from_dimensions(self.config.space, records, self.directions.dimensions, limit=limit)
        candidates = [
            *free,
            # Half of an edit is the draft's; only the changes are the person's.
            *from_measurement([record for record in split if not isinstance(record, Edit)]),
            *from_edits(split),
            # Own texts shown as examples must be tested on the others; choices bear each other out.
            *(from_examples(read, CHOICE_EXAMPLES) if are_choices(records) else from_examples(split, _TEXT_EXAMPLES)),
            *dimensions,
        ]
        cheap = {each.hypothesis.id for each in candidates if self.directions.applies(each.hypothesis)}
        futile = find_untestable(candidates, records, read, against, self.config.rules, cheap=cheap)
        tested = [each for each in candidates if each.hypothesis.id not in futile]
        rows = [*records, *against]
        # Where features read the dimensions, a model tests only what it proposed.
        beside = against[: self.config.rules.min_records] if self.directions.dimensions else against
        matrices = self.test(tested, records, against, user=user, rows=rows, read=[*read, *beside])
        about = self.find_subjects(rows)
        chosen = self.select(tested, matrices, user, about)
        untested = [drop(h, futile[h.id]) for h in (each.hypothesis for each in candidates) if h.id in futile]
        chosen = replace(chosen, dropped=[*chosen.dropped, *untested])
        profile = self.build_profile(records, against, chosen, matrices, invented=invented)
        # It rests on all records by its reward.
        rests_on = {"records": [each.id for each in every], "choices": len(every) if are_choices(every) else 0}
        profile = profile.model_copy(update={"provenance": profile.provenance.model_copy(update=rests_on)})
        # What comes later may make older records count less: they are kept in the order in which they came.
        kept = tuple(matrix.arranged(user, [record.id for record in given]) for matrix in matrices)
        return FitPart(profile, tuple(candidates), kept, about=about).with_records(given), unreadable

    def draw_reference(self, user: str, records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
        """Draw other people's records that are like the person's.

        Returns:
            Those to test against, and those to show the model that proposes. They are disjoint: a statement that was
            proposed as untrue of a record gains by a test on it.
        """
        population, count = self.config.population, self.config.reference
        if are_choices(records):
            # The rejected answer stands beside each choice; nobody else's need be shown.
            return choose_reference_records(population, user, records, count), []
        found = choose_reference_records(population, user, records, count + _SHOWN_OTHERS)
        # With few records of others, most of them test.
        shown = max(0, min(_SHOWN_OTHERS, max(len(found) - count, (len(found) - 1) // 3)))
        return found[: len(found) - shown], found[len(found) - shown :]

    def find_subjects(self, records: Sequence[Record]) -> Subjects:
        """For each scope of the space, the ids of the records under it."""
        return find_subjects(self.config.space, records)

    def propose(self, records: Sequence[Record], others: Sequence[Record]) -> tuple[list[Candidate], int, int]:
        """Ask the model for hypotheses.

        Args:
            records: the person's.
            others: other people's, to compare texts with.

        Returns:
            Candidates, the number of invented quotes, and the number of answers that could not be parsed.
        """
        chosen = are_choices(records)
        if not records or not (chosen or others):
            return [], 0, 0
        with self.config.budget.step("infer"), self.use_model():
            if chosen:
                found = self.extract(records=records, progress=self.config.progress)
            else:
                found = self.infer(records=records, others=others, progress=self.config.progress)
        made_from = frozenset(record.id for record in records)
        return [Candidate(each, made_from) for each in found.hypotheses], found.invented, found.unreadable

    def test(
        self,
        candidates: Sequence[Candidate],
        records: Sequence[Record],
        others: Sequence[Record],
        *,
        user: str,
        rows: Sequence[Record],
        read: Sequence[Record] | None = None,
    ) -> list[ScoreMatrix]:
        """Test candidates, the cheapest test first.

        Args:
            candidates: what to test.
            records: the person's.
            others: other people's; tests by choice show the person's texts beside these.
            user: the person.
            rows: the records to test on.
            read: those of them that a model reads; all if None.

        Returns:
            One matrix for each test, of shape (rows or read, candidates that the test applies to).
        """
        made_from = {candidate.hypothesis.id: candidate.made_from for candidate in candidates}
        left = [candidate.hypothesis for candidate in candidates]
        matrices = []
        for test in self._choose_tests(candidates, records, others):
            # What a cheap test reads, a dear one need not.
            hypotheses = [each for each in left if test.applies(each)]
            left = [each for each in left if not test.applies(each)]
            with self.config.budget.step("encode" if isinstance(test, DirectionTest) else "score"):
                progress = self.config.progress
                some = rows if read is None or isinstance(test, MeasurementTest | DirectionTest) else read
                matrices.append(fill(test, hypotheses, some, made_from=made_from, user=user, progress=progress))
        return matrices

    def _choose_tests(
        self, candidates: Sequence[Candidate], records: Sequence[Record], others: Sequence[Record]
    ) -> list[HypothesisTest]:
        measurement = MeasurementTest({c.hypothesis.id: c.claim for c in candidates if c.claim is not None})
        # Choices are weighed all together, so none is left unread.
        scorer, screen = self.scorer, None if are_choices(records) else Screen(records[0].user)
        if scorer is not None:
            read: list[HypothesisTest] = [measurement, self.directions, LikelihoodTest(scorer, screen=screen)]
            # Choices as examples are judged by the cells of statements, without a test of their own.
            return read if are_choices(records) else [*read, ExampleTest(scorer)]
        beside = {mine.id: own_text(others[i % len(others)]) for i, mine in enumerate(records) if others}
        crowd = {o.id: own_text(others[(i + 1) % len(others)]) for i, o in enumerate(others)}
        size = self.config.statements_per_call
        by_choice = ChoiceTest(None, {**crowd, **beside}, screen=screen, question=self.choice, statements_per_call=size)
        return [measurement, self.directions, by_choice]

    def select(
        self, candidates: Sequence[Candidate], matrices: Sequence[ScoreMatrix], user: str, about: Subjects
    ) -> Selection:
        """Select among candidates by their cells; with a half-life, older evidence counts less."""
        if self.config.half_life is not None:
            matrices = [matrix.aged(user, self.config.half_life) for matrix in matrices]
        return select([each.hypothesis for each in candidates], matrices, user, self.config.rules, about)

    def build_profile(
        self,
        records: Sequence[Record],
        against: Sequence[Record],
        chosen: Selection,
        matrices: Sequence[ScoreMatrix],
        *,
        before: Profile | None = None,
        invented: int = 0,
    ) -> Profile:
        """Build the profile of a selection, with evidence for each statement.

        Args:
            records: the person's, or the newest of them.
            against: other people's.
            chosen: the selection.
            matrices: the tests.
            before: the earlier profile, whose evidence and examples are carried over where they still hold.
            invented: how many quotes of the model stand in no record.
        """
        scorer = self.scorer
        carried = carry_evidence(before, chosen.kept)
        with self.config.budget.step("evidence"), self.use_model():
            quoted = []
            for each in carried:
                features = self.directions if self.directions.applies(each) else None
                with self.config.budget.step("encode" if features else "evidence"):
                    turned = each.id in chosen.turned
                    quoted.append(find_evidence(each, records, matrices, scorer, turned=turned, features=features))
            kept = self.check(quoted, against, scorer).hypotheses
        model = resolve_model(self.extract if are_choices(records) else self.infer, self.lm)
        made_with = Provenance(
            model=str(getattr(model, "model", "")),
            scorer=scorer.name if scorer else "",
            population=self.config.population.name,
            program=PROGRAM,
            seed=self.config.seed,
        )
        chosen = replace(chosen, kept=kept)
        return build_profile(chosen, records, made_with, self.config.space, before=before, invented=invented)

    def remember(
        self, parts: Mapping[str, FitPart], waiting: Sequence[Record] = (), skipped: Sequence[str] = ()
    ) -> Memory:
        """Make the memory of a fit, with the settings that its cells depend on."""
        scorer = self.scorer
        model = str(getattr(resolve_model(self.choice, self.lm), "model", ""))
        settings = {
            "program": PROGRAM,
            "scorer": scorer.name if scorer else model,
            "space": self.config.space.fingerprint,
            "features": self.directions.scorer,
        }
        return Memory(parts, tuple(waiting), tuple(skipped), settings)

    def use_model(self) -> AbstractContextManager[None]:
        """DSPy's context with the default model."""
        context: AbstractContextManager[None] = dspy.context(lm=self.lm) if self.lm is not None else dspy.context()
        return context
