"""Whose answers a search may learn from, and whose decide whether it found anything: people apart, once and for all.

This file runs no program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import dspy

from hyperalign.errors import InputError

__all__ = ["Parts", "split_people"]

_LEAST_PEOPLE = 4
_VALIDATION = 0.5


@dataclass(frozen=True)
class Parts:
    """Examples by part; nobody is in both.

    Attributes:
        train: what prompts are searched on.
        validation: what decides whether the one that was found is kept; looked at twice, before and after.
    """

    train: list[dspy.Example]
    validation: list[dspy.Example]

    def users(self) -> dict[str, list[str]]:
        """Who is in which part."""
        return {
            name: sorted({str(example.user) for example in examples})
            for name, examples in (("train", self.train), ("validation", self.validation))
        }


def split_people(examples: Sequence[dspy.Example], *, seed: int = 0) -> Parts:
    """Split examples by their ``user``, half of the people each.

    Args:
        examples: each with ``user``.
        seed: of who goes where.

    Raises:
        InputError: there is no example, one has no user, or there are fewer than four people.
    """
    if not examples:
        raise InputError("There is nothing to optimize on: the training set is empty.", remedy="Give it examples.")
    for number, example in enumerate(examples, start=1):
        if not str(example.get("user", "")).strip():
            raise InputError(
                f"Example {number} of the training set has no 'user'.",
                remedy="People are kept apart by it: say whose each example is.",
            )
    users = sorted({str(example.user) for example in examples}, key=lambda user: _place(user, seed))
    if len(users) < _LEAST_PEOPLE:
        raise InputError(
            f"The training set is of {len(users)} {'person' if len(users) == 1 else 'people'}.",
            remedy=f"Give at least {_LEAST_PEOPLE}: some to search on, others to see whether it helps anybody else.",
        )
    watched = set(users[: max(2, round(len(users) * _VALIDATION))])
    return Parts(
        [example for example in examples if str(example.user) not in watched],
        [example for example in examples if str(example.user) in watched],
    )


def _place(user: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\x00{user}".encode()).hexdigest()
