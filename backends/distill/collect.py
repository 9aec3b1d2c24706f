"""Collects traces: a teacher answers prompts for people, and every answer is saved as it arrives; or their own texts.

With several drafts, the best and the worst become the chosen and rejected answers, as in WikiPersona (Tang et al. 2025,
section 4); here the person's reward ranks them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress, run_concurrently
from hyperalign.errors import InputError, ModelOutputError
from hyperalign.profile import Profile
from hyperalign.programs.generate import Generate
from hyperalign.programs.guided import Effort, GuidedGenerate
from hyperalign.programs.replies import count_answer, tally_answers
from hyperalign.programs.reward import Reward
from hyperalign.programs.strategies import PROFILE_WORDS, Strategy
from hyperalign.records import Pair, Record, own_text
from hyperalign.runs import Journal, journaling, track_cost
from hyperalign.scores import Message

from ..models.encoders import open_reward
from ..models.replies import truncated
from .traces import (
    FilteredTraces,
    Trace,
    TraceFilter,
    append_trace,
    cut_thoughts,
    hash_parts,
    hash_profile,
    read_traces,
)

__all__ = [
    "OWN_TEXTS",
    "GuidedTeacher",
    "Metric",
    "RewardMetric",
    "Teacher",
    "build_demonstrations",
    "build_unanswered",
    "collect_traces",
    "describe_person",
    "find_metric",
]


OWN_TEXTS = "the people's own texts"
"""What stands in the place of a teacher where there is none but the people themselves."""


class Metric(Protocol):
    """How well an answer fits a person; higher is better."""

    def __call__(self, profile: Profile, prompt: str, answer: str, *, is_cut: bool = False) -> float:
        """Score an answer.

        Args:
            profile: the person.
            prompt: what it answers.
            answer: the answer.
            is_cut: whether it stopped at a number of tokens.
        """
        ...


class RewardMetric:
    """The expected reward of an answer over a usual text, in nats; 0 for a person without a reward."""

    def __init__(self) -> None:
        self._opened: dict[str, Reward] = {}

    def __call__(self, profile: Profile, prompt: str, answer: str, *, is_cut: bool = False) -> float:
        """Score an answer; see ``Metric``.

        Raises:
            InputError: the reward's encoder or population is not known here.
            MissingExtraError: the part that runs the encoder is not installed.
        """
        if profile.reward is None:
            return 0.0
        key = hash_profile(profile)
        if key not in self._opened:
            self._opened[key] = open_reward(profile.reward)
        return float(self._opened[key].score(prompt, [answer], is_cut=is_cut)[0])


_METRICS: dict[str, Callable[[], Metric]] = {"reward": RewardMetric}


def find_metric(name: str) -> Metric:
    """The metric of a name, as a card has it.

    Raises:
        InputError: there is none.
    """
    if name not in _METRICS:
        raise InputError(
            f"There is no metric {name!r} of answers.", remedy=f"Distill again by one of: {', '.join(_METRICS)}."
        )
    return _METRICS[name]()


@dataclass(frozen=True)
class GuidedTeacher:
    """Steers a teacher's answers by the people's own texts, as ``generate`` does.

    Attributes:
        program: writes the answers.
        effort: what it spends on one.
        name: of the model, where a writer continues its answers; empty where the teacher's ``lm`` drafts.
        records: by user; the examples of a profile stand in for those of others.
        seed: of the program's sampling.
    """

    program: GuidedGenerate
    effort: Effort
    name: str = ""
    records: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    seed: int = 0
    _bare: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def fingerprint(self, profile: Profile) -> str:
        """Hash what guides the answers for a person, and how."""
        texts = [each.model_dump_json() for each in self._of(profile) if not isinstance(each, Pair)]
        others = sorted(record.id for record in self.program.population.records(profile.user))
        return hash_parts(self.effort, str(self.seed), *texts, *others)

    def _of(self, profile: Profile) -> Sequence[Record]:
        return self.records.get(profile.user) or profile.examples

    def write(self, profile: Profile, prompt: str) -> list[str]:
        """The guided answer, and the model's own, which a writer writes once for everybody."""
        records = self._of(profile)
        known = self._bare.get(prompt) if self.name else None
        found = self.program(prompt=prompt, profile=profile, records=records, bare=known)
        self._bare[prompt] = str(found.bare)
        return [str(found.answer), str(found.bare)]


