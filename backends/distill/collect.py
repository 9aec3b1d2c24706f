"""Collects traces: a teacher answers prompts for people, and every answer is saved as it arrives.

With several drafts, the best and the worst become the chosen and rejected answers, as in WikiPersona (Tang et al. 2025,
section 4); here the person's tested hypotheses and measured style rank them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from .traces import Trace, append_trace, hash_parts, hash_profile, read_traces

__all__ = ["METRICS", "Metric", "Teacher", "build_unanswered", "collect_traces", "describe_person"]

Metric = Callable[[Profile, str, str], float]
"""``metric(profile, prompt, answer)``: how well an answer fits a person; higher is better."""


def _style_likeness(profile: Profile, prompt: str, answer: str) -> float:
    """Log-odds in nats that an answer is the person's, by measured style; 0 if the profile has none."""
    del prompt
    return likeness(answer, profile.style)


METRICS: dict[str, Metric] = {"style": _style_likeness}


@dataclass(frozen=True)
class Teacher:
    """The model that answers, and its settings.

    Attributes:
        lm: the model; None for methods in which the student generates.
        strategy: how the profile is put into the prompt.
        drafts: drafts per prompt; from two on, the worst is kept as the rejected answer.
        metric: name in ``METRICS`` of the metric that scores answers.
        concurrency: prompts at once.
        scorer: ranks drafts by the person's hypotheses; without one, measured style alone does.
    """

    lm: dspy.LM | None
    strategy: Strategy
    drafts: int = 1
    metric: str = "style"
    concurrency: int = 1
    scorer: Scorer | None = None

    @property
    def name(self) -> str:
        """The model's name; empty without a model."""
        return str(self.lm.model) if self.lm is not None else ""

    def score(self, profile: Profile, prompt: str, answer: str) -> float:
        """Score an answer by the teacher's metric."""
        return METRICS[self.metric](profile, prompt, answer)

    def picked_by(self, drafts: int) -> str:
        """Return what ranks this many drafts: ``style``, or ``tests:`` and the scorer; empty for one draft."""
        return "" if drafts < 2 else f"tests:{self.scorer.name}" if self.scorer is not None else "style"


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
        path: the traces file; answers that it already holds are not requested again.
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
        settings += [str(teacher.drafts), *([teacher.picked_by(teacher.drafts)] if teacher.scorer is not None else [])]
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

    with tally_answers():
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


def _collect_one(id_: str, teacher: Teacher, profile: Profile, prompt: str) -> Trace:
    with truncated() as truncated_texts:
        try:
            # All drafts are needed, so Generate does not choose among them.
            generate = Generate(teacher.strategy, best_of=teacher.drafts, scorer=None)
            drafts: list[str] = generate(prompt=prompt, profile=profile).drafts
            count_answer(True, "")
        except ModelOutputError as error:
            drafts = []  # saved as an empty answer, so that it is not requested again
            count_answer(False, error.message)
    complete = [draft for draft in drafts if draft not in truncated_texts]
    best, worst = _best_and_worst(teacher, profile, prompt, complete or drafts)
    return Trace(
        id=id_,
        answer=best,
        rejected=worst,
        profile_context=describe_person(teacher.strategy, profile, prompt),
        metric=teacher.metric,
        score=teacher.score(profile, prompt, best) if best else None,
        rejected_score=teacher.score(profile, prompt, worst) if worst else None,
        picked_by=teacher.picked_by(len(complete or drafts)),
        truncated=bool(drafts) and not complete,
        **_common_fields(teacher, profile, prompt),
    )


def _best_and_worst(teacher: Teacher, profile: Profile, prompt: str, drafts: Sequence[str]) -> tuple[str, str]:
    if len(drafts) < 2:
        return "".join(drafts), ""
    if teacher.scorer is None:
        scores = [teacher.score(profile, prompt, draft) for draft in drafts]
    else:
        scores = Judge(teacher.scorer)(prompt=prompt, answers=drafts, profile=profile).probabilities
    ranked = sorted(zip(scores, drafts, strict=True), key=lambda pair: -pair[0])
    return ranked[0][1], ranked[-1][1]
