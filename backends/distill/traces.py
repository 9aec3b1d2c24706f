"""Traces: a teacher's answers as training data, kept in a JSONL file, and the filter that selects those to train on."""

from __future__ import annotations

import hashlib
import re
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
from hyperalign.privacy import find_private_parts
from hyperalign.profile import Profile
from hyperalign.text import is_refusal, longest_copied_run

__all__ = [
    "MIN_WORDS",
    "FilteredTraces",
    "Trace",
    "TraceFilter",
    "append_trace",
    "cut_thoughts",
    "hash_parts",
    "hash_profile",
    "is_repetitive",
    "read_traces",
]

MIN_WORDS = 3
"""Texts with fewer words are no answers."""

_HASH_CHARACTERS = 16
_UNOPENED = re.compile(
    r"(?:(?!<think>|<seed:think>|\[THINK\]|◁think▷).)*(?:</think>|</seed:think>|\[/THINK\]|◁/think▷)", re.I | re.S
)
_MAX_COPIED_WORDS = 12
_NGRAM_WORDS, _MAX_REPEATS = 6, 3


class Trace(BaseModel):
    """One answer of a teacher.

    Attributes:
        id: hash of the person, the profile, the teacher, its settings and the prompt.
        user: the person it was written for.
        prompt: the prompt.
        answer: the best draft.
        rejected: the worst draft; empty if there was one draft.
        teacher: the model that answered.
        strategy: how the teacher was given the profile.
        profile: hash of the profile.
        hypotheses: ids of the profile's hypotheses.
        profile_context: what the teacher was told about the person, in words.
        metric: the metric of ``score``.
        score: of the answer.
        rejected_score: of the rejected draft.
        truncated: whether every draft stopped at the length limit.
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
    profile_context: str = ""
    metric: str = ""
    score: FiniteFloat | None = None
    rejected_score: FiniteFloat | None = None
    truncated: bool = False


def hash_profile(profile: Profile) -> str:
    """Hash everything in a profile that a strategy may tell a model."""
    data = profile.model_dump_json(include={"user", "hypotheses", "examples", "stated", "style", "direction"})
    return hash_parts(data)


def hash_parts(*parts: str) -> str:
    """Hash strings in order."""
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:_HASH_CHARACTERS]


def cut_thoughts(text: str) -> str:
    """A text without thoughts whose opening tag is missing: some templates put it into the prompt."""
    found = _UNOPENED.match(text)
    return text[found.end() :].lstrip() if found else text


def append_trace(path: Path, trace: Trace) -> None:
    """Append a trace to a file, and flush it to the disk.

    Raises:
        StorageError: the disk is full or not writable.
    """
    append_line(path, trace.model_dump_json())


def read_traces(path: Path) -> list[Trace]:
    """Read the traces of a file, the last one of each id.

    Lines that an interrupted run left incomplete are skipped.

    Raises:
        RecordError: a line is JSON but no trace; with file, line and the first problem.
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
        try:
            content = from_json(line)
        except ValueError:
            continue
        try:
            trace = Trace.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RecordError(
                f"this is not a trace: '{where}': {first['msg']}.",
                path=path,
                line=number,
                remedy="Only 'hyperalign distill' writes this file; remove the line, or the file to ask for all again.",
            ) from error
        traces[trace.id] = trace
    return list(traces.values())


@dataclass(frozen=True)
class FilteredTraces:
    """The result of a trace filter.

    Attributes:
        traces: those to train on, in order.
        dropped: number of dropped traces, by reason.
    """

    traces: list[Trace]
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class TraceFilter:
    """Selects the traces to train on.

    Attributes:
        threshold: the lowest score, in nats for rewards; None for no limit. From 0 on, an answer suits the person at
            least as much as a usual text.
        min_words: the shortest answer.
        keep_refusals: whether to keep answers that refuse; on harmless prompts they teach the student to refuse.
        private_texts: by user, texts of which no answer may copy more than 12 words in a row.

    Raises:
        InputError: the threshold is NaN.
    """

    threshold: float | None = 0.0
    min_words: int = MIN_WORDS
    keep_refusals: bool = False
    private_texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.threshold is not None and isnan(self.threshold):
            raise InputError(
                "The score threshold is not a number.",
                remedy="Give a number of nats, such as 0, or -inf to keep all answers.",
            )

    def __call__(self, traces: Sequence[Trace]) -> FilteredTraces:
        """Keep the traces that pass, and count the others by reason."""
        dropped: Counter[str] = Counter()
        passed: list[Trace] = []
        seen: set[tuple[str, str, str]] = set()
        for given in traces:
            trace = given.model_copy(
                update={"answer": cut_thoughts(given.answer), "rejected": cut_thoughts(given.rejected)}
            )
            key = (trace.user, _normalize(trace.prompt), _normalize(trace.answer))
            reason = "duplicate" if key in seen else self._find_reason(trace)
            seen.add(key)
            if reason:
                dropped[reason] += 1
            else:
                # The student is trained on rejected drafts too: they must not leak anything either.
                leaks = self._copies(trace.rejected, trace.user) or find_private_parts(trace.rejected)
                passed.append(trace.model_copy(update={"rejected": ""}) if leaks else trace)
        return FilteredTraces(passed, dict(dropped))

    def _find_reason(self, trace: Trace) -> str:
        answer = trace.answer
        scores_low = self.threshold is not None and trace.score is not None and trace.score < self.threshold
        private = find_private_parts(answer)
        reasons = {
            f"shorter than {self.min_words} words": len(answer.split()) < self.min_words,
            "copies the person's text": self._copies(answer, trace.user),
            "truncated": trace.truncated,
            "refusal": not self.keep_refusals and is_refusal(answer),
            "repetitive": is_repetitive(answer),
            f"contains a {''.join(private[:1])}": bool(private),
            f"score below {self.threshold or 0:g}": scores_low,
        }
        return next((reason for reason, applies in reasons.items() if applies), "")

    def _copies(self, text: str, user: str) -> bool:
        return longest_copied_run(text, self.private_texts.get(user, ())) > _MAX_COPIED_WORDS


def is_repetitive(text: str) -> bool:
    """Return whether a text repeats the same six words at least three times, as small models do that find no end."""
    words = text.lower().split()
    ngrams = Counter(tuple(words[start : start + _NGRAM_WORDS]) for start in range(len(words) - _NGRAM_WORDS + 1))
    return max(ngrams.values(), default=0) >= _MAX_REPEATS


def _normalize(text: str) -> str:
    return " ".join(text.lower().split())
