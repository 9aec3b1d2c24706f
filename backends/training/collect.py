"""A teacher answers prompts for people, and each answer is kept as a trace as it ends.

A run that was killed goes on: what the file of traces holds is not asked again. Where several drafts are asked for,
the best and the worst by the person's own measure are kept, as WikiPersona makes preference rows from diverse
candidates (Tang et al. 2025, section 4). This file knows no runtime and no training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dspy

from hyperalign.budget import Budget
from hyperalign.profile import Profile
from hyperalign.programs.generate import Generate
from hyperalign.programs.score import Progress
from hyperalign.programs.strategies import PROFILE_WORDS, Strategy
from hyperalign.style import likeness

from .traces import Trace, append_trace, profile_hash, read_traces, trace_id

__all__ = ["METRICS", "Metric", "Teacher", "collect", "style_likeness", "told", "unanswered"]

Metric = Callable[[Profile, str, str], float]
"""How well an answer to a prompt fits a person: ``metric(profile, prompt, answer)``; more is better."""


def style_likeness(profile: Profile, prompt: str, answer: str) -> float:
    """Log-odds in nats that an answer is the person's and not anybody's, by measured style; 0 where none is known."""
    del prompt
    return likeness(answer, profile.style)


METRICS: dict[str, Metric] = {"style": style_likeness}
"""By name, as the command line has them."""


@dataclass(frozen=True)
class Teacher:
    """Who answers, and how.

    Attributes:
        lm: the model; None where the student writes itself.
        strategy: how the profile is put before it.
        drafts: how many drafts a prompt; with two or more, the worst is kept as the rejected one.
        metric: the name of what scores them.
        score: what scores them.
    """

    lm: dspy.LM | None
    strategy: Strategy
    drafts: int = 1
    metric: str = "style"
    score: Metric = style_likeness

    @property
    def name(self) -> str:
        """The model; empty where none is asked."""
        return str(self.lm.model) if self.lm is not None else ""


def collect(
    teacher: Teacher,
    profiles: Sequence[Profile],
    prompts: Sequence[str],
    path: Path,
    *,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> list[Trace]:
    """Ask a teacher each prompt for each person, and keep the answers.

    Args:
        teacher: who answers.
        profiles: the people; one profile a person.
        prompts: what to ask.
        path: the file of traces; what it holds is not asked again.
        budget: where calls are booked.
        progress: told after each answer.

    Returns:
        One trace for each person and prompt, in that order.

    Raises:
        ModelError: the teacher can't be used; what it answered is kept.
        BudgetExceededError: a cap was reached; what was answered is kept.
        StorageError: the disk is full or not writable.
    """
    known = {trace.id: trace for trace in read_traces(path)}
    wanted = [(profile, prompt) for profile in profiles for prompt in prompts]
    found: list[Trace] = []
    budget = budget or Budget()
    for profile, prompt in wanted:
        asked = (profile.user, profile_hash(profile), teacher.name, teacher.strategy.name, teacher.metric)
        name = trace_id(*asked, str(teacher.drafts), prompt)
        trace = known.get(name)
        if trace is None:
            with budget.step("traces"), dspy.context(lm=teacher.lm):
                trace = _answered(name, teacher, profile, prompt)
            append_trace(path, trace)
        found.append(trace)
        if progress is not None:
            progress("traces", len(found), len(wanted))
    return found


def unanswered(teacher: Teacher, profiles: Sequence[Profile], prompts: Sequence[str]) -> list[Trace]:
    """What would be asked, without answers: for methods in which the student writes itself."""
    return [
        Trace(
            id=trace_id(profile.user, profile_hash(profile), teacher.strategy.name, prompt),
            user=profile.user,
            prompt=prompt,
            answer="",
            teacher=teacher.name,
            strategy=teacher.strategy.name,
            profile=profile_hash(profile),
            hypotheses=tuple(hypothesis.id for hypothesis in profile.hypotheses),
            told=told(teacher.strategy, profile, prompt),
        )
        for profile in profiles
        for prompt in prompts
    ]


def told(strategy: Strategy, profile: Profile, prompt: str) -> str:
    """What a strategy says of a person beside the prompt, in words; empty where it says nothing."""
    turns = strategy.condition(profile, prompt, PROFILE_WORDS)
    said = [turn["content"] for turn in turns[:-1] if turn["content"].strip()]
    last = turns[-1]["content"]
    return "\n\n".join([*said, last.removesuffix(prompt).strip()]).strip()


def _answered(name: str, teacher: Teacher, profile: Profile, prompt: str) -> Trace:
    # Which draft is best is the metric's to say here, for all drafts are looked at.
    drafts: list[str] = Generate(teacher.strategy, best_of=teacher.drafts, scorer=None)(
        prompt=prompt, profile=profile
    ).drafts
    scored = sorted(((teacher.score(profile, prompt, draft), draft) for draft in drafts), key=lambda pair: -pair[0])
    (best, answer), (worst, rejected) = scored[0], scored[-1]
    several = len(drafts) > 1
    return Trace(
        id=name,
        user=profile.user,
        prompt=prompt,
        answer=answer,
        rejected=rejected if several else "",
        teacher=teacher.name,
        strategy=teacher.strategy.name,
        profile=profile_hash(profile),
        hypotheses=tuple(hypothesis.id for hypothesis in profile.hypotheses),
        told=told(teacher.strategy, profile, prompt),
        metric=teacher.metric,
        score=best,
        rejected_score=worst if several else None,
    )
