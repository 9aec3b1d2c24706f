"""What a teacher answered for a person, as training data remembers it.

A trace says whose answer it is, who gave it, what they were told of the person, and how it scored. Traces lie in a
JSONL file, one a line, appended as they are made. This file makes none, and knows nothing of training.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, FiniteFloat, StringConstraints, ValidationError
from pydantic_core import from_json

from hyperalign.errors import RecordError
from hyperalign.files import append_line, storage_error
from hyperalign.profile import Profile

__all__ = ["Trace", "append_trace", "profile_hash", "read_traces", "trace_id"]

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
    unfinished: bool = False


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
