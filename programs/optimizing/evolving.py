"""GEPA's search (Agrawal et al. 2025): what does better on a few examples is run on all of them.

Where new instructions come from, and what is kept in the end, is the business of others.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any

import dspy

from .proposing import Reflected, Written
from .setting import Found, Setting, instructions_of

__all__ = ["evolved"]

_MINIBATCH = 4


def evolved(setting: Setting, proposer: Reflected | Written, rounds: int) -> Found:
    """Search over what a proposer proposes.

    Args:
        setting: of the search.
        proposer: gives new instructions.
        rounds: how often it is asked, at most.

    Raises:
        HyperalignError: the model that the proposer asks can't be used.
    """
    few = min(_MINIBATCH, len(setting.train))
    heard = _Heard()

    def ended(state: Any) -> bool:
        over = setting.over() or setting.metric.fault is not None
        return over or proposer.fault is not None or proposer.exhausted

    optimizer = dspy.GEPA(
        metric=setting.metric,
        # The program as it is on all, then by round a few under the old prompt and under the new, and perhaps all.
        max_metric_calls=len(setting.train) + rounds * (2 * few + len(setting.train)),
        reflection_minibatch_size=few,
        instruction_proposer=proposer,
        reflection_lm=setting.reflection,
        use_merge=False,
        skip_perfect_score=False,
        track_stats=True,
        num_threads=1,
        warn_on_score_mismatch=False,
        seed=setting.seed,
        # What was answered on the few is not asked again among all.
        gepa_kwargs={"stop_callbacks": [_Rounds(rounds), ended], "cache_evaluation": True, "callbacks": [heard]},
    )
    train = list(setting.train)
    best = optimizer.compile(setting.program.deepcopy(), trainset=train, valset=train)
    if proposer.fault is not None:
        raise proposer.fault
    result = best.detailed_results
    scored = [
        {"instructions": instructions_of(candidate), "score": float(score)}
        for candidate, score in zip(result.candidates, result.val_aggregate_scores, strict=True)
    ]
    del best.detailed_results
    return Found(best, [*scored, *heard.rejected, *proposer.turned_down], proposer.refused, _why(proposer))


def _why(proposer: Reflected | Written) -> str:
    if not proposer.exhausted:
        return ""
    counts = ", ".join(f"{count} {why}" for why, count in proposer.refused.items())
    return f"the model that reflects proposed nothing of use any more ({counts})"


class _Rounds:
    """Ends GEPA's search after so many proposals."""

    def __init__(self, most: int) -> None:
        self._most = most

    def __call__(self, state: Any) -> bool:
        return int(state.i) + 1 >= self._most


class _Heard:
    """Keeps what GEPA tells of candidates that it drops, by the names of its callbacks.

    Attributes:
        rejected: their instructions and their mean score on a few examples, beside that of what they were to replace.
    """

    def __init__(self) -> None:
        self.rejected: list[dict[str, Any]] = []
        self._proposed: dict[str, str] = {}
        self._before: list[float] = []
        self._after: list[float] = []

    def on_proposal_end(self, event: Any) -> None:
        """A new candidate."""
        self._proposed = dict(event["new_instructions"])

    def on_evaluation_end(self, event: Any) -> None:
        """A few examples were run: with a candidate of the pool first, then with the new one, which has no number."""
        scores = [float(score) for score in event["scores"]]
        if event["candidate_idx"] is None:
            self._after = scores
        else:
            self._before = scores

    def on_candidate_rejected(self, event: Any) -> None:
        """The new one is dropped."""
        del event
        self.rejected.append(
            {"instructions": self._proposed, "few": fmean(self._after), "few_before": fmean(self._before)}
        )
