"""Counts the answers of models that could not be used, and ends a run where most of them cannot."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from hyperalign.errors import UnusableAnswersError

__all__ = ["AnswerTally", "check_answers", "count_answer", "tally_answers"]

_LOOK_FROM = 16
_REMEMBERED = 3
_QUOTED = 200


@dataclass
class AnswerTally:
    """How many answers were asked for, and how many could not be used.

    Attributes:
        asked: questions that were put, several of which one answer may hold.
        undecided: those of them whose answer could not be used.
        ends: whether most of them end the run.
        odd: the last few answers that could not be used, in the model's own words.
    """

    asked: int = 0
    undecided: int = 0
    ends: bool = True
    odd: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _answers: int = 0
    _unusable: int = 0
    _ended: UnusableAnswersError | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, read: bool, said: str, *, asked: int, undecided: int) -> None:
        """Count one answer.

        Args:
            read: whether it can be used.
            said: what the model wrote.
            asked: how many questions it was given to that were not asked before.
            undecided: how many more are open than were before.

        Raises:
            UnusableAnswersError: most answers of at least 16 could not be used.
        """
        with self._lock:
            self.asked += asked
            self.undecided += undecided
            self._answers += 1
            if undecided > 0 or not read:
                self.odd.append(" ".join(said.split())[:_QUOTED])
            self._unusable += not read
            enough = self._answers >= _LOOK_FROM and 2 * self._unusable > self._answers
            if read or not enough or not self.ends:
                return
            told, last = f"Of {self._answers} answers {self._unusable} could not be used", self.odd[-1]
            self._ended = UnusableAnswersError(
                f"{told}; the model said: {last!r}." if last else f"{told}: the model said nothing.",
                remedy="Choose another --model, or give this one more room to answer.",
            )
        self.check()

    def check(self) -> None:
        """Ask before a call.

        Raises:
            UnusableAnswersError: it was raised before; what runs beside must not go on either.
        """
        if self._ended is not None:
            raise self._ended


_tallies: ContextVar[tuple[AnswerTally, ...]] = ContextVar("hyperalign_tallies", default=())


@contextmanager
def tally_answers(*, ends: bool = True) -> Iterator[AnswerTally]:
    """Count the answers of everything that is asked inside, in threads that copy this context, too.

    Args:
        ends: whether the run ends where most of at least 16 answers cannot be used.

    Yields:
        The tally, which grows as answers come; one inside another counts in both.
    """
    tally = AnswerTally(ends=ends)
    token = _tallies.set((*_tallies.get(), tally))
    try:
        yield tally
    finally:
        _tallies.reset(token)


def count_answer(read: bool, said: str, *, asked: int = 1, undecided: int | None = None) -> None:
    """Count one answer in every tally around the caller.

    Args:
        read: whether it can be used.
        said: what the model wrote, or why there is nothing.
        asked: how many questions it was given to that were not asked before.
        undecided: how many more are open than were before; by default all it was given to where it cannot be used, and
            none where it can.

    Raises:
        UnusableAnswersError: most answers of at least 16 could not be used.
    """
    left_open = (0 if read else asked) if undecided is None else undecided
    for tally in _tallies.get():
        tally.add(read, said, asked=asked, undecided=left_open)


def check_answers() -> None:
    """Ask before a call whether the answers so far are worth another one.

    Raises:
        UnusableAnswersError: most answers of at least 16 could not be used.
    """
    for tally in _tallies.get():
        tally.check()
