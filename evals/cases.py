"""What an eval is made of: people, the records a profile may be made from, and cases that it has never seen.

A ``Case`` is one question about one person. In a choice case two answers are weighed; in a
writing case an answer is written. A ``Task`` reads a benchmark and gives its cases. This file
knows no strategy, no model and no file format.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hyperalign.errors import InputError
from hyperalign.records import Record

__all__ = ["Case", "Kind", "Task", "case_id", "choose_users"]

Kind = Literal["choice", "writing"]


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
        gold: what the benchmark itself says of the person; empty where it says nothing.
    """

    id: str
    user: str
    cluster: str
    prompt: str
    records: tuple[Record, ...]
    chosen: str = ""
    rejected: str = ""
    reference: str = ""
    gold: str = ""


class Task(Protocol):
    """A benchmark, read from where it lies.

    Attributes:
        name: what it is called on the command line.
        kind: whether answers are weighed or written.
        unit: what a cluster is, in a word or two.
    """

    name: str
    kind: Kind
    unit: str

    def cases(self, *, users: int | None = None, seed: int = 0) -> list[Case]:
        """Cases of some users.

        Args:
            users: at most so many, drawn by the seed; all if None.
            seed: draws users, and whatever else is drawn.

        Raises:
            InputError: the data are missing, or not in the published form.
        """
        ...

    def note(self) -> str:
        """What a reader of its figures must know, in a sentence or two; may be empty."""
        ...


def case_id(*parts: str) -> str:
    """A short id from what makes a case what it is."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def choose_users(cases: Iterable[Case], users: int | None, seed: int, by: Callable[[Case], str]) -> list[Case]:
    """The cases of some users (or other units), in their own order.

    Args:
        cases: all of them.
        users: how many units at most; all if None.
        seed: draws them.
        by: names a case's unit.

    Raises:
        InputError: fewer than one is asked for.
    """
    everything = list(cases)
    names: Sequence[str] = sorted({by(case) for case in everything})
    if users is None or users >= len(names):
        return everything
    if users < 1:
        raise InputError(f"{users} users were asked for.", remedy="Ask for at least one.")
    drawn = set(random.Random(seed).sample(names, users))  # a draw, not a secret
    return [case for case in everything if by(case) in drawn]
