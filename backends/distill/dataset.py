"""Traces as the rows that trainers read, in the field's conversational formats, and what of them is held back.

The student is never shown the profile: that is what makes training on these rows prompt distillation (Askell et al.
2021, section 2). At most it is told whose manner is asked for, by a tag or by a short prefix (``Scope``). Prompts are
split, not rows: what is held back for validation or for the report is asked of nobody in training. This file knows no
trainer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from hyperalign.errors import InputError, MissingExtraError
from hyperalign.files import write_whole
from hyperalign.profile import Profile
from hyperalign.scores import Message

from .recipe import Method
from .traces import Trace

__all__ = ["SCOPES", "Scope", "ScopeKind", "Split", "TrainingRow", "dataset", "export", "prefix", "rows", "split_of"]

Split = Literal["train", "validation", "test"]
ScopeKind = Literal["person", "tag", "prefix", "program"]
TrainingRow = dict[str, Any]
SCOPES: tuple[ScopeKind, ...] = ("person", "tag", "prefix", "program")


@dataclass(frozen=True)
class Scope:
    """What a student is told of the person whose manner is asked for.

    Attributes:
        kind: ``person``: nothing, the adapter is one person's; ``tag``: who it is, one adapter for several people;
            ``prefix``: a few words on each, so that people never trained on can be described too (WikiPersona's
            multi-task form, Tang et al. 2025); ``program``: nothing, one adapter for everybody.
        prefixes: by user, the words of ``prefix``.
    """

    kind: ScopeKind = "person"
    prefixes: Mapping[str, str] = field(default_factory=dict)

    def system(self, user: str) -> str:
        """The system turn for a person; empty for none.

        Raises:
            InputError: a prefix is wanted of somebody who has none.
        """
        if self.kind == "tag":
            return f"Write for {user}."
        if self.kind == "prefix":
            if user not in self.prefixes:
                raise InputError(f"There is no prefix for {user!r}.", remedy="Give their profile too.")
            return self.prefixes[user]
        return ""

    def messages(self, user: str, prompt: str) -> list[Message]:
        """What the student is sent for a prompt."""
        # Without words no system turn: that is how the adapter will be asked, with whatever its template puts there.
        said = self.system(user)
        asked: list[Message] = [{"role": "user", "content": prompt}]
        return [{"role": "system", "content": said}, *asked] if said else asked


def prefix(person: Profile) -> str:
    """A person in a few words, for the scope of that name: their three surest statements.

    Args:
        person: whom to describe; they need not be among those who are trained on.

    Raises:
        InputError: nothing is believed of them.
    """
    surest = sorted(person.hypotheses, key=lambda hypothesis: -hypothesis.weight)[:3]
    if not surest:
        raise InputError(
            f"The profile of {person.user!r} holds no statement to describe them by.",
            remedy="Give more of their records to 'hyperalign infer' or 'extract', or choose --scope tag.",
        )
    return f"Write as a person like this: {' '.join(hypothesis.statement for hypothesis in surest)}"


def split_of(prompt: str, *, validation: float = 0.1, test: float = 0.1) -> Split:
    """The split of a prompt: by its own words, so that it never changes with the others.

    Args:
        prompt: what is asked.
        validation: share of prompts on which training is watched.
        test: share of prompts on which the adapter is judged, once.
    """
    digest = hashlib.sha256(" ".join(prompt.lower().split()).encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < test:
        return "test"
    return "validation" if share < test + validation else "train"


def rows(traces: Sequence[Trace], scope: Scope, method: Method = "sft") -> list[TrainingRow]:
    """Traces as rows of a method: ``prompt`` and ``completion``; ``prompt``, ``chosen`` and ``rejected``; or ``prompt``
    and ``privileged_context``.

    Args:
        traces: what may teach.
        scope: what the student is told.
        method: for which trainer.

    Raises:
        InputError: ``dpo`` is asked for, and no trace has a rejected draft.
    """
    made = [row for trace in traces if (row := _row(trace, scope, method))]
    if traces and not made:
        raise InputError(
            f"None of {len(traces)} trace(s) has what '{method}' needs.",
            remedy="'dpo' needs traces of two drafts or more; 'context' needs profiles that say something.",
        )
    return made


def _row(trace: Trace, scope: Scope, method: Method) -> TrainingRow | None:
    prompt = scope.messages(trace.user, trace.prompt)
    answer = [{"role": "assistant", "content": trace.answer}]
    match method:
        case "sft":
            return {"prompt": prompt, "completion": answer}
        case "dpo":
            if not trace.rejected or trace.rejected == trace.answer:
                return None
            return {
                "prompt": prompt,
                "chosen": answer,
                "rejected": [{"role": "assistant", "content": trace.rejected}],
            }
        case "context":
            return {"prompt": prompt, "privileged_context": trace.told} if trace.told else None
        case "on-policy":
            return {"prompt": prompt}


def dataset(made: Sequence[TrainingRow]) -> Any:
    """Rows as a ``datasets.Dataset``.

    Raises:
        MissingExtraError: datasets is not installed.
    """
    try:
        datasets = import_module("datasets")
    except ImportError as error:
        raise MissingExtraError("Training data as a data set", "train") from error
    return datasets.Dataset.from_list(list(made))


def export(made: Sequence[TrainingRow], path: Path) -> None:
    """Write rows as JSONL or Parquet, by the file's ending.

    Raises:
        InputError: the ending is neither.
        MissingExtraError: Parquet is asked for without the libraries that write it.
        StorageError: the disk is full or not writable.
    """
    match path.suffix.lower():
        case ".jsonl":
            write_whole(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in made))
        case ".parquet":
            dataset(made).to_parquet(str(path))
        case ending:
            raise InputError(f"{ending or 'No ending'} is not a format of rows.", remedy="End in .jsonl or .parquet.")
