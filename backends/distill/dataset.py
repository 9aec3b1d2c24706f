"""Training rows in TRL's conversational formats, and the split of prompts into train, validation and test.

The student never sees the profile, so training on these rows is prompt distillation (Askell et al. 2021, section 2).
Prompts are split, not rows: no person's held-out prompt is trained on for another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hyperalign.errors import InputError
from hyperalign.files import write_whole
from hyperalign.profile import Profile
from hyperalign.scores import Message

from .recipe import Method
from .student import import_libraries
from .traces import Trace

__all__ = [
    "SCOPES",
    "PromptSplits",
    "Scope",
    "ScopeKind",
    "TrainingRow",
    "assign_split",
    "build_prefix",
    "build_rows",
    "split_prompts",
    "to_dataset",
    "write_rows",
]

ScopeKind = Literal["person", "tag", "prefix", "program"]
TrainingRow = dict[str, Any]
_VALIDATION, _TEST = 0.1, 0.1  # shares of the prompts
SCOPES: tuple[ScopeKind, ...] = ("person", "tag", "prefix", "program")


@dataclass(frozen=True)
class Scope:
    """What the student is told about the person to write for.

    Attributes:
        kind: ``person``: nothing, the adapter is for one person; ``tag``: the person's name, one adapter for several
            people; ``prefix``: a short description, so that people outside the training set can be described too
            (WikiPersona's multi-task form, Tang et al. 2025); ``program``: nothing, one adapter for everybody.
        prefixes: descriptions by user, for ``prefix``.
    """

    kind: ScopeKind = "person"
    prefixes: Mapping[str, str] = field(default_factory=dict)

    def system(self, user: str) -> str:
        """Return the system turn for a person; empty for none.

        Raises:
            InputError: the scope is ``prefix`` and the person has none.
        """
        if self.kind == "tag":
            return f"Write for {user}."
        if self.kind == "prefix":
            if user not in self.prefixes:
                raise InputError(f"There is no prefix for {user!r}.", remedy="Give their profile too.")
            return self.prefixes[user]
        return ""

    def messages(self, user: str, prompt: str) -> list[Message]:
        """Return the student's messages for a prompt."""
        system = self.system(user)
        # An empty system turn is left out: the chat template may then insert its own, as it does when serving.
        turns: list[Message] = [{"role": "system", "content": system}] if system else []
        return [*turns, {"role": "user", "content": prompt}]


def build_prefix(profile: Profile) -> str:
    """Describe a person by the three hypotheses with the highest weights, for scope ``prefix``.

    Args:
        profile: of any person, in the training set or not.

    Raises:
        InputError: the profile has no hypotheses.
    """
    top = sorted(profile.hypotheses, key=lambda hypothesis: -hypothesis.weight)[:3]
    if not top:
        raise InputError(
            f"The profile of {profile.user!r} holds no statement to describe them by.",
            remedy="Fit the profile to more of their records, or choose --scope tag.",
        )
    return f"Write as a person like this: {' '.join(hypothesis.statement for hypothesis in top)}"


@dataclass(frozen=True)
class PromptSplits:
    """Prompts by split; each prompt is in one split, the same for all people.

    Attributes:
        train: for training.
        validation: for the loss that is watched during training.
        test: for the gate.
    """

    train: list[str]
    validation: list[str]
    test: list[str]


def split_prompts(prompts: Sequence[str]) -> PromptSplits:
    """Split prompts, each by its own text."""
    splits = PromptSplits([], [], [])
    for prompt in dict.fromkeys(prompts):
        getattr(splits, assign_split(prompt)).append(prompt)
    return splits


def assign_split(prompt: str) -> Literal["train", "validation", "test"]:
    """Assign a prompt to a split by a hash of its text, so that other prompts never change it."""
    digest = hashlib.sha256(" ".join(prompt.lower().split()).encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if share < _TEST else "validation" if share < _TEST + _VALIDATION else "train"


def build_rows(traces: Sequence[Trace], scope: Scope, method: Method = "sft") -> list[TrainingRow]:
    """Build a method's training rows from traces.

    Args:
        traces: answers to train on.
        scope: what the student is told about the person.
        method: the training method.

    Returns:
        Rows with ``prompt`` and: ``completion`` (sft, ditto), ``chosen`` and ``rejected`` (dpo),
        ``privileged_context`` (context), or nothing else (on-policy). Traces that lack a column are left out.

    Raises:
        InputError: no trace has what the method needs.
    """
    rows = []
    for trace in traces:
        columns = _columns(trace, method)
        if all(columns.values()):
            rows.append({"prompt": scope.messages(trace.user, trace.prompt), **columns})
    if traces and not rows:
        raise InputError(
            f"None of {len(traces)} trace(s) has what '{method}' needs.",
            remedy="'dpo' needs traces of two drafts or more; 'context' needs profiles with hypotheses or examples.",
        )
    return rows


def _columns(trace: Trace, method: Method) -> TrainingRow:
    answer = [{"role": "assistant", "content": trace.answer}]
    match method:
        case "sft" | "ditto":
            return {"completion": answer}
        case "dpo":
            rejected = trace.rejected if trace.rejected != trace.answer else ""
            return {"chosen": answer, "rejected": rejected and [{"role": "assistant", "content": rejected}]}
        case "context":
            return {"privileged_context": trace.profile_context}
        case "on-policy":
            return {}


def to_dataset(rows: Sequence[TrainingRow]) -> Any:
    """Return rows as a ``datasets.Dataset``.

    Raises:
        MissingExtraError: datasets is not installed.
    """
    (datasets,) = import_libraries("datasets")
    return datasets.Dataset.from_list(list(rows))


def write_rows(rows: Sequence[TrainingRow], path: Path) -> None:
    """Write rows as JSONL.

    Raises:
        StorageError: the disk is full or not writable.
    """
    write_whole(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