@dataclass(frozen=True)
class Teacher:
    """The model that answers, and its settings.

    Attributes:
        lm: the model; None for methods in which the student generates, and where a writer continues answers.
        strategy: how the profile is put into the prompt.
        drafts: drafts per prompt; from two on, the worst is kept as the rejected answer.
        metric: name of the metric that scores and ranks answers.
        concurrency: prompts at once.
        guide: steers the answers; None only tells the model.
    """

    lm: dspy.LM | None
    strategy: Strategy
    drafts: int = 1
    metric: str = "reward"
    concurrency: int = 1
    guide: GuidedTeacher | None = None

    @property
    def name(self) -> str:
        """The model's name; empty without a model."""
        if self.lm is not None:
            return str(self.lm.model)
        return self.guide.name if self.guide is not None else ""

    def score(self, profile: Profile, prompt: str, answer: str) -> float:
        """Score an answer by the teacher's metric."""
        return self._score(profile, prompt, answer)

    @cached_property
    def _score(self) -> Metric:
        return find_metric(self.metric)


def collect_traces(
    teacher: Teacher,
    profiles: Sequence[Profile],
    prompts: Sequence[str],
    path: Path,
    *,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> list[Trace]:
    """Ask a teacher every prompt for every person, and save the answers.

    Args:
        teacher: the model and its settings.
        profiles: one for each person.
        prompts: the prompts.
        path: the traces file; answers that it already holds are not requested again, and neither are those in
            ``calls.jsonl`` beside it. ``cost.json`` there says what all sittings have spent.
        budget: where calls are booked.
        progress: called after each answer.

    Returns:
        One trace for each person and prompt, in that order.

    Raises:
        ModelError: the teacher can't be used; answers so far are saved.
        BudgetExceededError: a limit was reached; answers so far are saved.
        StorageError: the disk is full or not writable.
    """
    known = {trace.id: trace for trace in read_traces(path)}
    wanted: dict[str, tuple[Profile, str]] = {}
    for profile in profiles:
        settings = [profile.user, hash_profile(profile), teacher.name, teacher.strategy.name, teacher.metric]
        settings.append(str(teacher.drafts) if teacher.guide is None else teacher.guide.fingerprint(profile))
        settings.append(profile.reward.model_dump_json() if profile.reward is not None else "")
        wanted |= {hash_parts(*settings, prompt): (profile, prompt) for prompt in prompts}
    missing = [id_ for id_ in wanted if id_ not in known]
    done = len(wanted) - len(missing)
    budget = budget or Budget()

    def answer(id_: str) -> Trace:
        with budget.step("traces"), dspy.context(lm=teacher.lm):
            return _collect_one(id_, teacher, *wanted[id_])

    def keep(trace: Trace) -> None:
        nonlocal done
        append_trace(path, trace)
        known[trace.id] = trace
        done += 1
        if progress is not None:
            progress("traces", done, len(wanted))

    journal = Journal(path.with_name("calls.jsonl"))
    with track_cost(path.parent, budget), journaling(teacher.lm, journal), tally_answers():
        run_concurrently(answer, missing, teacher.concurrency, keep=keep)
    return [known[id_] for id_ in wanted]


def build_unanswered(teacher: Teacher, profiles: Sequence[Profile], prompts: Sequence[str]) -> list[Trace]:
    """Build traces without answers, for methods in which the student generates."""
    # ``context`` compares with the student that has the profile, so it is told what ``generate`` tells it.
    generate = Generate(teacher.strategy, scorer=None)
    return [
        Trace(
            id=hash_parts(profile.user, hash_profile(profile), teacher.strategy.name, prompt),
            answer="",
            profile_context=_join_context(generate.messages(profile, prompt), prompt),
            **_common_fields(teacher, profile, prompt),
        )
        for profile in profiles
        for prompt in prompts
    ]


def build_demonstrations(
    strategy: Strategy, profiles: Sequence[Profile], records: Mapping[str, Sequence[Record]], held_out: Sequence[str]
) -> FilteredTraces:
    """Build traces of people's own texts, for method ``ditto``.

    Args:
        strategy: how the student without the adapter is given the profile, to be compared with.
        profiles: one for each person.
        records: by user. Texts that answer a prompt, and corrected drafts, are demonstrations; choices are not, since
            somebody else wrote them.
        held_out: prompts that the gate judges the adapter by.

    Returns:
        The demonstrations; those that can't teach are counted by reason: texts without a prompt, or whose prompt is
        held out, under three words, in loops, repeated, or with a mail address, telephone or account number.
    """
    dropped: Counter[str] = Counter()
    found: list[Trace] = []
    for profile in profiles:
        for record in records.get(profile.user, ()):
            if isinstance(record, Pair):
                continue
            prompt = (record.prompt or "").strip()
            if not prompt or prompt in held_out:
                dropped["held out for the gate" if prompt else "without a prompt"] += 1
                continue
            own = own_text(record)
            common = _common_fields(Teacher(None, strategy), profile, prompt) | {"teacher": OWN_TEXTS}
            found.append(Trace(id=hash_parts(profile.user, prompt, own), answer=own, **common))
    kept = TraceFilter(threshold=None, keep_refusals=True)(found)
    return FilteredTraces(kept.traces, dict(dropped + Counter(kept.dropped)))


def describe_person(strategy: Strategy, profile: Profile, prompt: str) -> str:
    """Return what a strategy tells the teacher about a person, without the prompt; empty for nothing."""
    return _join_context(strategy.condition(profile, prompt, PROFILE_WORDS), prompt)


def _join_context(turns: Sequence[Message], prompt: str) -> str:
    before = [turn["content"] for turn in turns[:-1] if turn["content"].strip()]
    return "\n\n".join([*before, turns[-1]["content"].removesuffix(prompt).strip()]).strip()


def _common_fields(teacher: Teacher, profile: Profile, prompt: str) -> dict[str, Any]:
    return {
        "user": profile.user,
        "prompt": prompt,
        "teacher": teacher.name,
        "strategy": teacher.strategy.name,
        "profile": hash_profile(profile),
        "hypotheses": tuple(hypothesis.id for hypothesis in profile.hypotheses),
    }


def _drafts(teacher: Teacher, profile: Profile, prompt: str) -> list[str]:
    if teacher.guide is not None:
        return teacher.guide.write(profile, prompt)
    # All drafts are needed, so Generate does not choose among them.
    generate = Generate(teacher.strategy, best_of=teacher.drafts, scorer=None)
    return list(generate(prompt=prompt, profile=profile).drafts)


def _collect_one(id_: str, teacher: Teacher, profile: Profile, prompt: str) -> Trace:
    with truncated() as truncated_texts:
        try:
            said = _drafts(teacher, profile, prompt)
            drafts = [draft for draft in map(cut_thoughts, said) if draft]
            count_answer(True, "")
        except ModelOutputError as error:
            drafts = []  # saved as an empty answer, so that it is not requested again
            count_answer(False, error.message)
    cut = {cut_thoughts(text) for text in truncated_texts}
    complete = [draft for draft in drafts if draft not in cut]
    scored = [(teacher.score(profile, prompt, draft), draft) for draft in complete or drafts]
    ranked = sorted(scored, key=lambda each: -each[0])
    score, answer = ranked[0] if ranked else (None, "")
    # Drafts that score the same teach nothing about what to turn down.
    rejected_score, rejected = ranked[-1] if ranked and ranked[-1][0] < ranked[0][0] else (None, "")
    return Trace(
        id=id_,
        answer=answer,
        rejected=rejected,
        profile_context=describe_person(teacher.strategy, profile, prompt),
        metric=teacher.metric,
        score=score,
        rejected_score=rejected_score,
        truncated=bool(drafts) and not complete,
        **_common_fields(teacher, profile, prompt),
    )
