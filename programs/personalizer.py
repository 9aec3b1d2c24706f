"""Fits a reward and tested statements to one person, and answers for them, as one DSPy module."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress
from hyperalign.errors import InputError, check_counts, check_seed
from hyperalign.population import Population, ShippedPopulation
from hyperalign.profile import Profile
from hyperalign.records import RecordLike
from hyperalign.scores import Scorer
from hyperalign.space import Space, load_space

from .binary_choice import LazyScorer, ScorerChoice
from .candidates import TESTED_RECORDS
from .evidence import CheckEvidence
from .extract import ExtractPreferences
from .fit_result import Fit, Memory
from .fitting import PROGRAM, REFERENCE_RECORDS, FitConfig, Fitter
from .generate import Generate
from .hypothesis_tests.choice import WhichFits
from .infer import InferHypotheses
from .program import Program
from .reward import Encoder, RewardPopulation, load_population
from .selection import Rules
from .strategies import Strategy
from .update import Update, update

__all__ = ["Fit", "Personalizer"]


class Personalizer(Program):
    """Learns what a person would choose, puts it into tested statements, and answers as the person would.

    ``save`` and ``load`` keep the prompts. A program that is saved whole holds no key and no record: when it is loaded,
    its populations are those that ship, its scorer the model's own, its budget empty, and it has no encoder.

    Args:
        lm: the model that infers and answers; DSPy's configured one if None. ``set_lm`` takes precedence.
        scorer: gives log-probabilities for the test by likelihood; ``"own"`` is the model's own, where it offers one.
            With None, statements are tested by choice.
        population: other people; the example people that ship if None.
        strategy: how a profile is put before the model, by name or your own.
        rules: what it takes to be kept.
        space: the dimensions tried beside free hypotheses; the shipped ones if None.
        reference: how many records of other people to test statements against.
        tested: how many of the person's records a model reads to test statements; half as many of texts and of choices
            where there are both.
        half_life: the number of newer records after which a statement's evidence counts half; None counts all alike.
        encoder: embeds texts for the reward, where ``reward_population`` knows it; without one, features are measured.
        reward_population: the features of the reward, and other people's weights; the one that ships if None.
        reward_half_life: the number of newer records after which one counts half in the reward; None counts all alike.
        statements: whether to find and test statements. The reward alone takes no language model.
        best_of: how many drafts to choose an answer from.
        statements_per_call: how many statements a test by choice puts in one call; the model's own default if None.
        budget: where steps are booked, and the calls of a model that has no budget of its own.
        progress: called with each step's progress.
        seed: recorded in the profile's provenance.

    Raises:
        InputError: a half-life is not above 0, a number of records is below 1, or the seed is out of range.
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
        reference: int = REFERENCE_RECORDS,
        tested: int = TESTED_RECORDS,
        half_life: float | None = None,
        encoder: Encoder | None = None,
        reward_population: RewardPopulation | None = None,
        reward_half_life: float | None = None,
        statements: bool = True,
        best_of: int = 1,
        statements_per_call: int | None = None,
        budget: Budget | None = None,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_counts(reference=reference, tested=tested, statements_per_call=statements_per_call)
        check_seed(seed)
        if budget is not None and lm is not None and hasattr(lm, "booked_in"):
            lm = lm.booked_in(budget)
        self.infer = InferHypotheses()
        self.extract = ExtractPreferences()
        self.check = CheckEvidence()
        self.choice = WhichFits(lm)
        self.generate = Generate(strategy, best_of=best_of, scorer=scorer, encoder=encoder)
        self._model = lm
        self._config = FitConfig(
            LazyScorer(scorer),
            rules=rules or Rules(seed=seed),
            space=space or load_space(),
            reference=reference,
            tested=tested,
            half_life=half_life,
            statements_per_call=statements_per_call,
            seed=seed,
            statements=statements,
            encoder=encoder,
            reward_population=reward_population,
            reward_half_life=reward_half_life,
            population=population or ShippedPopulation(),
            budget=budget or Budget(),
            progress=progress,
        )

    def fit(self, records: Sequence[RecordLike]) -> Profile:
        """Fit one person.

        Args:
            records: the person's, as records, plain texts, or dicts with the fields of a record. Four are the minimum
                that says something; eight are better.

        Returns:
            The profile, with a reward that predicts choices and with tested statements; there may be none.

        Raises:
            InputError: there is no record, there are several users, or the encoder is not that of the population.
            ModelError: the model can't be used, or most of its answers can't (``UnusableAnswersError``).
            BudgetExceededError: a cap was reached.
        """
        return self.fit_detailed(records).profile

    def fit_detailed(self, records: Sequence[RecordLike]) -> Fit:
        """``fit``, with all candidates, score matrices and the memory for updates beside the profile."""
        return self._fitter.fit(records)

    def update(self, records: Sequence[RecordLike], memory: Memory | None = None) -> Update:
        """Add new records without reading the old ones again; with ``half_life``, older evidence counts less.

        Args:
            records: the new records of one person, the oldest first, as ``fit`` takes them.
            memory: that of the last ``fit_detailed`` or ``update``; None for a new person.

        Raises:
            InputError: there is no record, there are several users, or the memory is of another model, space, encoder
                or population.
            ModelError: the model can't be used, or most of its answers can't.
            BudgetExceededError: a cap was reached.
        """
        return update(self._fitter, records, memory)

    def forward(
        self, prompt: str, records: Sequence[RecordLike] | None = None, profile: Profile | None = None
    ) -> dspy.Prediction:
        """Answer a prompt; fit first if no profile is given.

        Args:
            prompt: what to answer.
            records: the person's records, as ``fit`` takes them; required without a profile.
            profile: the person's profile.

        Returns:
            ``answer``, ``drafts`` and ``profile``.

        Raises:
            InputError: neither records nor a profile are given.
        """
        profile = profile or self._fit_quietly(records)
        with self._config.budget.step("generate"), self._fitter.use_model():
            reply = self.generate(prompt=prompt, profile=profile)
        return dspy.Prediction(answer=reply.answer, drafts=reply.drafts, profile=profile)

    async def aforward(
        self, prompt: str, records: Sequence[RecordLike] | None = None, profile: Profile | None = None
    ) -> dspy.Prediction:
        """``forward``, asynchronously; a fit runs in a thread."""
        profile = profile or await asyncio.to_thread(self._fit_quietly, records)
        with self._config.budget.step("generate"), self._fitter.use_model():
            reply = await self.generate.acall(prompt=prompt, profile=profile)
        return dspy.Prediction(answer=reply.answer, drafts=reply.drafts, profile=profile)

    def _fit_quietly(self, records: Sequence[RecordLike] | None) -> Profile:
        if not records:
            raise InputError("There is neither a profile nor a record.", remedy="Give records= or profile=.")
        # A stream is for the answer, not for the calls of a fit.
        with dspy.context(send_stream=None):
            return self.fit(records)

    @property
    def lm(self) -> dspy.LM | None:
        """The model that infers and answers; None is DSPy's configured one."""
        return self.infer.propose.lm or self._model

    @property
    def scorer(self) -> Scorer | None:
        """What gives log-probabilities for the tests; None where they are by choice."""
        return self._fitter.scorer

    @property
    def encoder(self) -> Encoder | None:
        """What embeds texts for the reward; None where they are read by measured features alone."""
        return self._config.encoder

    @property
    def settings(self) -> dict[str, Any]:
        """What decides a fit beside the model and the prompts, as JSON-able data: evaluations are cached by it."""
        config = self._config
        return {
            "program": PROGRAM,
            "rules": asdict(config.rules),
            "space": config.space.fingerprint,
            "population": sorted(record.id for record in config.population.records("")),
            "reference": config.reference,
            "tested": config.tested,
            "statements_per_call": config.statements_per_call,
            "seed": config.seed,
            "statements": config.statements,
            "encoder": config.encoder.name if config.encoder else "",
            "reward_population": (config.reward_population or load_population()).name,
            **({"half_life": config.half_life} if config.half_life is not None else {}),
            **({"reward_half_life": config.reward_half_life} if config.reward_half_life is not None else {}),
        }

    @property
    def _fitter(self) -> Fitter:
        # Made anew each time: DSPy may replace a module, and a copy of the program has its own.
        return Fitter(self.infer, self.extract, self.check, self.choice, self._model, self._config)
