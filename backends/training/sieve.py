"""Which traces may teach: those that score well enough, answer something, repeat no other, and give nothing away.

Every trace that goes is counted under its reason. This file asks no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan

from hyperalign.copying import longest_copied_run
from hyperalign.errors import InputError
from hyperalign.evals.metrics.refusal import refused
from hyperalign.privacy import private_parts

from .traces import Trace

__all__ = ["MIN_WORDS", "Kept", "Sieve", "goes_in_circles"]

MIN_WORDS = 3
"""What is shorter is no answer."""
_MAX_COPIED = 12
_RUN, _CIRCLES = 6, 3


@dataclass(frozen=True)
class Kept:
    """What passed.

    Attributes:
        traces: what may teach, in order.
        dropped: how many went, by reason.
    """

    traces: list[Trace]
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class Sieve:
    """What it takes to teach.

    Attributes:
        threshold: the least score, in nats where the metric is style; None to ask for none. From 0 on, an answer is at
            least as much like the person as like anybody.
        min_words: the least length of an answer.
        refusals: whether answers that decline may teach; where prompts are harmless, they teach to decline those.
        private: by user, texts of theirs that no answer may repeat more than 12 words of.

    Raises:
        InputError: if the threshold is not a number.
    """

    threshold: float | None = 0.0
    min_words: int = MIN_WORDS
    refusals: bool = False
    private: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.threshold is not None and isnan(self.threshold):
            raise InputError(
                "The threshold of the score is not a number.",
                remedy="Give a number of nats, such as 0, or -inf to let all answers teach.",
            )

    def __call__(self, traces: Sequence[Trace]) -> Kept:
        """Split traces into those that may teach and counts of the others."""
        dropped: Counter[str] = Counter()
        passed: list[Trace] = []
        seen: set[tuple[str, str, str]] = set()
        for trace in traces:
            said = (trace.user, _plain(trace.prompt), _plain(trace.answer))
            reason = "repeats another" if said in seen else self._reason(trace)
            seen.add(said)
            if reason:
                dropped[reason] += 1
            else:
                # A draft that was turned down is shown to the student too, and may give no more away.
                tells = trace.rejected and self._tells(trace.rejected, trace.user)
                passed.append(trace.model_copy(update={"rejected": ""}) if tells else trace)
        return Kept(passed, dict(dropped))

    def _reason(self, trace: Trace) -> str:
        answer = trace.answer
        low = self.threshold is not None and trace.score is not None and trace.score < self.threshold
        reasons = {
            f"shorter than {self.min_words} words": len(answer.split()) < self.min_words,
            "repeats a text of the person's": self._repeats(answer, trace.user),
            "stops in the middle": trace.unfinished,
            "declines": not self.refusals and refused(answer),
            "goes in circles": goes_in_circles(answer),
            f"holds a {next(iter(private_parts(answer)), '')}": bool(private_parts(answer)),
            f"scores below {self.threshold or 0:g}": low,
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def _tells(self, draft: str, user: str) -> bool:
        return self._repeats(draft, user) or bool(private_parts(draft))

    def _repeats(self, text: str, user: str) -> bool:
        return longest_copied_run(text, self.private.get(user, ())) > _MAX_COPIED


def goes_in_circles(text: str) -> bool:
    """Whether the same six words in a row stand in a text three times: small models that do not find an end do so."""
    words = text.lower().split()
    runs = Counter(tuple(words[start : start + _RUN]) for start in range(len(words) - _RUN + 1))
    return max(runs.values(), default=0) >= _CIRCLES


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
