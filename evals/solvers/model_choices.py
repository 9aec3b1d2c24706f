"""Solver of choices for the table: what strategies that ask a model say of each case, kept as they end.

By likelihood, a strategy's score is its gain: how much more it raises the preferred answer than the other one, in nats
per token, beyond the prompt alone. By letter, by tested statements, by SynthesizeMe and by the reward that reads
statements, it is the log-odds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import dspy

from hyperalign.concurrency import Progress, concurrency_of, run_concurrently
from hyperalign.errors import HyperalignError, InputError
from hyperalign.profile import Profile
from hyperalign.programs.judge import Judge
from hyperalign.programs.personalizer import Personalizer
from hyperalign.programs.reward.features import Encoder
from hyperalign.programs.reward.population import RewardPopulation, load_population
from hyperalign.programs.strategies import STRATEGIES, strategy
from hyperalign.records import Record, other_text, own_text, prompt_of
from hyperalign.runs import Journal, journaling
from hyperalign.scores import Scorer

from ..cases import Case, records_id
from ..choices import REWARD_STATEMENTS, ChoiceScore, SampledTask, Scores
from ..conditions import BARE, FEW_SHOT, NONE, VERIFIED, Profiles, few_shot_profile
from ..metrics.calibration import to_log_odds
from ..runner import FATAL, EvalFolder
from . import synthesizeme
from .choice import ask_letters, pick_probability, read_margin
from .reward import RewardSolver, ToneReader, with_tones
from .synthesizeme import Synthesized, SynthesizeMe

__all__ = ["MODEL_STRATEGIES", "ModelChoices"]

FEW_SHOT_LETTER = "few-shot-letter"
MODEL_STRATEGIES = (
    *(name for name in STRATEGIES if name != NONE),
    FEW_SHOT_LETTER,
    synthesizeme.NAME,
    REWARD_STATEMENTS,
)
"""Strategies of the choice table that ask a model."""


class ModelChoices:
    """Scores strategies that ask a model.

    Args:
        program: makes the program that fits people of a task; its scorer reads likelihoods, and without one choices are
            asked by letter.
        strategies: names from ``MODEL_STRATEGIES``.
        population: of ``reward+statements``; the one that ships if None.
        encoder: of the same, where the population has axes for it.
        seed: of SynthesizeMe's random choices.
        progress: called after each case.

    Raises:
        InputError: there is no such strategy.
    """

    def __init__(
        self,
        program: Callable[[SampledTask], Personalizer],
        strategies: Sequence[str],
        *,
        population: RewardPopulation | None = None,
        encoder: Encoder | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> None:
        if unknown := sorted(set(strategies) - set(MODEL_STRATEGIES)):
            raise InputError(
                f"The choice table has no strategy {unknown[0]!r}.",
                remedy=f"Choose from: reward, collaborative, {', '.join(MODEL_STRATEGIES)}.",
            )
        self._program = program
        self._strategies = tuple(name for name in strategies if name != REWARD_STATEMENTS)
        self._reads_statements = REWARD_STATEMENTS in strategies
        self._population = population or load_population()
        self._encoder = encoder
        self._seed = seed
        self._progress = progress

    def __call__(self, sampled: SampledTask, folder: EvalFolder) -> Scores:
        """Scores of all cases of a task; a case that failed under a strategy is left out, and tried again next time.

        Raises:
            BudgetExceededError: a cap was reached; what is done is kept.
            HyperalignError: the model cannot be used at all.
            InputError: statements are to be read without a scorer.
        """
        program = self._program(sampled)
        journal = Journal(folder.path / "scores.jsonl")
        task = _TaskChoices(
            sampled,
            program,
            Profiles(program.fit, folder.profiles, progress=self._progress),
            journal,
            SynthesizeMe(program.scorer, seed=self._seed),
        )
        waiting = [(name, case) for case in sampled.cases for name in self._strategies]
        found: Scores = {name: {} for name in self._strategies}
        ended = 0

        def keep(result: tuple[str, str, ChoiceScore | None]) -> None:
            nonlocal ended
            ended += 1
            name, case, score = result
            if score is not None:
                found[name][case] = score
            if self._progress is not None:
                self._progress(sampled.label, ended, len(waiting))

        with dspy.context(**({"lm": program.lm} if program.lm else {})), journaling(program.lm, folder.journal):
            run_concurrently(lambda item: task.score(*item), waiting, concurrency_of(program.lm), keep=keep)
        if self._reads_statements:
            found[REWARD_STATEMENTS] = self._read_statements(sampled, program.scorer, journal)
        return found

    def _read_statements(self, sampled: SampledTask, scorer: Scorer | None, journal: Journal) -> dict[str, ChoiceScore]:
        """Log-odds by the reward that reads statements, too; the scorer's cache keeps what a stopped run has read."""
        key = f"{sampled.label}/{REWARD_STATEMENTS}"
        kept = journal.get(key)
        if kept is None:
            if scorer is None:
                raise InputError(
                    f"'{REWARD_STATEMENTS}' needs log-probabilities of statements.",
                    remedy="Name a model that gives them, such as --scorer local:qwen2.5-coder-1.5b-instruct.",
                )
            base, encoder = self._population, self._encoder
            if encoder is None or base.space.encoder_axes is None:
                base, encoder = base.without_encoder(), None
            reader = ToneReader(scorer, encoder=encoder, progress=self._progress)
            # Of dev people: how texts differ in tone is not learned from those that are reported.
            known = with_tones(base, reader, _texts_of(sampled.dev or sampled.cases))
            solver = RewardSolver(sampled.task, sampled.cases, sampled.strangers, base=known, encoder=reader)
            read = {case.id: solver(case) for case in sampled.cases}
            kept = {
                case: [to_log_odds(each.own), None if each.other is None else to_log_odds(each.other)]
                for case, each in read.items()
            }
            journal.put(key, kept)
        return {case: ChoiceScore(*odds) for case, odds in kept.items()}


