"""What an eval is made of: people, the records a profile may be made from, and cases that it has never seen.

A ``Case`` is one question about one person. In a choice case two answers are weighed; in a
writing case an answer is written; in a request case anybody asks for help that may do harm. A
``Task`` reads a benchmark and gives its cases. This file knows no strategy, no model and no file
format.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, runtime_checkable

from hyperalign.errors import InputError
from hyperalign.records import Record

__all__ = [
    "Case",
    "CaseKind",
    "Split",
    "Task",
    "WritingTask",
    "case_id",
    "choose_users",
    "fingerprint",
    "records_id",
]

CaseKind = Literal["choice", "writing", "request"]
Split = Literal["dev", "test"]


@dataclass(frozen=True, slots=True)
class Case:
    """One question about one person.

    Attributes:
        id: unique in its task, and the same in every run.
        user: whose preferences or manner are at stake.
        cluster: the unit that figures are averaged over; cases of one cluster resemble each other.
        prompt: what is to be answered.
        records: what a profile may be made from; nothing of this case stands in them.
        chosen: in a choice case, the answer this person prefers.
        rejected: the other answer.
        reference: in a writing case, what the person wrote themselves.
        stated: a description that comes with the person, and that every strategy may use; empty where there is none.
        gold: what the benchmark itself says of the person; empty where it says nothing.
        dev: whether the task itself says that this person is of the split ``dev``, or of ``test``; None where it
            does not say, and the cluster's name decides.
        safe: in a request case, whether helping harms nobody; None elsewhere.
        direction: what the benchmark itself says of each dimension of AlignX's space (1, 0, or 0.5 for neither); like
            ``gold``, no strategy sees it.
        agreement: in a choice case whose answers are statements, the question that a person agrees to or not, with
            ``{text}`` in it; then the answer to it is weighed, and not the statement itself.
        persona: people of one persona want the same, so that none of them is a stranger to another; empty where
            everybody is their own.
    """

    id: str
    user: str
    cluster: str
    prompt: str
    records: tuple[Record, ...]
    chosen: str = ""
    rejected: str = ""
    reference: str = ""
    stated: str = ""
    gold: str = ""
    agreement: str = ""
    persona: str = ""
    dev: bool | None = None
    safe: bool | None = None
    direction: tuple[float, ...] = ()

    @property
    def split(self) -> Split:
        """Whether ways of working may be chosen on this case, or only told of.

        The same for a cluster for ever, whatever is drawn: about half of them each.
        """
        if self.dev is None:
            even = int(hashlib.sha256(self.cluster.encode()).hexdigest(), 16) % 2 == 0
            return "dev" if even else "test"
        return "dev" if self.dev else "test"

    @property
    def kind_of_person(self) -> str:
        """The persona, or the user where there is none."""
        return self.persona or self.user


class Task(Protocol):
    """A benchmark, read from where it lies.

    Attributes:
        name: what it is called on the command line.
        kind: whether answers are weighed, written, or requests met.
        unit: what a cluster is, in a word or two.

    A task may also have ``primary``, the metric by which its strategies are held against controls; else that is
    ``accuracy`` where answers are weighed, ``author_logprob`` where they are written, and ``handled`` where requests
    are met.
    """

    name: str
    kind: CaseKind
    unit: str

    def cases(self, *, seed: int = 0) -> list[Case]:
        """Cases of everybody; nobody's depend on who else there is.

        Args:
            seed: of whatever is drawn.

        Raises:
            InputError: the data are missing, or not in the published form.
        """
        ...

    def note(self) -> str:
        """What a reader of its figures must know, in a sentence or two; may be empty."""
        ...


@runtime_checkable
class WritingTask(Task, Protocol):
    """A task whose answers are written: instruments learn its authors from their texts."""

    def texts(self) -> Mapping[str, Sequence[str]]:
        """Texts by user, none of which a case asks about; those of profiles may be among them."""
        ...


def case_id(*parts: str) -> str:
    """A short id from what makes a case what it is."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def records_id(records: Sequence[Record]) -> str:
    """A short id of some records, by all that is in them: a file may be changed under the ids that it gives."""
    return case_id(*(json.dumps(record.model_dump(mode="json"), sort_keys=True) for record in records))


def fingerprint(cases: Iterable[Case]) -> str:
    """A short id of some cases, by all that is in them."""
    whole = [asdict(case) | {"records": records_id(case.records)} for case in cases]
    return case_id(*(json.dumps(case, sort_keys=True) for case in whole))


def choose_users(cases: Iterable[Case], users: int | None, seed: int) -> list[Case]:
    """The cases of some users, in their own order.

    Args:
        cases: all of them.
        users: how many at most; all if None.
        seed: draws them.

    Raises:
        InputError: fewer than one is asked for.
    """
    everything = list(cases)
    names: Sequence[str] = sorted({case.user for case in everything})
    if users is None or users >= len(names):
        return everything
    if users < 1:
        raise InputError(f"{users} users were asked for.", remedy="Ask for at least one.")
    drawn = set(random.Random(seed).sample(names, users))  # a draw, not a secret
    return [case for case in everything if case.user in drawn]
