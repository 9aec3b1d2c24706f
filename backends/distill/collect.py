"""A teacher answers prompts for people, and each answer is kept as a trace as it ends.

A run that was killed goes on: what the file of traces holds is not asked again. Where several drafts are asked for,
they are held against each other, every two, and the best and the worst are kept, as WikiPersona makes preference rows
from diverse candidates (Tang et al. 2025, section 4); here the person's own tests and measured style decide. This file
knows no runtime and no training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dspy

from hyperalign.budget import Budget
from hyperalign.concurrency import Progress, run_concurrently
from hyperalign.errors import ModelOutputError
from hyperalign.profile import Profile
from hyperalign.programs.generate import Generate
from hyperalign.programs.judge import Judge
from hyperalign.programs.replies import count_answer, tally_answers
from hyperalign.programs.strategies import PROFILE_WORDS, Strategy
from hyperalign.scores import Message, Scorer
from hyperalign.style import likeness

from ..models.replies import truncated
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
        concurrency: how many prompts it is asked at a time.
        scorer: reads drafts for the person's kept statements; without one measured style alone holds them against
            each other.
    """

    lm: dspy.LM | None
    strategy: Strategy
    drafts: int = 1
    metric: str = "style"
    score: Metric = style_likeness
    concurrency: int = 1
    scorer: Scorer | None = None

    @property
    def name(self) -> str:
        """The model; empty where none is asked."""
        return str(self.lm.model) if self.lm is not None else ""

    def picks_by(self, drafts: int) -> str:
        """What holds drafts against each other; empty where there is one."""
        return "" if drafts < 2 else f"tests:{self.scorer.name}" if self.scorer is not None else "style"


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
    wanted: dict[str, tuple[Profile, str]] = {}
    for profile in profiles:
        asked = (profile.user, profile_hash(profile), teacher.name, teacher.strategy.name, teacher.metric)
        # Of drafts that style picks nothing more is said: traces of older runs stay what they are.
        tested = (teacher.picks_by(teacher.drafts),) if teacher.scorer is not None else ()
        wanted |= {trace_id(*asked, str(teacher.drafts), *tested, prompt): (profile, prompt) for prompt in prompts}
    waiting = [name for name in wanted if name not in known]
    done = len(wanted) - len(waiting)
    budget = budget or Budget()

    def answer(name: str) -> Trace:
        with budget.step("traces"), dspy.context(lm=teacher.lm):
            return _answered(name, teacher, *wanted[name])

    def keep(trace: Trace) -> None:
        nonlocal done
        append_trace(path, trace)
        known[trace.id] = trace
        done += 1
        if progress is not None:
            progress("traces", done, len(wanted))

    with tally_answers():
        run_concurrently(answer, waiting, teacher.concurrency, keep=keep)
    return [known[name] for name in wanted]


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
            # As the student with the profile would be asked: with the instructions of ``generate``.
            told=_beside(Generate(teacher.strategy, scorer=None).messages(profile, prompt), prompt),
        )
        for profile in profiles
        for prompt in prompts
    ]


def told(strategy: Strategy, profile: Profile, prompt: str) -> str:
    """What a strategy says of a person beside the prompt, in words; empty where it says nothing."""
    return _beside(strategy.condition(profile, prompt, PROFILE_WORDS), prompt)


def _beside(turns: Sequence[Message], prompt: str) -> str:
    said = [turn["content"] for turn in turns[:-1] if turn["content"].strip()]
    last = turns[-1]["content"]
    return "\n\n".join([*said, last.removesuffix(prompt).strip()]).strip()


def _answered(name: str, teacher: Teacher, profile: Profile, prompt: str) -> Trace:
    # All drafts are looked at here, so Generate need not choose among them.
    with truncated() as cut:
        try:
            drafts: list[str] = Generate(teacher.strategy, best_of=teacher.drafts, scorer=None)(
                prompt=prompt, profile=profile
            ).drafts
            count_answer(True, "")
        except ModelOutputError as silence:
            drafts = []  # kept as an answer without words, which teaches nothing: it would come again
            count_answer(False, silence.message)
    whole = [draft for draft in drafts if draft not in cut]
    best, worst = _best_and_worst(teacher, profile, prompt, whole or drafts)
    return Trace(
        id=name,
        user=profile.user,
        prompt=prompt,
        answer=best,
        rejected=worst,
        teacher=teacher.name,
        strategy=teacher.strategy.name,
        profile=profile_hash(profile),
        hypotheses=tuple(hypothesis.id for hypothesis in profile.hypotheses),
        told=told(teacher.strategy, profile, prompt),
        metric=teacher.metric,
        score=teacher.score(profile, prompt, best) if best else None,
        rejected_score=teacher.score(profile, prompt, worst) if worst else None,
        picked_by=teacher.picks_by(len(whole or drafts)),
        truncated=bool(drafts) and not whole,
    )


def _best_and_worst(teacher: Teacher, profile: Profile, prompt: str, drafts: Sequence[str]) -> tuple[str, str]:
    if len(drafts) < 2:
        return "".join(drafts), ""
    if teacher.scorer is None:
        worth = [teacher.score(profile, prompt, draft) for draft in drafts]
    else:
        worth = Judge(teacher.scorer)(prompt=prompt, answers=drafts, profile=profile).probabilities
    ranked = sorted(zip(worth, drafts, strict=True), key=lambda pair: -pair[0])
    return ranked[0][1], ranked[-1][1]