def _texts_of(cases: Sequence[Case]) -> list[tuple[str, str]]:
    """Prompt and text of both answers of cases, and of all records, each once."""
    found = [(case.prompt, text) for case in cases for text in (case.chosen, case.rejected)]
    for case in cases:
        for record in case.records:
            texts = own_text(record), other_text(record)
            found += [(prompt_of(record), text) for text in texts if text is not None]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class _TaskChoices:
    sampled: SampledTask
    program: Personalizer
    profiles: Profiles
    journal: Journal
    synthesize: SynthesizeMe
    locks: dict[str, threading.Lock] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def score(self, name: str, case: Case) -> tuple[str, str, ChoiceScore | None]:
        """Name, case id, and the score, from the journal if it is there; None where it cannot be had."""
        key = f"{self.sampled.label}/{name}/{case.id}"
        kept = self.journal.get(key)
        if kept is None:
            try:
                own, other = self._compute(name, case)
            except FATAL:
                raise
            except HyperalignError:
                return name, case.id, None
            kept = {"own": own, "other": other}
            self.journal.put(key, kept)
        score = None if kept["own"] is None else ChoiceScore(kept["own"], kept["other"])
        return name, case.id, score

    def _compute(self, name: str, case: Case) -> tuple[float | None, float | None]:
        """The scores with the person's own records and with another person's."""
        stranger = self.sampled.strangers.get(case.id)
        people = [case.records] if stranger is None else [case.records, stranger.records]
        own, *other = self._scores(name, case, people)
        return own, other[0] if other else None

    def _scores(self, name: str, case: Case, people: Sequence[tuple[Record, ...]]) -> Iterator[float | None]:
        scorer = self.program.scorer
        if name == synthesizeme.NAME:
            for records in people:
                learned = self._learn(records)
                yield None if learned is None else to_log_odds(self.synthesize.probability(learned, case))
            return
        profiles = [self._profile(name, case, records) for records in people]
        if name == VERIFIED:
            judge = Judge(scorer, lm=None if scorer is not None else self.program.lm)
            for profile in profiles:
                # Its tested statements, not the reward, which is a strategy of its own.
                said = profile.model_copy(update={"reward": None})
                yield to_log_odds(pick_probability(judge, case, said))
            return
        shown = strategy(FEW_SHOT if name == FEW_SHOT_LETTER else name)
        if scorer is None or name == FEW_SHOT_LETTER:
            for profile in profiles:
                yield to_log_odds(ask_letters(scorer, case, shown, profile).chosen)
            return
        bare = read_margin(scorer, case, BARE.strategy, BARE.profile)
        for profile in profiles:
            yield (read_margin(scorer, case, shown, profile) - bare).mean

    def _profile(self, name: str, case: Case, records: tuple[Record, ...]) -> Profile:
        found = few_shot_profile(records) if name in {FEW_SHOT, FEW_SHOT_LETTER} else self.profiles(records)
        return found.model_copy(update={"stated": [*found.stated, case.stated]}) if case.stated else found

    def _learn(self, records: tuple[Record, ...]) -> Synthesized | None:
        """What SynthesizeMe makes of one person, once, however many of their cases are asked at a time."""
        key = f"{synthesizeme.NAME}/{records_id(records)}"
        with self.lock:
            lock = self.locks.setdefault(key, threading.Lock())
        with lock:
            kept = self.journal.get(key)
            if kept is None:
                learned = self.synthesize.learn(records)
                kept = {"learned": None if learned is None else learned.to_json()}
                self.journal.put(key, kept)
        return None if kept["learned"] is None else Synthesized.from_json(kept["learned"])
