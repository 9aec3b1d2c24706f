"""What a teacher answered for a person, as training data remembers it.

A trace says whose answer it is, who gave it, what they were told of the person, and how it scored. Traces lie in a
JSONL file, one a line, appended as they are made. This file makes none, and knows nothing of training.

Which traces may teach: those that score well enough, answer something, repeat no other, and give nothing away.

Every trace that goes is counted under its reason. This file asks no model.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, FiniteFloat, StringConstraints, ValidationError
from pydantic_core import from_json

from hyperalign.errors import InputError, RecordError
from hyperalign.files import append_line, storage_error
from hyperalign.privacy import private_parts
from hyperalign.profile import Profile
from hyperalign.text import is_refusal, longest_copied_run

__all__ = [
    "MIN_WORDS",
    "Kept",
    "Trace",
    "TraceFilter",
    "append_trace",
    "goes_in_circles",
    "profile_hash",
    "read_traces",
    "trace_id",
]

_HASH_CHARACTERS = 16


class Trace(BaseModel):
    """One answer of a teacher.

    Attributes:
        id: of the question: who asked whom for whom, and what.
        user: for whom it was written.
        prompt: what was asked.
        answer: the best answer.
        rejected: the worst of several drafts; empty where there was one draft.
        teacher: the model that answered.
        strategy: how the profile was put before it.
        profile: hash of the profile.
        hypotheses: ids of the kept hypotheses that the profile had.
        told: what the teacher was told of the person beside the prompt, in words.
        metric: what scored the answer.
        score: how it scored.
        rejected_score: how the worst draft scored.
        picked_by: what held the drafts against each other: ``style``, or ``tests:`` and the scorer; empty for
            one draft.
        unfinished: whether all drafts stopped at their length, in the middle of a sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    user: str
    prompt: Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
    answer: str
    rejected: str = ""
    teacher: str
    strategy: str
    profile: str
    hypotheses: tuple[str, ...] = ()
    told: str = ""
    metric: str = ""
    score: FiniteFloat | None = None
    rejected_score: FiniteFloat | None = None
    picked_by: str = ""
    truncated: bool = False


def profile_hash(profile: Profile) -> str:
    """Which profile it was: changes with anything that a strategy may say of the person."""
    said = profile.model_dump_json(include={"user", "hypotheses", "examples", "stated", "style", "direction"})
    return hashlib.sha256(said.encode()).hexdigest()[:_HASH_CHARACTERS]


def trace_id(*parts: str) -> str:
    """The id of what was asked, from all that decides the answer."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:_HASH_CHARACTERS]


def append_trace(path: Path, trace: Trace) -> None:
    """Add a trace to a file, on disk before this returns.

    Raises:
        StorageError: the disk is full or not writable.
    """
    append_line(path, trace.model_dump_json())


def read_traces(path: Path) -> list[Trace]:
    """All traces of a file, the last of each id; lines that a kill tore apart are passed over, and made again.

    Raises:
        RecordError: a line is JSON and no trace; with file, line and what was expected.
        StorageError: the file can't be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, path) from error
    traces: dict[str, Trace] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = from_json(line)
        except ValueError:
            continue  # torn; the next line was written after it
        try:
            trace = Trace.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RecordError(
                f"this is no trace: '{where}': {first['msg']}.",
                path=path,
                line=number,
                remedy="Each line is what 'hyperalign distill' wrote; remove the line, or the file to make all anew.",
            ) from error
        traces[trace.id] = trace
    return list(traces.values())


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
class TraceFilter:
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
            "stops in the middle": trace.truncated,
            "declines": not self.refusals and is_refusal(answer),
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
